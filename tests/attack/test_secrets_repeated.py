"""A secret that an upstream repeats reaches nobody, in whatever part of its answer, of whatever operation."""

import base64
import json
import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from tests.attack.echoing import PLACE, PLACES, Echoing, exchange
from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import body, free_port, wait_for_modes
from tests.support import raw

ACCOUNT = "Acc0unts/Secret+0xEE="
OWN = "Clients/Own.Secret+0x77="
COOKIE = "Cookies-Secret/0x4711-abc"
TOKEN = "Mcp-Servers/Secret+0x55"
PASSWORD = "Basics-Passw0rd/0x99"
SECRETS = (ACCOUNT, OWN, COOKIE, TOKEN, PASSWORD)
MCP: dict[str, Any] = {
    "mcp_servers": [{"type": "url", "name": "m", "url": "https://m.example", "authorization_token": TOKEN}]
}
GEMINI_MCP: dict[str, Any] = {
    "tools": [{"mcpServers": [{"streamableHttpTransport": {"headers": {"Authorization": f"Bearer {TOKEN}"}}}]}]
}

# Method, path, and body of each operation: those that are healed, and those that pass through.
OPERATIONS: dict[str, tuple[str, str, dict[str, object] | None]] = {
    "messages": ("POST", "/v1/messages", body("anthropic", "M", stream=False, **MCP)),
    "messages stream": ("POST", "/v1/messages", body("anthropic", "M", **MCP)),
    "count_tokens": ("POST", "/v1/messages/count_tokens", body("anthropic", "M", **MCP)),
    "models": ("GET", "/v1/models", None),
    "batches": ("POST", "/v1/messages/batches", {"requests": [{"custom_id": "a", "params": MCP}]}),
    "files": ("GET", "/v1/files/file_1/content", None),
    "generateContent": ("POST", "/v1beta/models/M:generateContent", body("gemini", "M", **GEMINI_MCP)),
    "streamGenerateContent": ("POST", "/v1beta/models/M:streamGenerateContent?alt=sse", body("gemini", "M")),
    "array": ("POST", "/v1beta/models/M:streamGenerateContent", body("gemini", "M", **GEMINI_MCP)),
    "countTokens": ("POST", "/v1beta/models/M:countTokens", body("gemini", "M")),
    "Gemini's models": ("GET", "/v1beta/models", None),
    "Gemini's files": ("GET", "/v1beta/files/f-1", None),
}
type Case = tuple[str, str]
CASES: list[Case] = [(operation, place) for operation in OPERATIONS for place in PLACES]
# Each place with the operation that shows upstream most, and with some of the rest of both APIs in turn.
FEW = [
    (operation, place)
    for at, operation in enumerate(OPERATIONS)
    for turn, place in enumerate(PLACES)
    if operation == "messages" or (at + turn) % 5 == 0
]


def spellings(secret: str) -> list[bytes]:
    """How a secret may be read, in lower case."""
    bare = re.sub("[^A-Za-z0-9+.-]", "", secret)
    escaped = "".join(f"\\u{ord(char):04x}" for char in secret)
    forms = (secret, bare, escaped, quote(secret, safe=""), secret.replace("/", "\\/"), secret.replace("/", "\\\\/"))
    return [form.lower().encode() for form in forms]


FORMS = sorted({form for secret in SECRETS for form in spellings(secret)})


def shown_in(data: bytes) -> list[str]:
    """The secrets that a text shows in any spelling."""
    lower = data.lower()
    return [secret for secret in SECRETS if any(form in lower for form in spellings(secret))]


@dataclass
class Run:
    """What one run left behind: the answers by operation, place and whose credential; and each surface."""

    answers: dict[tuple[str, str, str], bytes] = field(default_factory=dict)
    shown: dict[str, set[str]] = field(default_factory=dict)
    surfaces: dict[str, bytes] = field(default_factory=dict)


def ask(port: int, operation: str, headers: dict[str, str], model: str = "m") -> bytes:
    """One operation, in a dialect's form of credential, with a cookie."""
    method, path, content = OPERATIONS[operation]
    key = "x-goog-api-key" if "v1beta" in path else "x-api-key"
    sent = json.dumps(content).replace('"M"', f'"{model}"').encode() if content is not None else b""
    version = {} if "v1beta" in path else {"anthropic-version": "2023-06-01"}
    headers = {key: OWN, **version, "cookie": f"theme=dark; session={COOKIE}", **headers}
    return exchange(port, method, path.replace("/M:", f"/{model}:"), headers, sent)


def configuration(server: Echoing, cases: Container[Case]) -> str:
    """An account for each of these cases: one that failed too often is not asked any more."""
    config = "[retry]\nmax_attempts = 1\nmax_wait = 0\n[clients]\nloopback_only = true\n"
    for dialect in ("anthropic", "gemini"):
        config += upstream(dialect, dialect, server.url)
        for number, (operation, place) in enumerate(CASES):
            if (operation, place) not in cases or ("v1beta" in OPERATIONS[operation][1]) is not (dialect == "gemini"):
                continue
            headers = {"authorization": f"Basic {_basic()}"} if number % 2 else {}
            more = f"headers = {{ authorization = {json.dumps(headers['authorization'])} }}\n" if headers else ""
            config += account(f"{dialect}-{number}", dialect, api_key=ACCOUNT, models=[f"case{number}"]) + more
    return config


def _basic() -> str:
    return base64.b64encode(f"someone:{PASSWORD}".encode()).decode()


@pytest.fixture(scope="module", params=["few", pytest.param("all", marks=pytest.mark.long)])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder, run = tmp_path_factory.mktemp("repeated"), Run()
    cases = FEW if request.param == "few" else CASES
    repeated = (*SECRETS, _basic())
    with Echoing(repeated) as server, Echoing(repeated) as target:
        port = free_port()
        modes = ["--mode", "regular", "--mode", f"reverse:{target.url}@{port}"]
        options = {"termlog_verbosity": "debug", "flow_detail": "4", "hardump": str(folder / "har")}
        args = ["-vv", "-w", str(folder / "flows"), *modes]
        with Proxy(folder, configuration(server, cases), options=options, args=args) as proxy:
            wait_for_modes(proxy, 2)
            for number, (operation, place) in enumerate(CASES):
                if (operation, place) not in cases:
                    continue
                for whose, at in (("account", proxy.port), ("own", port)):
                    got = ask(at, operation, {PLACE: place}, f"case{number}")
                    run.answers[operation, place, whose] = got
            run.surfaces["health"] = raw.request("GET", f"{proxy.url}/health").body
        run.shown = server.shown
        for place, shown in target.shown.items():
            run.shown[place] = run.shown.get(place, set()) | shown
        run.surfaces["console"] = proxy.log.encode()
        run.surfaces["log file"] = proxy.log_file.read_bytes()
        run.surfaces["saved flows"] = (folder / "flows").read_bytes()
        run.surfaces["har"] = (folder / "har").read_bytes()
        captured = (folder / "home" / "captured").glob("*.flow")
        run.surfaces["captures"] = b"".join(file.read_bytes() for file in captured)
    return run


@pytest.mark.parametrize("place", PLACES)
def test_no_client_gets_a_secret_that_upstream_repeats(run: Run, place: str) -> None:
    # Upstream was shown the account's key, the client's own, its cookie and the token for its MCP server.
    assert run.shown[place] >= {ACCOUNT, OWN, COOKIE, TOKEN}
    answers = {key: got for key, got in run.answers.items() if key[1] == place}
    assert all(got.startswith(b"HTTP/1.1 ") for got in answers.values())
    leaks = {
        (operation, whose): (shown, got)
        for (operation, _, whose), got in answers.items()
        if (shown := shown_in(got)) and not (place == "cookie" and whose == "own" and _only_in_its_cookie(got))
    }
    assert not leaks


def _only_in_its_cookie(got: bytes) -> bool:
    return not shown_in(re.sub(rb"(?im)^set-cookie: .*\r\n", b"", got))


@pytest.mark.parametrize("surface", ["health", "console", "log file", "saved flows", "har", "captures"])
def test_no_surface_shows_a_secret_that_upstream_repeats(run: Run, surface: str) -> None:
    data = run.surfaces[surface]
    assert len(data) > 200
    lower = data.lower()
    places = {form: lower.find(form) for form in FORMS}
    assert not [data[max(0, at - 80) : at + 80] for at in places.values() if at >= 0]


@pytest.mark.parametrize("whose", ["account", "own"])
@pytest.mark.parametrize("place", [place for place in PLACES if place.startswith("body") and "no gzip" not in place])
def test_what_is_redacted_is_still_json(run: Run, place: str, whose: str) -> None:
    operations = ("count_tokens", "models", "files", "batches", "countTokens", "Gemini's files")
    answers = [got for operation in operations if (got := run.answers.get((operation, place, whose)))]
    assert answers
    for got in answers:
        head, _, content = got.partition(b"\r\n\r\n")
        if place == "body in an unknown coding":
            assert head.startswith(b"HTTP/1.1 50"), head
            continue
        assert b" 200 " in head.splitlines()[0], got
        assert b"redacted" in content
        if b"chunked" in head.lower():
            content = b"".join(re.split(rb"(?m)^[0-9a-f]+\r\n", content)).replace(b"\r\n", b"")
        assert json.loads(content)["totalTokens"] == 1


@pytest.fixture(scope="module")
def long_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Proxy]]:
    """A token of 16,000 characters, and a proxy whose account has it; upstream repeats it."""
    key = "eyJhbGciOiJSUzI1NiJ9." + "aB3/efgh+ijkl.mnop-" * 840
    with Echoing((key,)) as server:
        config = upstream("anthropic", "anthropic", server.url) + account("a", "anthropic", api_key=key)
        with Proxy(tmp_path_factory.mktemp("long"), config) as proxy:
            yield key, proxy


@pytest.mark.parametrize("place", ["error", "events", "header's name", "body in unicode escapes", "body in a URL"])
def test_a_very_long_key_is_found_like_any_other(long_key: tuple[str, Proxy], place: str) -> None:
    key, proxy = long_key
    got = exchange(proxy.port, "POST", "/v1/messages", {PLACE: place}, json.dumps(body("anthropic", "m")).encode())
    assert got.startswith(b"HTTP/1.1 ")
    assert b"redacted" in got
    assert not any(form in got.lower() for form in spellings(key[-1000:]))
