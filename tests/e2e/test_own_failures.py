"""A failure of the addon itself never breaks a request that would have worked without it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import account, upstream
from tests.e2e.probed import ProbedProxy
from tests.support import raw
from tests.support.protocol import (
    check_anthropic_error,
    check_anthropic_json,
    check_anthropic_stream,
    check_gemini_stream,
)
from tests.upstream import Reply, Upstream, anthropic_error, anthropic_json, anthropic_stream, gemini_stream

# Loaded after the addon. A file says what is broken: `Class.method`, or `Class.method 3` from the third call.
SABOTAGE = """
import os
from pathlib import Path

from antigravity_healing.monitor.log.writer import Log
from antigravity_healing.policy.routing.accounts import Accounts
from antigravity_healing.policy.exchange.attempts_in_turn import AttemptsInTurn
from antigravity_healing.policy.exchange.delivery import Delivery
from antigravity_healing.policy.exchange.answer_reader import AnswerReader
from antigravity_healing.policy.journal.records import Journal
from antigravity_healing.policy.judging.gate import Gate
from antigravity_healing.policy.exchange.retry_table import RetryBudget
from antigravity_healing.proxy.claiming.claiming import Claiming
from antigravity_healing.proxy.claiming.exchange_maker import ExchangeMaker
from antigravity_healing.proxy.streams.recorder import Recorder
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.anthropic.reader import AnthropicReader
from antigravity_healing.wire.gemini.reader import GeminiReader
from antigravity_healing.wire.http.sse import SSEDecoder

ORDER = Path(os.environ["SABOTAGE"])
calls = 0


def sabotage(owner, name):
    stock = getattr(owner, name)

    def call(*args, **kwargs):
        global calls
        broken, _, begin = ORDER.read_text().partition(" ")
        if not broken:
            calls = 0
        elif broken == f"{owner.__name__}.{name}":
            calls += 1
            if calls >= int(begin or 1):
                raise RuntimeError("sabotage")
        return stock(*args, **kwargs)

    setattr(owner, name, call)


for owner, *names in (
    (Accounts, "begin_use", "choose", "end_use"),
    (Anthropic, "clean", "model_of", "session_of"),
    (AnthropicReader, "read"),
    (AttemptsInTurn, "_begin"),
    (Claiming, "claim"),
    (Delivery, "deliver_stream", "succeed_if_current"),
    (AnswerReader, "_open_gate", "_through_gate"),
    (ExchangeMaker, "exchange"),
    (Gate, "end_stream", "feed"),
    (GeminiReader, "read"),
    (Journal, "tell"),
    (Log, "write"),
    (Recorder, "__call__"),
    (RetryBudget, "request"),
    (SSEDecoder, "decode", "flush"),
):
    for name in names:
        sabotage(owner, name)
"""


@dataclass(frozen=True)
class Broken:
    """A proxy in which something can be broken."""

    proxy: ProbedProxy
    upstream: Upstream
    order: Path

    def ask(self, dialect: str, reply: Reply, *, stream: bool = True) -> raw.RawResponse:
        """One request whose call upstream answers so."""
        self.upstream.reset()
        self.upstream.play(reply)
        if dialect == "gemini":
            url = f"{self.proxy.url}/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
            body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
        else:
            url = f"{self.proxy.url}/v1/messages"
            messages = [{"role": "user", "content": "hi"}]
            body = {"model": "claude-x", "max_tokens": 9, "stream": stream, "messages": messages}
        return raw.request("POST", url, body, timeout=5)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    folder = tmp_path_factory.mktemp("broken")
    script, order = folder / "sabotage.py", folder / "order"
    script.write_text(SABOTAGE)
    order.write_text("")
    with Upstream() as up:
        config = account("a", "anthropic") + account("g", "gemini")
        config += "".join(upstream(dialect, dialect, up.url) for dialect in ("anthropic", "gemini"))
        proxy = ProbedProxy(folder, config, args=["-s", str(script)], env={"SABOTAGE": str(order)})
        proxy.provoked = True
        with proxy:
            yield Broken(proxy, up, order)


@pytest.fixture
def broken(workshop: Broken) -> Iterator[Broken]:
    running = workshop.proxy.alive().running
    yield workshop
    workshop.order.write_text("")
    # What was broken is over with its exchange: the next one goes as any other, and nothing is left behind.
    response = workshop.ask("anthropic", anthropic_stream("as ever"))
    assert check_anthropic_stream(response.body).text == "as ever"
    assert response.header("x-healing-outcome") == "clean"
    workshop.proxy.wait_until(lambda alive: not (alive.clients or alive.objects), "nothing is left behind")
    assert workshop.proxy.alive().running == running
    workshop.upstream.wait_for(lambda up: not up.active and not up.open_connections)


THINKING = anthropic_stream("a long story", thinking="well", pieces=4)
ESSENTIAL = (
    "AnthropicReader.read", "AnthropicReader.read 4", "AnthropicReader.read 7", "Gate.feed", "Gate.feed 2",
    "Gate.end_stream", "SSEDecoder.decode", "SSEDecoder.decode 2", "SSEDecoder.flush", "Anthropic.clean",
    "Anthropic.clean 7", "Log.write", "Recorder.__call__", "Accounts.end_use", "Anthropic.session_of",
    "RetryBudget.request",
)  # fmt: skip


@pytest.mark.parametrize("what", ESSENTIAL)
def test_stream_arrives_byte_for_byte_although_something_of_ours_is_broken(broken: Broken, what: str) -> None:
    broken.order.write_text(what)
    response = broken.ask("anthropic", THINKING.but(gap=0.02))
    assert (response.status, response.ended) == (200, "complete")
    assert response.body == THINKING.whole
    assert check_anthropic_stream(response.body).ended == "complete"
    assert len(broken.upstream.calls) == 1


@pytest.mark.parametrize("what", ["GeminiReader.read", "GeminiReader.read 2"])
def test_gemini_stream_arrives_byte_for_byte_although_its_reader_is_broken(broken: Broken, what: str) -> None:
    broken.order.write_text(what)
    reply = gemini_stream("a long story", pieces=4, gap=0.02)
    response = broken.ask("gemini", reply)
    assert (response.status, response.ended) == (200, "complete")
    assert response.body == reply.whole
    assert check_gemini_stream(response.body).ended == "complete"
    assert len(broken.upstream.calls) == 1


@pytest.mark.parametrize("what", ["Log.write", "Accounts.end_use", "Anthropic.session_of"])
def test_plain_answer_and_error_arrive_although_something_of_ours_is_broken(broken: Broken, what: str) -> None:
    broken.order.write_text(what)
    response = broken.ask("anthropic", anthropic_json("fine"), stream=False)
    assert check_anthropic_json(response.body).text == "fine"
    refusal = anthropic_error(400, "invalid_request_error", "max_tokens: must be at least 1")
    response = broken.ask("anthropic", refusal, stream=False)
    assert (response.status, response.body) == (400, refusal.whole)


@pytest.mark.parametrize("what", ["Claiming.claim", "ExchangeMaker.exchange"])
def test_request_that_can_not_be_looked_at_goes_nowhere_although_the_client_named_its_destination(
    broken: Broken, what: str
) -> None:
    """Who asks, and for what, is not known then: nothing is sent for it, with whatever credential."""
    broken.order.write_text(what)
    broken.upstream.reset()
    body = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    url = f"{broken.upstream.url}/v1/messages"
    response = raw.request("POST", url, body, {"x-api-key": "own-key-0123456789"}, proxy=broken.proxy.url)
    check_anthropic_error(response.status, response.body, any_status=True)
    assert response.status == 500
    assert broken.upstream.calls == []


OTHERS = (
    "Accounts.choose",
    "Accounts.begin_use",
    "Anthropic.model_of",
    "AttemptsInTurn._begin",
    "Delivery.deliver_stream",
    "Delivery.succeed_if_current",
    "AnswerReader._open_gate",
    "AnswerReader._through_gate",
    "ExchangeMaker.exchange",
    "Journal.tell",
)


@pytest.mark.parametrize("what", OTHERS)
def test_no_client_is_left_hanging_or_deceived_whatever_is_broken(broken: Broken, what: str) -> None:
    broken.order.write_text(what)
    try:
        response = broken.ask("anthropic", THINKING)
    except ConnectionError:
        return  # a connection that breaks is an answer too
    if response.status == 200:
        assert response.body == THINKING.whole or response.ended != "complete"
    else:
        check_anthropic_error(response.status, response.body, any_status=True)
