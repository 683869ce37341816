"""What harms accounts: foreign numbers, local trouble, sources that block, a full disk."""

import contextlib
import json
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.attack.arena import MB, Arena, Setup, says
from tests.attack.table import Attack, NotHereError
from tests.e2e.harness import account
from tests.support.patience import wait_until
from tests.support.shell import shell
from tests.upstream import anthropic_error_body

_DAY_S = 24 * 3600
_RATE = json.dumps(anthropic_error_body("rate_limit_error", "Slow down.")).encode()
_HINTS = (b"retry-after: 99999999999", b"retry-after: 1e300", b"retry-after: Fri, 31 Dec 9999 23:59:59 GMT",
          b"retry-after: 1995000000", b"retry-after-ms: 1e300", b"retry-after: 1_0_0_0_0_0_0_0",
          b"retry-after: \xd9\xa1\xd9\xa2\xd9\xa3\xd9\xa4\xd9\xa5\xd9\xa6\xd9\xa7",
          b"anthropic-ratelimit-requests-remaining: 0\r\nanthropic-ratelimit-requests-reset: 9999-12-31T23:59:59Z",
          b"date: Thu, 01 Jan 1970 00:00:00 GMT\r\nretry-after: Fri, 01 Jan 2038 00:00:00 GMT")  # fmt: skip


def silly_hints(place: Arena) -> None:
    """Waits that outlast everybody."""
    for number, hint in enumerate(_HINTS):
        place.evil.answer = says(429, _RATE, hint)
        place.ask("evil")
        _check_benches(place, _DAY_S, f"{number}: {hint!r}")
    for delay in ("999999999999999s", "99999999999999h", "9" * 15 + "h" + "9" * 15 + "h"):
        error = {"error": {"code": 429, "message": "Slow.", "status": "RESOURCE_EXHAUSTED",
                           "details": [{"retryDelay": delay}]}}  # fmt: skip
        place.evil.answer = says(429, json.dumps(error).encode())
        place.ask("evil")
        _check_benches(place, _DAY_S, delay)


def _check_benches(place: Arena, most_s: float, what: str) -> None:
    for found in place.health()["accounts"]:
        for bench in found["benches"]:
            assert bench["seconds_left"] <= most_s + 1, f"{what}: {found['name']} for {bench['seconds_left']} s"


def usual_hint(place: Arena) -> None:
    """A wait that is meant is kept."""
    place.evil.answer = says(429, _RATE, b"retry-after: 40")
    assert place.ask("evil-2").status in (200, 429)
    place.is_well()


_SOURCES = "\n[limits]\nsource_seconds = 2\n"


def _sourced(source: str, config: str = _SOURCES) -> Setup:
    """An account before all others of the good upstream whose key comes from this source, which works at first."""
    accounts = account("sourced", "good", api_key=source, priority=-1, ttl=0.5) + account("good", "good")
    return Setup(config, accounts, files={"key": "key-of-file"})


def _hanging(place: Arena) -> None:
    """From now on a command that looks for this file does what it should not."""
    (place.proxy.folder / "attack").touch()
    time.sleep(0.6)  # what it printed before is kept so long


def empty_key_file(place: Arena) -> None:
    """A key file that is empty for a moment is no reason to leave its account out."""
    file = place.proxy.folder / "key"
    _used(place, "key-of-file")
    file.write_text("")
    place.ask()
    file.write_text("key-of-file")
    _used(place, "key-of-file")
    file.unlink()
    place.ask()
    file.write_text("key-of-file\n")
    _used(place, "key-of-file")


def _used(place: Arena, key: str) -> None:
    wait_until(lambda: place.ask().status == 200 and place.keys_used()[-1] == key, f"that {key} is used", 6)


def fifo(place: Arena) -> None:
    """A key file that is a FIFO nobody writes to."""
    file = place.proxy.folder / "key"
    file.unlink()
    os.mkfifo(file)
    found = place.ask(timeout=30)
    assert found.status == 200, f"a {found.status}: no other account was tried"


def endless_file(place: Arena) -> None:
    """A key file that does not end."""
    file = place.proxy.folder / "key"
    file.unlink()
    file.symlink_to("/dev/zero")
    found = place.ask(timeout=30)
    assert found.status == 200, f"a {found.status}"


def hanging_command(place: Arena) -> None:
    """A command that hangs, with a child that holds its output."""
    _hanging(place)
    found = place.ask(timeout=30)
    assert found.status == 200, f"a {found.status}: no other account was tried"
    wait_until(lambda: not _children(place.proxy.pid), "the end of what the command started", 20)


def _children(pid: int) -> list[str]:
    told = subprocess.run(["ps", "-e", "-o", "ppid=,pgid=,args="], capture_output=True, text=True, check=True).stdout
    return [line for line in told.splitlines() if "sleep 4321" in line]


def loud_command(place: Arena) -> None:
    """A command that prints without an end."""
    _hanging(place)
    found = place.ask(timeout=30)
    assert found.status == 200, f"a {found.status}"


def files_run_out(place: Arena) -> None:
    """More connections than files that may be open: told as what it is, and over when it is over."""
    with contextlib.ExitStack() as stack:
        for _ in range(150):
            with contextlib.suppress(OSError):
                stack.enter_context(place.connect(5))
        with contextlib.suppress(ConnectionError, TimeoutError):
            place.ask(timeout=10)
    wait_until(lambda: place.ask().status == 200, "that it works again", 15)
    for found in place.health()["accounts"]:
        assert not found["benches"], f"{found['name']} is benched for it"


def full_disk(place: Arena) -> None:
    """The data folder's disk is full: said once, and once more when it is over."""
    home = place.proxy.folder / "home"
    small = place.folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(small)], check=False).returncode:
        raise NotHereError("nothing can be mounted here")
    try:
        _on_small_disk(place, home, small)
    finally:
        subprocess.run(["umount", "-l", str(small)], check=False)


def _on_small_disk(place: Arena, home: Path, small: Path) -> None:
    config = place.proxy.config_file.read_text()
    from tests.e2e.harness import Proxy

    proxy = Proxy(place.folder / "other", config, options={"antigravity_home": str(small / "home")})
    with contextlib.suppress(AssertionError):
        proxy.start()
    (small / "filling").write_bytes(b"")
    with contextlib.suppress(OSError), (small / "filling").open("wb") as filling:
        while True:
            filling.write(b"x" * 4096)
            filling.flush()
    other = Arena(proxy, place.good, place.evil, place.folder)
    try:
        for _ in range(30):
            assert other.ask().status == 200
        place.evil.answer = says(400, b"{}")
        for _ in range(5):
            other.ask("evil")
        time.sleep(1)
        told = [line for line in proxy.lines if re.search(r"space|can't be written|full", line)]
        assert "Traceback" not in proxy.log, "a traceback"
        assert 1 <= len(told) <= 4, f"{len(told)} lines say so"
    finally:
        with contextlib.suppress(AssertionError):
            proxy.stop()


def _limited(files: int) -> Callable[[Arena], None]:
    def run(place: Arena) -> None:
        import resource

        before = resource.prlimit(place.proxy.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(place.proxy.pid, resource.RLIMIT_NOFILE, (files, before[1]))
        try:
            files_run_out(place)
        finally:
            resource.prlimit(place.proxy.pid, resource.RLIMIT_NOFILE, before)

    return run


def parallel(place: Arena) -> None:
    """Two hundred clients at once, each for an account whose command is slow: one run for all."""
    _hanging(place)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(place.ask(timeout=40).status)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found.count(200) == 50, f"{found.count(200)} of 50 were served"
    runs = (place.proxy.folder / "runs").read_text().count("x")
    assert runs == 1, f"the command ran {runs} times"


_WAIT_A_LITTLE = "\n[retry]\nmax_wait = 2\n"

ACCOUNTS = [
    Attack(9, "silly-hints", "12 waits of years", "benched for 24 h at most", silly_hints, usual_hint,
           Setup(_WAIT_A_LITTLE)),
    Attack(10, "empty-key-file", "a key file is emptied, and removed, for one request", "used again at once",
           empty_key_file, setup=_sourced("file:key")),
    Attack(10, "files-run-out", "150 connections with 60 files allowed", "over when it is over, no bench",
           _limited(60)),
    Attack(11, "fifo", "a key file that is a FIFO", "others go on, another account serves", fifo,
           setup=_sourced("file:key")),
    Attack(11, "endless-file", "a key file that is /dev/zero", "another account serves", endless_file,
           setup=_sourced("file:key")),
    Attack(11, "hanging-command", "a cmd: that hangs, with a child", "another account serves, nothing is left",
           hanging_command, setup=_sourced(shell("test -e attack && { sleep 4321 & sleep 4321; } || cat key"))),
    Attack(11, "loud-command", "a cmd: that prints for ever", "another account serves", loud_command,
           setup=_sourced(shell("test -e attack && yes || cat key"))),
    Attack(11, "parallel-command", "50 clients wait for one slow cmd:", "it runs once", parallel,
           setup=_sourced(shell("test -e attack && { printf x >> runs; sleep 1; }; cat key"), "")),
    Attack(16, "full-disk", "the data folder's disk is full", "said once, no traceback", full_disk,
           memory=100 * MB),
]  # fmt: skip
