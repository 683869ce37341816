"""The commands, as mitmweb's command bar runs them."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from tests.e2e.harness import account, key_of, upstream
from tests.e2e.test_modes_helpers import CLIENT_KEY, DIALECTS, ask, empty, error, read_stream, stream
from tests.e2e.web import CommandFailedError, Web, running_web
from tests.support import raw
from tests.upstream import Call, Reply, Upstream, gemini_stream

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
SIGNATURE = "EqQBCgIYAhIkYTBi" * 20
ATTEMPT = "~meta '^antigravity: ..role.: .attempt"
"""The beginning of a filter for attempts; it still needs its closing quote."""


@dataclass(frozen=True)
class Place:
    """A mitmweb, the upstream behind it, another one that no account is for, and the file with an account's key."""

    web: Web
    server: Upstream
    open_server: Upstream
    key_file: Path

    def fail(self, model: str, dialect: str = "anthropic", message: str = "Not today", **how: Any) -> str:
        """Have an exchange fail at its first attempt, and give its id."""
        self.server.play(error(dialect, 400, message))
        assert ask(self.web.proxy.url, dialect, model, **how).status == 400
        self.web.wait_for(lambda: self.web.client_flow(model).get("response"))
        return self.id_of(model)

    def id_of(self, model: str) -> str:
        """The id of the first exchange for a model."""
        self.web.wait_for_event(f" {model}")
        [found, *_] = re.findall(rf"\[([0-9a-f]{{8}})\] \w+: POST \S+ {re.escape(model)}$", self.said, re.MULTILINE)
        return str(found)

    @property
    def said(self) -> str:
        """What the event log shows."""
        return "\n".join(self.web.events())

    def flow(self, model: str) -> str:
        """The flow specification of a client's flow."""
        return f"@{self.web.client_flow(model)['id']}"

    def attempt(self, model: str) -> str:
        """The flow specification of the first attempt."""
        return f"@{self.web.attempts(model)[0]['id']}"

    def refusal(self, command: str, *args: str) -> str:
        """What a person sees whose command is refused."""
        with pytest.raises(CommandFailedError) as raised:
            self.web.command(command, *args)
        return str(raised.value)


def configuration(server: Upstream, open_server: Upstream, more: str = "") -> str:
    config = "".join(
        account(f"{dialect}-{place}", dialect, priority=priority, models=["*-m", "mapped"])
        for dialect in DIALECTS
        for priority, place in enumerate(("first", "second"))
    )
    config += account("filed", "anthropic", models=["filed-*"], api_key="file:key.txt")
    config += account("gone", "anthropic", models=["gone-*"]) + account("moved", "anthropic", models=["moved-*"])
    config += upstream("anthropic", "anthropic", server.url) + upstream("gemini", "gemini", server.url)
    config += upstream("open", "anthropic", open_server.url)
    return config + '[models]\n"alias-*" = "mapped"\n"over-*" = "gemini/over-m"\n[retry]\nmax_attempts = 2\n' + more


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("commands")
    key_file = folder / "key.txt"
    key_file.write_text("the-key-of-before-0123")
    with (
        Upstream() as server,
        Upstream() as open_server,
        running_web(folder, server, configuration(server, open_server)) as web,
    ):
        yield Place(web, server, open_server, key_file)


@pytest.fixture(autouse=True)
def afresh(place: Place) -> None:
    place.server.reset()


def same_request(again: Call, before: Call) -> bool:
    """Whether two calls are the same to the byte, but for the credential."""

    def shown(call: Call) -> list[tuple[str, str]]:
        return [(name, value) for name, value in call.header_pairs if name not in ("x-api-key", "x-goog-api-key")]

    return (again.method, again.path, again.query, again.body, shown(again)) == (
        before.method,
        before.path,
        before.query,
        before.body,
        shown(before),
    )


@each_dialect
def test_replay_says_whether_an_exchange_works_now(place: Place, dialect: str) -> None:
    model = f"{dialect}-replay-m"
    exchange = place.fail(model, dialect)
    place.server.play(empty(dialect), stream(dialect, "Now"))
    [line] = place.web.command("antigravity.replay", place.flow(model))
    assert line.startswith(f"[{exchange}] {model}: being replayed")
    told = place.web.wait_for_event(f"[{exchange}] {model}: failed (400 ")
    assert told.endswith("Not today) → healed (2 attempts)")
    assert read_stream(dialect, place.web.content(place.web.client_flow(model))) == "Now"

    place.server.play(error(dialect, 400, "Never"))
    place.web.command("antigravity.replay", place.flow(model))
    told = place.web.wait_for_event(f"{model}: healed (2 attempts) → failed (400 ")
    assert "Never" in told


def test_replay_takes_any_selection_and_replays_each_exchange_once(place: Place) -> None:
    exchange = place.fail("selection-m")
    lines = place.web.command("antigravity.replay", f"~meta {exchange}")
    assert len(lines) == 1
    place.web.wait_for_event(f"[{exchange}] selection-m: failed (400 invalid_request_error: Not today) → clean")
    assert len(place.server.calls) == 2


def test_replay_of_an_attempt_replays_its_exchange(place: Place) -> None:
    exchange = place.fail("by-attempt-m")
    attempt = place.attempt("by-attempt-m")
    place.web.command("antigravity.replay", attempt)
    place.web.wait_for_event(f"[{exchange}] by-attempt-m: failed (400 invalid_request_error: Not today) → clean")
    # The exchange's flow is now another exchange's; the attempt of before still finds it.
    place.web.command("antigravity.replay", attempt)
    place.web.wait_for_event("by-attempt-m: clean → clean")
    assert len(place.server.calls) == 3

    place.web.command("view.flows.remove", place.flow("by-attempt-m"))
    text = place.refusal("antigravity.replay", attempt)
    assert text.startswith(f"[{exchange}] attempt 1 on anthropic-first: its exchange's own flow is not in the list")
    assert "antigravity.replay.attempt" in text


def test_replay_leaves_to_mitmproxy_what_is_not_ours(place: Place) -> None:
    raw.request("GET", f"{place.server.url}/page", proxy=place.web.proxy.url)
    place.web.wait_for(lambda: [flow for flow in place.web.flows() if flow["request"]["path"] == "/page"])
    assert "replay.client" in place.refusal("antigravity.replay", "~u /page")
    assert "no flow" in place.refusal("antigravity.replay", "~u /nothing-like-that")
    assert "no flow" in place.refusal("antigravity.replay.attempt", "~u /nothing-like-that")
    assert "neither an exchange nor an attempt" in place.refusal("antigravity.diff", "~u /page")


def test_an_attempt_is_sent_again_exactly_with_its_credential_put_on_anew(place: Place) -> None:
    headers = {"x-team": "a", "anthropic-version": "2023-06-01", "user-agent": "me"}
    exchange = place.fail("filed-again", text="Zoë\n", headers=headers)
    [before] = place.server.calls
    assert before.credential == "x-api-key:the-key-of-before-0123"
    place.key_file.write_text("the-key-of-after-4567")
    repeating = stream("anthropic")
    place.server.play(replace(repeating, headers={**repeating.headers, "x-echo": "the-key-of-after-4567"}))
    [line] = place.web.command("antigravity.replay.attempt", place.attempt("filed-again"))
    assert line.startswith(f"[{exchange}] attempt 1 on filed: being sent again")
    told = place.web.wait_for_event(f"[{exchange}] attempt 1 on filed: failed (400 invalid_request_error: Not today)")
    assert told.endswith(" → answered (200)")
    _, again = place.server.calls
    assert again.credential == "x-api-key:the-key-of-after-4567"
    assert same_request(again, before)
    [attempt] = place.web.attempts("filed-again")
    assert ["x-echo", "[redacted]"] in attempt["response"]["headers"]
    for text in (repr(place.web.flows()), place.said, place.web.proxy.log):
        assert "the-key-of-" not in text


@each_dialect
def test_an_attempt_that_fails_again_says_so(place: Place, dialect: str) -> None:
    model = f"{dialect}-twice-m"
    exchange = place.fail(model, dialect)
    [before] = place.server.calls
    head = f"[{exchange}] attempt 1 on {dialect}-first: failed ("
    array = gemini_stream("Hello world", pieces=3, sse=False)
    replies = [
        (empty(dialect), "failed (200 OK but 0 tokens"),
        (error(dialect, 429, f"Slowly, {key_of(f'{dialect}-first')}"), "Slowly, [redacted]"),
        (stream(dialect).first(1, end="normal"), "failed (Stream ended"),
        *([(array.first(1, end="normal"), "failed (Stream ended")] if dialect == "gemini" else []),
        (array if dialect == "gemini" else stream(dialect), "answered (200)"),
    ]
    for number, (reply, what) in enumerate(replies, 1):
        place.server.play(reply)
        place.web.command("antigravity.replay.attempt", place.attempt(model))
        assert what in place.web.wait_for_event(head, number).partition(" → ")[2]
    assert all(same_request(call, before) for call in place.server.calls)
    assert len(place.server.calls) == 1 + len(replies)


def test_an_attempt_without_a_credential_is_not_sent(place: Place) -> None:
    exchange = place.fail("filed-lost")
    place.key_file.unlink()
    try:
        place.web.command("antigravity.replay.attempt", place.attempt("filed-lost"))
        told = place.web.wait_for_event(f"[{exchange}] attempt 1 on filed: not replayed: ")
    finally:
        place.key_file.write_text("the-key-of-before-0123")
    assert "no credential for account filed: the file" in told
    assert len(place.server.calls) == 1
    [attempt] = place.web.attempts("filed-lost")
    assert b"Not today" in place.web.content(attempt), "what was recorded stays"


def test_an_attempt_with_the_clients_own_credential_cant_be_sent_again(place: Place) -> None:
    place.open_server.play(error("anthropic", 400, "No"))
    ask(place.open_server.url, "anthropic", "own-key", proxy=place.web.proxy.url)
    place.web.wait_for(lambda: len([flow for flow in place.web.flows() if place.web.asks(flow, "own-key")]) == 2)
    text = place.refusal("antigravity.replay.attempt", f"~meta {place.id_of('own-key')} & {ATTEMPT}'")
    assert "client's own credential, which is kept nowhere" in text
    assert len(place.open_server.calls) == 1
    assert CLIENT_KEY not in text
    text = place.refusal("antigravity.replay.attempt", f"~meta {place.id_of('own-key')} & !{ATTEMPT}'")
    assert "is no attempt" in text


def test_diff_tells_what_changed_on_the_way(place: Place) -> None:
    place.server.play(empty("anthropic"), stream("anthropic"))
    ask(place.web.proxy.url, "anthropic", "alias-a", headers={"x-team": "a", "accept-encoding": "gzip"})
    exchange = place.id_of("alias-a")
    place.web.wait_for(lambda: place.web.client_flow("alias-a").get("response"))
    lines = place.web.command("antigravity.diff", place.flow("alias-a"))
    first = (
        f"[{exchange}] the client's request → attempt 1 on anthropic-first (200 OK but 0 tokens (stop reason end_turn))"
    )
    assert lines == [
        first,
        f"    host: {place.web.proxy.url} → {place.server.url}",
        "    header accept-encoding: gzip → identity",
        '    model: "alias-a" → "mapped"',
        f"[{exchange}] the client's request → attempt 2 on anthropic-second (200)",
        *lines[1:4],
        f"[{exchange}] attempt 1 → attempt 2 on anthropic-second (200)",
        "    nothing changed",
    ]
    # Whoever looks into the event log sees it as well, and an attempt leads to its exchange.
    place.web.wait_for(lambda: set(lines) <= set(place.web.events()))
    assert place.web.command("antigravity.diff", f"~meta {exchange}") == lines

    place.web.command("view.flows.remove", f"~meta {exchange} & {ATTEMPT}.*attempt.: 2'")
    gone = place.web.command("antigravity.diff", place.flow("alias-a"))
    assert gone == [
        *lines[:4],
        f"[{exchange}] attempt 2 on anthropic-second (200): model mapped; its flow is not in the list of flows",
    ]


def test_diff_tells_which_model_a_gemini_path_has(place: Place) -> None:
    ask(place.web.proxy.url, "gemini", "alias-g")
    exchange = place.id_of("alias-g")
    place.web.wait_for(lambda: place.web.client_flow("alias-g").get("response"))
    lines = place.web.command("antigravity.diff", f"~meta {exchange}")
    assert "    model: alias-g → mapped" in lines
    assert [line for line in lines if "path: " in line and "alias-g:stream" in line and "mapped:stream" in line]


def test_diff_tells_what_a_repair_has_done_and_shows_no_signature(place: Place) -> None:
    place.server.play(
        error("anthropic", 400, "messages.1.content.0: Invalid `signature` in `thinking` block"), stream("anthropic")
    )
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE}
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [thinking, {"type": "text", "text": "Hello"}]},
        {"role": "user", "content": "go on"},
    ]
    ask(place.web.proxy.url, "anthropic", "repair-m", more={"messages": messages})
    exchange = place.id_of("repair-m")
    place.web.wait_for(lambda: place.web.client_flow("repair-m").get("response"))
    lines = place.web.command("antigravity.diff", place.flow("repair-m"))
    assert any(line.startswith(f"[{exchange}] attempt 1 → attempt 2") for line in lines)
    last = lines[max(place for place, line in enumerate(lines) if "→ attempt 2" in line) :]
    assert any(
        line.startswith("    messages[1].content[0]") and f"({len(SIGNATURE)} characters, sha256 " in line
        for line in last
    ), lines
    assert SIGNATURE[:32] not in repr(lines)
    assert SIGNATURE[:32] not in place.web.proxy.log


def test_the_commands_know_translated_exchanges(place: Place) -> None:
    place.server.play(error("gemini", 400, "Not today"))
    assert ask(place.web.proxy.url, "anthropic", "over-m").status == 400
    place.web.wait_for(lambda: place.web.client_flow("over-m").get("response"))
    exchange = place.id_of("over-m")
    lines = place.web.command("antigravity.diff", place.flow("over-m"))
    assert any(line.startswith("    path: /v1/messages → /v1beta/models/over-m:stream") for line in lines), lines
    assert any(line.startswith("    contents: added") for line in lines), lines
    place.server.play(stream("gemini", "Now"))
    [line] = place.web.command("antigravity.replay.attempt", place.attempt("over-m"))
    assert line.startswith(f"[{exchange}] attempt 1 on gemini-first: being sent again")
    place.web.wait_for(lambda: len(place.server.calls) == 2)
    assert same_request(*reversed(place.server.calls))
    place.server.play(stream("gemini", "Now"))
    place.web.command("antigravity.replay", place.flow("over-m"))
    place.web.wait_for_event(f"[{exchange}] over-m: failed (400 ")
    assert read_stream("anthropic", place.web.content(place.web.client_flow("over-m"))) == "Now"
    assert len(place.server.calls) == 3


def test_captured_exchanges_are_listed_and_loaded(place: Place) -> None:
    exchange = place.fail("captured-m", "gemini", "Gone wrong")
    lines = place.web.command("antigravity.capture.list")
    day = time.strftime("%Y-%m-%d")
    assert re.fullmatch(rf"{day}\.flow: \d+ exchanges, \d+ attempts", lines[0])
    [line] = [line for line in lines if exchange in line]
    assert re.fullmatch(rf"    \d\d:\d\d:\d\d \[{exchange}\] captured-m \(gemini\): failed \(400 .*Gone wrong\)", line)
    place.web.wait_for(lambda: set(lines) <= set(place.web.events()))
    assert place.web.command("antigravity.capture.names") == ["all", day, f"{day}.flow"]

    place.web.command("view.clear")
    assert not place.web.flows()
    [line] = place.web.command("antigravity.capture.load", day)
    loaded = len(place.web.flows())
    assert line == f"{day}.flow: {loaded} flows loaded"
    for what in ("all", f"{day}.flow"):
        assert place.web.command("antigravity.capture.load", what) == [
            f"{day}.flow: 0 flows loaded, {loaded} there already"
        ]
    first = place.web.command("antigravity.diff", f"~meta {exchange}")[0]
    assert first.startswith(f"[{exchange}] the client's request → attempt 1 on gemini-first (400 ")
    place.web.command("antigravity.replay", f"~meta {exchange}")
    place.web.wait_for_event(f"[{exchange}] captured-m: failed (400 ")
    assert place.refusal("antigravity.capture.load", "../antigravity.toml")
    assert place.refusal("antigravity.capture.load", "1999-01-01")


def test_what_a_person_kills_is_not_captured(place: Place) -> None:
    killed = Event()

    def after_the_kill(_: Call) -> Reply:
        killed.wait(10)
        return stream("anthropic")

    # mitmproxy looks at what has been killed only when something happens to it.
    place.server.play(after_the_kill)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, place.web.proxy.url, "anthropic", "killed-m")
        place.web.wait_for(lambda: place.web.attempts("killed-m"))
        place.web.command("flow.kill", place.attempt("killed-m"))
        killed.set()
        assert waiting.result().status >= 500
    later = place.fail("not-killed-m")
    lines = place.web.command("antigravity.capture.list")
    assert [line for line in lines if later in line]
    assert not [line for line in lines if place.id_of("killed-m") in line]


def test_with_another_configuration(place: Place) -> None:
    """What no account could serve is served; an attempt whose account is not what it was is not sent."""
    assert ask(place.web.proxy.url, "anthropic", "late-a").status == 404
    for model in ("gone-a", "moved-a"):
        place.fail(model)
    text = configuration(place.server, place.open_server)
    text = text.replace(account("gone", "anthropic", models=["gone-*"]), "")
    text = text.replace(
        account("moved", "anthropic", models=["moved-*"]), account("moved", "open", models=["moved-*", "late-*"])
    )
    loaded = sum("Configuration: " in line for line in place.web.events())
    place.web.proxy.config_file.write_text(text)
    place.web.wait_for_event("Configuration: ", loaded + 1)
    place.server.reset()
    assert "account gone is not in the configuration any more" in place.refusal(
        "antigravity.replay.attempt", place.attempt("gone-a")
    )
    text = place.refusal("antigravity.replay.attempt", place.attempt("moved-a"))
    assert f"it went to {place.server.url}, and account moved is for {place.open_server.url} now" in text
    assert not place.server.calls
    place.web.command("antigravity.replay", place.flow("late-a"))
    told = place.web.wait_for_event("late-a: failed (404 not_found_error: No account may serve")
    assert told.endswith(" → clean")
    assert [call.json["model"] for call in place.open_server.calls if key_of("moved") in call.credential] == ["late-a"]
