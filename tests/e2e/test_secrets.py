"""No credential shows anywhere: not in flows, files, logs, pages or answers. Upstream gets exactly one."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import orjson
import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import (
    DIALECTS,
    ask,
    free_port,
    keys_of,
    read_stream,
    saved_flows,
    story,
    wait_for_modes,
)
from tests.support import raw
from tests.upstream import (
    Call,
    Play,
    Reply,
    Upstream,
    anthropic_error,
    anthropic_error_event,
    anthropic_reply,
    anthropic_stream,
    gemini_error,
    gemini_error_event,
    gemini_error_tail,
    gemini_stream,
)

# Each is only to be found where it must not be.
CLIENT = "clients-secret-0x77"
GATEWAY = "gateways-secret-0x88"
STRANGER = "strangers-secret-0x99"
BEARER = "bearers-secret-0xaa/bb+cc=="
TEAM = "teams-secret-0xdd"
KEY = {dialect: f"{dialect}-accounts-secret-0xee" for dialect in DIALECTS}
SECRETS = [CLIENT, GATEWAY, STRANGER, BEARER, TEAM, *KEY.values()]

FORMS: dict[str, tuple[dict[str, str], str]] = {
    "x-api-key": ({"x-api-key": CLIENT}, ""),
    "bearer": ({"Authorization": f"Bearer {CLIENT}"}, ""),
    "x-goog-api-key": ({"x-goog-api-key": CLIENT}, ""),
    "key": ({}, f"key={CLIENT}"),
    "all at once": (
        {"x-api-key": CLIENT, "authorization": f"Bearer {CLIENT}", "x-goog-api-key": CLIENT},
        f"key={CLIENT}",
    ),
    "gateway": ({"x-api-key": GATEWAY, "authorization": f"Bearer {CLIENT}"}, ""),
}


def shown_in(text: str | bytes) -> list[str]:
    """The secrets that a text shows."""
    data = text.encode() if isinstance(text, str) else text
    return [secret for secret in SECRETS if secret.encode() in data]


def all_of(response: raw.RawResponse) -> bytes:
    """Headers and body of a response."""
    return repr(response.headers).encode() + response.body


def repeats(make: Callable[[str], Reply]) -> Play:
    """A reply that repeats every secret that upstream was shown, in whatever header."""

    def play(call: Call) -> Reply:
        shown = " ".join(value for _, value in call.header_pairs) + " " + call.query
        return make(" and ".join(dict.fromkeys(secret for secret in SECRETS if secret in shown)))

    return play


def _split(text: str) -> tuple[bytes, ...]:
    """Chunks that cut every secret in the middle."""
    data = anthropic_error_event(message=f"no: {text}")
    cuts = sorted(data.find(secret.encode()) + len(secret) // 2 for secret in SECRETS if secret.encode() in data)
    edges = [0, *cuts, len(data)]
    return tuple(data[start:end] for start, end in pairwise(edges))


def _array(text: str) -> Reply:
    """A JSON array whose pieces cut the secrets."""
    return gemini_stream(text, pieces=1, sse=False).but(split=20, gap=0.005)


ANSWERS: dict[str, tuple[str, Callable[[str], Reply]]] = {
    "whole error": ("anthropic", lambda text: anthropic_error(400, "invalid_request_error", f"no: {text}")),
    "auth error": ("anthropic", lambda text: anthropic_error(401, "authentication_error", f"no: {text}")),
    "text error": ("anthropic", lambda text: Reply(500, {"content-type": "text/plain"}, f"no: {text}".encode())),
    "error header": (
        "anthropic",
        lambda text: anthropic_error(400, "invalid_request_error", "no", headers={"www-authenticate": text}),
    ),
    "stream header": (
        "anthropic",
        lambda text: replace(anthropic_stream(), headers={"content-type": "text/event-stream", "x-echo": text}),
    ),
    "error event": ("anthropic", lambda text: anthropic_reply([anthropic_error_event(message=f"no: {text}")])),
    "late error event": (
        "anthropic",
        lambda text: anthropic_stream().first(4, "normal").inserted(4, anthropic_error_event(message=f"no: {text}")),
    ),
    "late error event in pieces": (
        "anthropic",
        lambda text: anthropic_stream().first(4, "normal").inserted(4, *_split(text)).but(gap=0.02),
    ),
    "answer's text": ("anthropic", lambda text: anthropic_stream(f"you are {text}", pieces=1)),
    "Google error": (
        "gemini",
        lambda text: gemini_error(403, None, f"Permission denied: Consumer 'api_key:{text}' has been suspended."),
    ),
    "Google error event": (
        "gemini",
        lambda text: gemini_stream().first(1, "normal").inserted(1, gemini_error_event(message=f"no: {text}")),
    ),
    "Google error tail": (
        "gemini",
        lambda text: gemini_stream().first(1, "normal").inserted(1, gemini_error_tail(message=f"no: {text}")),
    ),
}  # fmt: skip


@dataclass
class Run:
    """What one run of the proxy left behind."""

    folder: Path
    output: str = ""
    log_file: bytes = b""
    answers: dict[str, raw.RawResponse] = field(default_factory=dict)
    calls: dict[str, list[Call]] = field(default_factory=dict)
    """By the same names as the answers."""


def exercise(proxy: Proxy, reverse: str, server: Upstream, target: Upstream, run: Run) -> None:
    """Let every secret pass through the proxy in every form.

    reverse: the base URL of reverse mode to `target`, which is not configured; `server` is.
    """

    def keep(name: str, response: raw.RawResponse) -> None:
        run.answers[name] = response
        run.calls[name] = [*server.calls, *target.calls]
        server.reset()
        target.reset()

    for name, (headers, query) in FORMS.items():
        for dialect in DIALECTS:
            keep(
                f"{dialect} {name}", ask(proxy.url, dialect, "plain", headers={**headers, "x-no-key": ""}, query=query)
            )
        if name not in ("all at once", "gateway"):
            dialect = "gemini" if "goog" in name or name == "key" else "anthropic"
            sent = {**headers, "x-no-key": ""}
            keep(f"own {name}", ask(reverse, dialect, "plain", headers=sent, query=query))
    for name, (dialect, make) in ANSWERS.items():
        for where, base, played in (("account", proxy.url, server), ("own", reverse, target)):
            played.play(*[repeats(make)] * 3)
            keep(f"{where} {name}", ask(base, dialect, "repeated", headers={"x-api-key": CLIENT}))
    for model in ("with-bearer", "with-team"):
        server.play(*[repeats(ANSWERS["auth error"][1])] * 3)
        keep(model, ask(proxy.url, "anthropic", model, headers={"x-api-key": STRANGER}))
    server.play(repeats(ANSWERS["Google error"][1]))
    keep("files", raw.request("POST", f"{proxy.url}/v1beta/files?key={CLIENT}", b"{}", {"x-goog-api-key": CLIENT}))
    # Without alt=sse one JSON array comes, which is passed on as it arrives.
    server.play(repeats(lambda text: _array(f"you are {text}")))
    keep("array", raw.request("POST", f"{proxy.url}/v1beta/models/plain:streamGenerateContent?key={CLIENT}", b"{}"))
    keep("not found", raw.request("GET", f"{proxy.url}/nothing?key={CLIENT}", headers={"x-api-key": STRANGER}))
    keep("broken body", raw.request("POST", f"{proxy.url}/v1/messages", b"{", {"x-api-key": STRANGER}))
    keep("health", raw.request("GET", f"{proxy.url}/health?key={GATEWAY}", headers={"x-api-key": STRANGER}))


def configuration(server: Upstream) -> str:
    config = "".join(
        account(f"{dialect}-{place}", dialect, api_key=KEY[dialect], models=["plain", "repeated"])
        for dialect in DIALECTS
        for place in ("one", "two")
    )
    config += f'[[accounts]]\nname = "b"\nbearer = "{BEARER}"\nmodels = ["with-bearer"]\n'
    config += (
        f'[[accounts]]\nname = "t"\napi_key = "env:KEY"\nheaders = {{ "x-team" = "{TEAM}" }}\nmodels = ["with-team"]\n'
    )
    config += "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS)
    return config + f'[clients]\nkeys = ["{GATEWAY}"]\n[retry]\nspare_retries = 1000\nmax_wait = 0\n'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("secrets")
    run = Run(folder)
    with Upstream() as server, Upstream() as target:
        port = free_port()
        modes = ["--mode", "regular", "--mode", f"reverse:{target.url}@{port}"]
        args = ["-vv", "-w", str(folder / "flows"), *modes]
        options = {"termlog_verbosity": "debug", "flow_detail": "4"}
        config = configuration(server)
        with Proxy(folder, config, options=options, args=args, env={"KEY": KEY["anthropic"]}) as proxy:
            wait_for_modes(proxy, 2)
            exercise(proxy, f"http://127.0.0.1:{port}", server, target, run)
        run.output, run.log_file = proxy.log, proxy.log_file.read_bytes()
    return run


def test_saved_flows_show_no_secret(run: Run) -> None:
    data = (run.folder / "flows").read_bytes()
    if shown := shown_in(data):
        where = [
            f"{story(flow).get('role')} {flow.request.method} {flow.request.path} {story(flow).get('model')}: {secrets}"
            for flow in saved_flows(run.folder / "flows")
            if (secrets := shown_in(repr(flow.get_state())))
        ]
        pytest.fail(f"{shown} shown by\n" + "\n".join(where))


def test_the_process_prints_no_secret_at_its_most_talkative(run: Run) -> None:
    assert "anthropic-one" in run.output
    assert not [line for line in run.output.splitlines() if shown_in(line)]


def test_the_log_file_shows_no_secret(run: Run) -> None:
    assert b"anthropic-one" in run.log_file
    assert not [line for line in run.log_file.splitlines() if shown_in(line)]


@pytest.mark.parametrize("name", [f"{where} {name}" for name in ANSWERS for where in ("account", "own")])
def test_a_secret_that_upstream_repeats_is_kept_from_the_client(run: Run, name: str) -> None:
    # The upstream did repeat one.
    assert any(shown_in(repr(call.header_pairs)) for call in run.calls[name])
    assert not shown_in(all_of(run.answers[name])), all_of(run.answers[name])


@pytest.mark.parametrize("name", ["with-bearer", "with-team", "files", "array", "not found", "broken body", "health"])
def test_no_other_answer_shows_a_secret(run: Run, name: str) -> None:
    assert not shown_in(all_of(run.answers[name])), all_of(run.answers[name])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_upstream_gets_the_accounts_credential_and_no_other(run: Run, dialect: str, form: str) -> None:
    name = f"{dialect} {form}"
    assert read_stream(dialect, run.answers[name].body)
    [call] = run.calls[name]
    assert call.credentials == [f"{'x-api-key' if dialect == 'anthropic' else 'x-goog-api-key'}:{KEY[dialect]}"]
    assert not {CLIENT, GATEWAY} & {value for _, value in call.header_pairs}
    assert CLIENT not in call.query


@pytest.mark.parametrize("form", [form for form in FORMS if form not in ("all at once", "gateway")])
def test_without_an_account_upstream_gets_the_clients_own_credential_as_it_came(run: Run, form: str) -> None:
    [call] = run.calls[f"own {form}"]
    assert call.credentials == [f"{form}:{CLIENT}"]


def test_a_bearer_and_more_headers_of_an_account_reach_upstream(run: Run) -> None:
    assert keys_of(run.calls["with-bearer"][:1]) == [BEARER]
    [first, *_] = run.calls["with-team"]
    assert keys_of([first]) == [KEY["anthropic"]]
    assert first.headers["x-team"] == TEAM


def test_mitmweb_shows_no_secret(tmp_path: Path) -> None:
    run, pages = Run(tmp_path), dict[str, bytes]()
    with Upstream() as server, Upstream() as target:
        port, web_port = free_port(), free_port()
        modes = ["--mode", "regular", "--mode", f"reverse:{target.url}@{port}"]
        options = {"web_open_browser": "false", "web_port": str(web_port), "web_password": "open"}
        env = {"KEY": KEY["anthropic"]}
        with Proxy(tmp_path, configuration(server), options=options, args=modes, tool="mitmweb", env=env) as proxy:
            wait_for_modes(proxy, 2)
            exercise(proxy, f"http://127.0.0.1:{port}", server, target, run)

            def page(path: str) -> bytes:
                got = raw.request("GET", f"http://127.0.0.1:{web_port}{path}", headers={"authorization": "Bearer open"})
                assert got.status == 200, path
                pages[path] = got.body
                return got.body

            flows = orjson.loads(page("/flows"))
            # The dump has all bodies.
            for path in ("/events", "/flows/dump", "/state"):
                page(path)
    assert len(flows) > 2 * len(ANSWERS)
    paths = {flow["id"]: flow["request"]["path"] for flow in flows}
    assert not [paths[flow["id"]] for flow in flows if shown_in(orjson.dumps(flow))]
    assert not [page for page, data in pages.items() if shown_in(data)]
