"""Running attacks and telling what came of them."""

import resource
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.attack.arena import MB, Arena, Setup, arena
from tests.attack.steady import firm, listening

LONGEST_GAP_S = 0.1
NOISE_S = 0.04
"""By how much a gap may be longer than what the machine itself did to a proxy that nobody attacked."""
IDLE_FOR_S = 30.0
_MOST_MEMORY = 4096 * MB
_SIGNS = ("Traceback", "mitmproxy has crashed", "Unhandled error", "this is a bug", "Addon error")


class NotHereError(Exception):
    """An attack can't be made on this machine; the text says why."""


@dataclass(frozen=True)
class Attack:
    """One attack.

    name, what: what it is called, and what is done, in words. expected: what has to come of it, in words.
    run: does it, and raises AssertionError where it succeeds.
    honest: its honest neighbour; raises AssertionError where that does not work.
    memory: bytes that the proxy may take for it at most. longest_s: when it is given up.
    """

    row: int
    name: str
    what: str
    expected: str
    run: Callable[[Arena], None]
    honest: Callable[[Arena], None] = Arena.is_well
    setup: Setup = field(default_factory=Setup)
    memory: int = 60 * MB
    longest_s: float = 60.0


@dataclass(frozen=True)
class Outcome:
    """What came of an attack. failures: in words, none if all is as expected."""

    attack: Attack
    failures: tuple[str, ...] = ()
    skipped: str = ""
    memory: int = 0
    gap_s: float = 0.0

    @property
    def line(self) -> str:
        """A line of the table."""
        attack = self.attack
        verdict = f"skipped: {self.skipped}" if self.skipped else "**fail**: " + "; ".join(self.failures)
        if not self.failures and not self.skipped:
            verdict = "pass"
        gap = f"{self.gap_s * 1000:.0f} ms" if self.gap_s < 1e6 else "broken off"
        told = (f"{attack.row}", attack.name, attack.what, attack.expected, verdict, f"{self.memory / MB:.0f} MB", gap)
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in told) + " |"


HEAD = "| row | attack | what is done | expected | result | memory | longest gap |\n|---|---|---|---|---|---|---|"


def idle_gap_s(steady: int) -> float:
    """The longest gap in `IDLE_FOR_S` seconds without any attack: what the machine and the measuring take."""
    with tempfile.TemporaryDirectory(prefix="attack-") as folder, arena(Path(folder), Setup(), steady) as place:
        firm(place.proxy.pid)
        with listening(place.url) as listener:
            place.is_well()
            time.sleep(IDLE_FOR_S)
            return listener.gap_s()


def run(attack: Attack, steady: int, idle_s: float = 0.0) -> Outcome:
    """Run one attack on a proxy of its own.

    steady: the port of the steady stream's upstream. idle_s: what `idle_gap_s` gave, in seconds.
    """
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        try:
            with arena(Path(folder), attack.setup, steady) as place:
                return _run(attack, place, max(LONGEST_GAP_S, idle_s + NOISE_S))
        except Exception:
            return Outcome(attack, ("could not be run: " + traceback.format_exc(limit=-2).strip()[-300:],))


def _run(attack: Attack, place: Arena, longest_gap_s: float) -> Outcome:
    pid = place.proxy.pid
    firm(pid)
    # What falls to an attack must not take the machine with it.
    resource.prlimit(pid, resource.RLIMIT_AS, (_MOST_MEMORY, resource.RLIM_INFINITY))
    failures: list[str] = []
    with listening(place.url) as listener:
        place.is_well()
        before = _memory(pid, "VmRSS")
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        failure = _tried(attack.run, place, attack.longest_s)
        gap_s = listener.gap_s()
        memory = _memory(pid, "VmHWM") - before
    if isinstance(failure, NotHereError):
        return Outcome(attack, skipped=str(failure))
    failures += [f"attack: {failure}"] if failure else []
    if failure := _tried(attack.honest, place, 30.0):
        failures.append(f"honest neighbour: {failure}")
    if gap_s > longest_gap_s:
        failures.append("gap")
    if memory > attack.memory:
        failures.append(f"memory: more than {attack.memory // MB} MB")
    failures += [f"the log has {sign!r}" for sign in _SIGNS if sign in place.proxy.log][:1]
    return Outcome(attack, tuple(failures), memory=memory, gap_s=gap_s)


def _tried(action: Callable[[Arena], None], place: Arena, longest_s: float) -> BaseException | None:
    """What went wrong with an action, None if nothing did."""
    found: list[BaseException | None] = [TimeoutError(f"not over after {longest_s:.0f} s")]

    def act() -> None:
        try:
            action(place)
            found[0] = None
        except (Exception, AssertionError) as error:
            found[0] = _short(error)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(longest_s)
    return found[0]


def _short(error: Exception) -> Exception:
    if isinstance(error, NotHereError):
        return error
    text = str(error).strip().partition("\n")[0][:160] or traceback.format_exc(limit=-1).strip()[-160:]
    return AssertionError(text if isinstance(error, AssertionError) else f"{type(error).__name__}: {text}")


def _memory(pid: int, name: str) -> int:
    """A figure of a process's memory, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


def table(outcomes: Sequence[Outcome], idle_s: float) -> str:
    """All outcomes as a table in Markdown. idle_s: what `idle_gap_s` gave, in seconds."""
    passed = sum(not outcome.failures and not outcome.skipped for outcome in outcomes)
    tail = f"{len(outcomes)} attacks: {passed} passed, {sum(bool(each.failures) for each in outcomes)} failed"
    idle = f"Without any attack the longest gap in {IDLE_FOR_S:.0f} s was {idle_s * 1000:.0f} ms."
    return "\n".join([HEAD, *(outcome.line for outcome in outcomes), "", idle, "", tail])
