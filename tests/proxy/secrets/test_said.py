import pytest
from antigravity_healing.proxy.secrets.said import LONGEST_LINE, last_line
from hypothesis import given
from hypothesis import strategies as st

KEYS = ["sk-0123456", "AIzaSyA1b2C3d4E5f6", "ya29.a0AfH6SMB-x", "eyJhbGciOi.eyJzdWIi.c2ln", "0123456789abcdef" * 2]

TOLD = [
    "ERROR: (gcloud.auth.print-access-token) You do not currently have an active account selected.",
    "no such host: oauth2.googleapis.com",
    "cannot open /home/somebody/.config/gcloud/application_default_credentials.json: Permission denied",
    "token: expired",
    "[ERROR] 401 Unauthorized, password incorrect (code 16)",
    "secret-tool: No such secret item at path: /org/freedesktop/secrets/collection/login/4",
]


@pytest.mark.parametrize("line", TOLD)
def test_what_says_why_stays_as_it_is(line: str) -> None:
    assert last_line(f"first\n{line}\n".encode()) == line


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("words", ["bad key {}", "key={}", "Authorization: Bearer {}", "at https://h.example/a?b={}"])
def test_what_looks_like_a_key_is_not_told(words: str, key: str) -> None:
    told = last_line(words.format(key).encode())
    assert key not in told
    assert "[redacted]" in told
    assert told.startswith(words.split()[0].partition("=")[0])


@pytest.mark.parametrize(
    "line",
    ["password=hunter", "PASSWORD: hunter2", 'api_key: "hunter2"', "https://me:hunter2@h.example/", "pat = hunter"],
)
def test_what_is_called_a_secret_is_not_told_however_short(line: str) -> None:
    assert "hunter" not in last_line(line.encode())


def test_what_the_program_was_given_or_printed_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAULT_TOKEN", "plainwords")
    line = b"printed-it, hunter22 and plainwords are refused; unknown flag --hold"
    told = last_line(line, printed="printed-it,", arguments=["--pin=hunter22", "--hold"])
    assert told == "[redacted] [redacted] and [redacted] are refused; unknown flag --hold"


def test_it_is_the_last_line_that_says_anything_and_bounded() -> None:
    assert last_line(b"") == last_line(b" \n\n") == ""
    assert last_line(b"one\n\x1b[31mtwo\x1b[0m\r\n \n") == "two"
    assert len(last_line(b"word " * 1000)) == LONGEST_LINE


@given(st.binary(max_size=300))
def test_whatever_is_said_it_is_one_printable_line(said: bytes) -> None:
    told = last_line(said)
    assert told.isprintable()
    assert len(told) <= LONGEST_LINE
