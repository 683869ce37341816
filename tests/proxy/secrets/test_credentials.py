import asyncio
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from antigravity_healing.policy.settings.schema import AccountSettings, Limits
from antigravity_healing.policy.settings.source_notation import parse_source
from antigravity_healing.proxy.secrets import credentials, files, sources
from antigravity_healing.proxy.secrets.credentials import CredentialError, Credentials
from antigravity_healing.proxy.secrets.seal import LONGEST_CREDENTIAL, Seal
from pydantic import SecretStr

from tests.support.shell import shell

KEY = "sk-0123456789"


def account(**more: Any) -> AccountSettings:
    return AccountSettings.model_validate({"name": "work", **more})


def counting(folder: Path, prints: str = KEY) -> tuple[str, Path]:
    """A command that prints, and the file in which it leaves a line each time it is run."""
    runs = folder / "runs"
    return shell(f"echo x >> {runs}; printf '{prints}'"), runs


def times_run(runs: Path) -> int:
    return len(runs.read_text().splitlines()) if runs.exists() else 0


@pytest.mark.parametrize(
    ("source", "dialect", "headers"),
    [
        ({"api_key": KEY}, "anthropic", (("x-api-key", KEY),)),
        ({"api_key": KEY}, "gemini", (("x-goog-api-key", KEY),)),
        ({"bearer": KEY}, "anthropic", (("authorization", f"Bearer {KEY}"),)),
        ({"bearer": KEY}, "gemini", (("authorization", f"Bearer {KEY}"),)),
        ({"headers": {"x-a": "1"}}, "gemini", (("x-a", "1"),)),
        ({"api_key": KEY, "headers": {"x-a": "1"}}, "anthropic", (("x-a", "1"), ("x-api-key", KEY))),
    ],
)
def test_the_headers_of_an_account(source: dict[str, Any], dialect: str, headers: tuple[tuple[str, str], ...]) -> None:
    assert Credentials().at_once(account(**source), dialect) == Seal(headers)


def test_flags_of_an_account_are_told_from_its_other_headers() -> None:
    work = account(api_key=KEY, headers={"Anthropic-Beta": "a,b", "x-a": "1"})
    expected = Seal((("x-a", "1"), ("x-api-key", KEY)), flags=(("anthropic-beta", "a,b"),))
    assert Credentials().at_once(work, "anthropic") == expected


def test_the_environment_and_files_are_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text(f" {KEY}\n")
    monkeypatch.setenv("HEALING_TEST_KEY", f"{KEY} ")
    made = Credentials()
    for source, change in (("env:HEALING_TEST_KEY", "HEALING_TEST_KEY"), (f"file:{file}", "")):
        work = account(api_key=source)
        assert asyncio.run(made.fetch(work, "anthropic")) == Seal((("x-api-key", KEY),))
        monkeypatch.setenv(change, "another-key") if change else file.write_text("another-key")
        assert asyncio.run(made.fetch(work, "anthropic")) == Seal((("x-api-key", "another-key"),))
        assert made.at_once(work, "anthropic") in (None, Seal((("x-api-key", "another-key"),)))


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"", "is empty"), (b"\xff\xfe", "not text in UTF-8"), (b"a\nb", "not one line")],
)
def test_a_file_that_gives_no_key_says_why(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CredentialError, match=words):
        asyncio.run(Credentials().fetch(account(api_key=f"file:{file}"), "anthropic"))


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_variable_that_is_not_set_says_so(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEALING_TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("HEALING_TEST_KEY", value)
    with pytest.raises(CredentialError, match="HEALING_TEST_KEY is not set"):
        Credentials().at_once(account(api_key="env:HEALING_TEST_KEY"), "anthropic")


def test_a_value_can_not_smuggle_in_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALING_TEST_KEY", "key\r\nx-evil: 1")
    with pytest.raises(CredentialError) as caught:
        Credentials().at_once(account(api_key="env:HEALING_TEST_KEY"), "anthropic")
    assert "evil" not in str(caught.value)


def test_what_a_command_printed_is_kept_for_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, runs = counting(tmp_path)
    work = account(api_key=command, ttl=300.0)
    now = 1000.0
    monkeypatch.setattr(credentials, "monotonic", lambda: now)
    made = Credentials()
    expected = Seal((("x-api-key", KEY),))

    async def use() -> None:
        nonlocal now
        assert made.at_once(work, "anthropic") is None
        assert await made.fetch(work, "anthropic") == expected
        now += 299
        assert made.at_once(work, "anthropic") == await made.fetch(work, "anthropic") == expected
        assert times_run(runs) == 1
        now += 2
        assert made.at_once(work, "anthropic") is None
        assert await made.fetch(work, "anthropic") == expected
        assert times_run(runs) == 2

    asyncio.run(use())


def numbering(folder: Path) -> tuple[str, Path]:
    """A command that prints how often it has been run, once a file is there."""
    runs, go = folder / "runs", folder / "go"
    waits = f"while [ ! -e {go} ]; do sleep 0.01; done"
    return shell(f"echo x >> {runs}; {waits}; echo token-$(wc -l < {runs} | tr -d ' ')"), go


def test_a_refused_credential_is_renewed_once_for_all_who_carried_it(tmp_path: Path) -> None:
    command, go = numbering(tmp_path)
    go.touch()
    work, made = account(bearer=command), Credentials()

    async def use() -> None:
        old = await made.fetch(work, "anthropic")
        assert made.at_once(work, "anthropic", refused=old) is None
        new = await made.fetch(work, "anthropic", refused=old)
        assert new == Seal((("authorization", "Bearer token-2"),))
        # Who carried the old one and is told so late does not run it again, who carried the new one does.
        assert made.at_once(work, "anthropic", refused=old) == new
        assert made.at_once(work, "anthropic", refused=new) is None

    asyncio.run(use())


def test_nobody_is_given_a_credential_that_is_being_renewed(tmp_path: Path) -> None:
    command, go = numbering(tmp_path)
    go.touch()
    work, made = account(bearer=command), Credentials()

    async def use() -> None:
        old = await made.fetch(work, "anthropic")
        go.unlink()
        renewing = asyncio.ensure_future(made.fetch(work, "anthropic", refused=old))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert made.at_once(work, "anthropic") is None
        go.touch()
        assert await made.fetch(work, "anthropic") == await renewing != old

    asyncio.run(use())


def test_many_who_ask_at_once_run_the_command_once(tmp_path: Path) -> None:
    command, runs = counting(tmp_path)
    work, made = account(api_key=command), Credentials()

    async def use() -> None:
        seals = await asyncio.gather(*(made.fetch(work, "anthropic") for _ in range(10)))
        assert set(seals) == {Seal((("x-api-key", KEY),))}
        assert times_run(runs) == 1

    asyncio.run(use())


def test_one_that_gives_up_does_not_stop_the_command_for_the_others(tmp_path: Path) -> None:
    go = tmp_path / "go"
    work = account(api_key=shell(f"while [ ! -e {go} ]; do sleep 0.02; done; printf {KEY}"))
    made = Credentials()

    async def use() -> None:
        first, second = (asyncio.ensure_future(made.fetch(work, "anthropic")) for _ in range(2))
        while not made._running:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        go.touch()
        assert await second == Seal((("x-api-key", KEY),))

    asyncio.run(use())


def test_what_a_command_prints_is_used_even_if_it_is_kept_for_no_time(tmp_path: Path) -> None:
    command, _ = counting(tmp_path)
    work = account(api_key=command, ttl=0.000001)
    assert asyncio.run(Credentials().fetch(work, "anthropic")) == Seal((("x-api-key", KEY),))


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (f"echo {KEY}; exit 3", "ended with status 3"),
        ("true", "printed nothing"),
        (f"echo {KEY} >&2", "printed nothing"),
        (f"printf 'one {KEY}\\ntwo'", "not one line"),
    ],
)
def test_a_command_that_fails_says_why_and_repeats_nothing(command: str, words: str) -> None:
    made = Credentials()
    with pytest.raises(CredentialError, match=words) as caught:
        asyncio.run(made.fetch(account(api_key=shell(command)), "anthropic"))
    assert KEY not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def limited(seconds: float = 30.0, most: int = 65536) -> Credentials:
    return Credentials(lambda: Limits(source_seconds=seconds, source_bytes=most))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    "command", ["exec sleep 60", "sleep 60", "sleep 60 & sleep 60", "sleep 60 & exit 0", "exec >&-; sleep 60"]
)
def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path, command: str) -> None:
    pids = tmp_path / "pids"
    script = tmp_path / "sleep"
    script.write_text(f'#!/bin/sh\necho $$ >> {pids}\nexec /bin/sleep "$@"\n')
    script.chmod(0o755)
    work = account(api_key=shell(f"PATH={tmp_path}:$PATH; {command}"))
    with pytest.raises(CredentialError, match=r"more than 0\.5 s"):
        asyncio.run(limited(0.5).fetch(work, "anthropic"))
    started = [int(pid) for pid in pids.read_text().split()]
    assert started
    patience = time.monotonic() + 10
    while any(is_running(pid) for pid in started):
        assert time.monotonic() < patience
        time.sleep(0.01)


def test_what_a_command_has_left_running_is_not_waited_for(tmp_path: Path) -> None:
    go = tmp_path / "go"
    command = f"(while [ ! -e {go} ]; do sleep 0.05; done) & printf {KEY}"
    try:
        assert asyncio.run(limited().fetch(account(api_key=shell(command)), "anthropic"))
    finally:
        go.touch()


def test_a_command_that_prints_without_end_is_ended() -> None:
    with pytest.raises(CredentialError, match="printed more than 65536 bytes"):
        asyncio.run(limited().fetch(account(api_key="cmd:yes"), "anthropic"))


def test_a_credential_is_taken_up_to_its_longest(tmp_path: Path) -> None:
    for length in (LONGEST_CREDENTIAL, LONGEST_CREDENTIAL + 1):
        (tmp_path / "key").write_text("x" * length)
        for source in (f"file:{tmp_path / 'key'}", f"cmd:cat {tmp_path / 'key'}", "x" * length):
            fetched = limited().fetch(account(api_key=source), "anthropic")
            if length <= LONGEST_CREDENTIAL:
                assert asyncio.run(fetched) == Seal((("x-api-key", "x" * length),))
            else:
                with pytest.raises(CredentialError, match="x-api-key is longer than 16,384 characters"):
                    asyncio.run(fetched)


def test_a_command_that_has_hung_holds_up_nobody_until_it_has_answered(tmp_path: Path) -> None:
    go, runs = tmp_path / "go", tmp_path / "runs"
    work = account(api_key=shell(f"echo x >> {runs}; while [ ! -e {go} ]; do sleep 0.02; done; printf {KEY}"))
    made = limited(1.0)

    async def use() -> None:
        with pytest.raises(CredentialError, match="more than 1 s"):
            await made.fetch(work, "anthropic")
        assert times_run(runs) == 1
        # It runs once more, and who asks meanwhile is told at once.
        for _ in range(5):
            with pytest.raises(CredentialError, match="runs again"):
                await made.fetch(work, "anthropic")
        assert len(made._running) == 1
        go.touch()
        await asyncio.gather(*made._running.values())
        assert made.at_once(work, "anthropic") == Seal((("x-api-key", KEY),))
        assert times_run(runs) == 2

    asyncio.run(use())


@pytest.fixture
def odd_files(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "large").write_bytes(b"x" * 65537)
    (tmp_path / "zero").symlink_to("/dev/zero")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("pipe", "is a pipe; it has to be a regular file"),
        ("folder", "is a folder; it has to be a regular file"),
        ("zero", "is a device; it has to be a regular file"),
        ("large", "has more than 65536 bytes"),
    ],
)
def test_what_is_no_small_regular_file_says_so_at_once(odd_files: Path, name: str, words: str) -> None:
    key = f"file:{odd_files / name}"
    made = limited()
    with pytest.raises(CredentialError, match=words):
        asyncio.run(made.fetch(account(api_key=key), "anthropic"))
    asyncio.run(made.learn([SecretStr(key)]))
    with pytest.raises(CredentialError, match=words):
        made.resolve(SecretStr(key))


class Hanging:
    """Makes the reading of files hang, as a dead server's do, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.begun = 0
        self._read = files.read_file
        monkeypatch.setattr(sources, "read_file", self)

    def __call__(self, path: str, most: int) -> bytes:
        self.begun += 1
        self.go.wait()
        return self._read(path, most)


def test_a_file_that_hangs_is_not_waited_for_at_once_and_has_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text(KEY)
    hanging, made = Hanging(monkeypatch), limited(0.2)
    work = account(api_key=f"file:{tmp_path / 'key'}")

    async def use() -> None:
        assert made.at_once(work, "anthropic") is None
        for _ in range(3):
            with pytest.raises(CredentialError, match=r"takes more than 0\.2 s"):
                await made.fetch(work, "anthropic")
        assert hanging.begun == 1
        hanging.go.set()
        await asyncio.to_thread(made._readings._running[parse_source(f"file:{tmp_path / 'key'}")].future.result)
        assert await made.fetch(work, "anthropic") == Seal((("x-api-key", KEY),))

    try:
        asyncio.run(use())
    finally:
        hanging.go.set()


def test_a_client_key_whose_file_hangs_is_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "key").write_text(KEY)
    key, made = SecretStr(f"file:{tmp_path / 'key'}"), limited()
    asyncio.run(made.learn([key]))
    assert made.resolve(key) == KEY
    (tmp_path / "key").write_text("another-key")
    hanging = Hanging(monkeypatch)
    try:
        assert made.resolve(key) == KEY
        with pytest.raises(CredentialError, match="has not been read yet"):
            made.resolve(SecretStr(f"file:{tmp_path / 'unknown'}"))
    finally:
        hanging.go.set()
    patience = time.monotonic() + 10
    while made.resolve(key) != "another-key":
        assert time.monotonic() < patience
    (tmp_path / "key").unlink()
    with pytest.raises(CredentialError, match="cannot be read"):
        made.resolve(key)


def test_a_command_that_failed_is_run_anew(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    work, made = account(api_key=shell(f"[ -e {flag} ] && printf {KEY}")), Credentials()

    async def use() -> None:
        with pytest.raises(CredentialError):
            await made.fetch(work, "anthropic")
        flag.touch()
        assert await made.fetch(work, "anthropic") == Seal((("x-api-key", KEY),))

    asyncio.run(use())


def test_a_command_goes_through_no_shell(tmp_path: Path) -> None:
    made, file = Credentials(), tmp_path / "made"
    work = account(api_key=f"cmd:printf %s 'a;b' | $HOME;touch {file}")
    assert asyncio.run(made.fetch(work, "anthropic")) == Seal((("x-api-key", f"a;b|$HOME;touch{file}"),))
    assert not file.exists()
    with pytest.raises(CredentialError, match=r"could not be started: .*cmd:sh -c"):
        asyncio.run(made.fetch(account(api_key="cmd:no-such-program-anywhere"), "anthropic"))
