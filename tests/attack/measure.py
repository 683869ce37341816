"""How much memory a process takes."""

from pathlib import Path

MB = 1024 * 1024


class Peak:
    """The most memory that a process has taken since this was made, beyond what it had then, in megabytes."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)
        (self._folder / "clear_refs").write_text("5")
        self._before = self._read("VmRSS")

    @property
    def grown_mb(self) -> float:
        """By how much it has grown at most."""
        return (self._read("VmHWM") - self._before) / 1024

    def _read(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))
