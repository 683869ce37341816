"""Asking through a lane with a plan of faults, and what the client, the upstream and the log then have to show."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.support import raw
from tests.support.protocol import (
    AnthropicReport,
    GeminiReport,
    check_anthropic_error,
    check_anthropic_json,
    check_anthropic_stream,
    check_gemini_error,
    check_gemini_json,
    check_gemini_stream,
)
from tests.upstream import (
    Call,
    Play,
    Reply,
    anthropic_empty,
    anthropic_error,
    anthropic_json,
    anthropic_stream,
    gemini_empty,
    gemini_error,
    gemini_json,
    gemini_stream,
    healthy,
)

ENDINGS = ("delivered, ", "no other try, the client gets this", "the client has been told", "the client left")
RETRY_WORDS = (
    "retrying...",
    "Stream error during peek",
    "Stream ended during peek",
    "Stream ended immediately",
    "Timeout waiting for first data",
    "Empty first chunk",
)
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_ID = re.compile(r"\[[0-9a-f]{8}\](?= \w+: POST )")

with_and_without_stream = pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])


class Plans:
    """A plan for each model, to be used as an upstream's default: for requests that are made at once."""

    def __init__(self) -> None:
        self._plans: dict[str, list[Play]] = {}

    def put(self, model: str, plan: Sequence[Play]) -> None:
        """What is played for this model, call by call."""
        self._plans[model] = list(plan)

    def left(self, model: str) -> int:
        """How many of them have not been played."""
        return len(self._plans[model])

    def __call__(self, call: Call) -> Reply:
        """The reply to a call."""
        asked = call.path.encode() + call.body
        for model, plan in self._plans.items():
            if model.encode() in asked and plan:
                play = plan.pop(0)
                return play if isinstance(play, Reply) else play(call)
        return healthy(call)


@dataclass
class Asked:
    """One request's answer and its story.

    calls: the upstream's calls for it. log: the log lines of its exchange.
    """

    lane: Lane
    stream: bool
    response: raw.RawResponse
    calls: list[Call]
    log: list[str]

    @property
    def status(self) -> int:
        """What the client saw."""
        return self.response.status

    @property
    def body(self) -> bytes:
        """What the client saw, byte for byte."""
        return self.response.body

    @property
    def accounts(self) -> list[str]:
        """`first` or `second` for each call."""
        return [("first", "second")[self.lane.accounts.index(self.lane.account_of(call))] for call in self.calls]

    @property
    def waits(self) -> list[float]:
        """Seconds from each call to the next: never less than the wait between them."""
        return [after.at - before.at for before, after in zip(self.calls, self.calls[1:], strict=False)]

    @property
    def tail(self) -> float:
        """Seconds from the last call to the end of the answer."""
        return self.response.sent_at + self.response.ended_at - self.calls[-1].at

    def logged(self, words: str) -> int:
        """How many lines have these words."""
        return sum(words in line for line in self.log)

    def report(self, *, allow_cut: bool = False) -> AnthropicReport | GeminiReport:
        """The checked answer of status 200; with `allow_cut`, of a stream whose connection broke."""
        assert self.status == 200, self.body
        if self.lane.dialect == "anthropic":
            if self.stream:
                return check_anthropic_stream(self.body, allow_cut=allow_cut)
            return check_anthropic_json(self.body)
        return check_gemini_stream(self.body, allow_cut=allow_cut) if self.stream else check_gemini_json(self.body)

    def error(self) -> dict[str, Any]:
        """The checked error of an error answer, whose status must be the one that goes with it."""
        check = check_anthropic_error if self.lane.dialect == "anthropic" else check_gemini_error
        return check(self.status, self.body)

    def retry_lines(self) -> list[str]:
        """The lines that tell of another try."""
        return [line for line in self.log if "retrying..." in line]

    def assert_served(self, text: str, accounts: Sequence[str]) -> None:
        """The client got the last call's answer, whole and (in the same dialect) unchanged; the headers tell how."""
        report = self.report()
        assert report.ended == "complete"
        assert report.text == text
        assert report.error is None
        assert self.calls[-1].reply is not None
        if self.lane.upstream_dialect == self.lane.dialect:
            assert self.body == self.calls[-1].reply.whole
        assert self.accounts == list(accounts)
        assert self.retries == len(accounts) - 1, self.log
        self._assert_headers("healed" if len(accounts) > 1 else "clean")

    def assert_delivered(self, reply: Reply, accounts: Sequence[str]) -> None:
        """The client got this reply of upstream's, the last one, as it is: its status, body and headers."""
        assert self.status == reply.status
        assert self.body == reply.whole
        for name, value in reply.headers.items():
            assert self.response.header(name) == value
        assert self.accounts == list(accounts)
        assert self.retries == len(accounts) - 1, self.log
        self._assert_headers("failed")

    def assert_failed(self, accounts: Sequence[str]) -> None:
        """What the headers and the log say of an exchange that failed."""
        assert self.accounts == list(accounts)
        assert self.retries == len(accounts) - 1, self.log
        self._assert_headers("failed")

    @property
    def retries(self) -> int:
        """How many tries the log tells of."""
        return len(self.retry_lines())

    def _assert_headers(self, outcome: str) -> None:
        header = self.response.header
        assert header("x-healing-outcome") == outcome
        assert header("x-healing-attempts") == str(len(self.calls))
        assert header("x-account-email") == f"{self.lane.account_of(self.calls[-1])}@accounts.example"
        asked = self.calls[0].json["model"] if self.lane.upstream_dialect == "anthropic" else self.calls[0].path
        assert header("x-mapped-model") in asked


def ask(
    lane: Lane,
    *plan: Play,
    stream: bool = True,
    sse: bool = True,
    model: str | None = None,
    same: bool = True,
    plans: Plans | None = None,
) -> Asked:
    """Play a plan for one request, which must use it up; a call beyond it would be answered in good health.

    sse: False asks Gemini for a stream that is one JSON array. same: whether every call has to be the same.
    plans: where the plan is put, for an upstream that many ask at once.
    """
    model = model or lane.model
    sought = model if lane.model == lane.upstream_model else lane.upstream_model
    before = len(_calls(lane, sought))
    if plans is None:
        lane.upstream.play(*plan)
    else:
        plans.put(sought, plan)
    target, body = request_of(lane, model, stream=stream, sse=sse)
    headers = {"anthropic-version": "2023-06-01"}
    told = len(lane.proxy.lines)
    # A client that is kept with heartbeats for ever leaves in the end.
    patience = time.monotonic() + 10
    response = raw.request("POST", lane.proxy.url + target, body, headers, read=lambda _: time.monotonic() > patience)
    log = _story(lane, model, told)
    calls = _calls(lane, sought)[before:]
    assert (plans.left(sought) if plans else lane.upstream.unplayed) == 0, lane.upstream.describe()
    # Nothing was changed for a retry, so that the prompt's cache still counts.
    assert not same or all(call.body == calls[0].body for call in calls)
    # An attempt that is given up must end upstream too.
    lane.upstream.wait_for(lambda _: all(call.ended for call in calls))
    return Asked(lane, stream, response, calls, log)


def request_of(lane: Lane, model: str, *, stream: bool, sse: bool = True) -> tuple[str, dict[str, Any]]:
    """Path and body of a short request."""
    if lane.dialect == "anthropic":
        said = [{"role": "user", "content": "Say hello."}]
        return "/v1/messages", {"model": model, "max_tokens": 64, "stream": stream, "messages": said}
    verb = "streamGenerateContent" + ("?alt=sse" if sse else "") if stream else "generateContent"
    return f"/v1beta/models/{model}:{verb}", {"contents": [{"role": "user", "parts": [{"text": "Say hello."}]}]}


def answer(lane: Lane, text: str = "Hello", *, stream: bool = True) -> Reply:
    """A good answer, in upstream's dialect."""
    if lane.upstream_dialect == "anthropic":
        return anthropic_stream(text, pings=1) if stream else anthropic_json(text)
    return gemini_stream(text) if stream else gemini_json(text)


def empty(lane: Lane, *, stream: bool = True) -> Reply:
    """The 0-token answer."""
    if lane.upstream_dialect == "anthropic":
        return anthropic_empty() if stream else anthropic_json("")
    return gemini_empty() if stream else gemini_json("")


def error(
    lane: Lane,
    status: int,
    message: str = "It went wrong.",
    *,
    headers: Mapping[str, str] | None = None,
    details: Sequence[Mapping[str, Any]] = (),
) -> Reply:
    """An error answer with the type or status name that goes with it. `details` are Google's."""
    if lane.upstream_dialect == "gemini":
        return gemini_error(status, None, message, headers=headers, details=details)
    return anthropic_error(status, ANTHROPIC_TYPES.get(status, "api_error"), message, headers=headers)


def overloaded(lane: Lane) -> Reply:
    """An error answer of a busy server."""
    if lane.upstream_dialect == "gemini":
        return error(lane, 503, "The model is overloaded. Please try again later.")
    return error(lane, 529, "Overloaded")


def healthy_accounts(lane: Lane) -> dict[str, bool]:
    """Whether nothing keeps an account of the lane away, by `first` and `second`."""
    found = {each["name"]: not each["benches"] for each in lane.proxy.health()["accounts"]}
    return {place: found[name] for place, name in zip(("first", "second"), lane.accounts, strict=True)}


def other_model(lane: Lane) -> str:
    """Another model that only the lane's accounts serve."""
    return lane.model.removesuffix("x") + "y"


def _calls(lane: Lane, model: str) -> list[Call]:
    named = model.encode()
    return [call for call in lane.upstream.calls if named in call.path.encode() + call.body]


def _story(lane: Lane, model: str, told: int) -> list[str]:
    """The log of the exchange for this model that comes after `told` lines, once it is complete."""
    proxy, found = lane.proxy, ""

    def lines() -> list[str]:
        return [line for line in proxy.lines[told:] if found in line]

    def complete() -> bool:
        nonlocal found
        heads = [match.group() for line in lines() if model in line and (match := _ID.search(line))]
        found = found or next(iter(heads), "")
        return bool(found) and any(end in line for line in lines() for end in ENDINGS)

    proxy.wait_for(complete, f"the end of an exchange for {model}")
    return lines()
