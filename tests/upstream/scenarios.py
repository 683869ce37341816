"""Faults by name, for the command line: each fits whatever call it is played for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import anthropic, gemini
from .anthropic import anthropic_error
from .calls import Call
from .gemini import gemini_error
from .healthy import Asked, asked, healthy
from .replies import Reply

LONG = "This answer comes slowly, one word after the other, until all of its words have come. "


class UnknownScenarioError(ValueError):
    """The text names no scenario, or a setting that it does not have."""


@dataclass(frozen=True)
class Settings:
    """What may follow a name, as in `429:hint=1.5`."""

    hint: float | None = None
    """Seconds that a 429, 503 or 529 asks to wait."""
    gap: float | None = None
    """Seconds between the chunks or heartbeats of a stream."""
    delay: float = 0
    """Seconds before the answer begins."""


type Make = Callable[[Asked, Settings], Reply]


def simple(ask: Asked) -> Reply:
    """A healthy answer, of the kind that was asked for."""
    if ask.dialect == "anthropic":
        answer = anthropic.anthropic_stream if ask.stream else anthropic.anthropic_json
        return answer(LONG, model=ask.model)
    if ask.stream:
        return gemini.gemini_stream(LONG, model=ask.model, pieces=8, sse=ask.sse)
    return gemini.gemini_json(LONG, model=ask.model)


def error(status: int, kind: str, message: str) -> Make:
    """An error in the dialect of the call; `kind` is Anthropic's name of it."""

    def make(ask: Asked, settings: Settings) -> Reply:
        hint = settings.hint
        if ask.dialect == "anthropic":
            return anthropic_error(status, kind, message, headers={} if hint is None else {"retry-after": f"{hint:g}"})
        # Google has no 529: its overload is a 503.
        code = 503 if status == 529 else status
        return gemini_error(code, None, message, details=[] if hint is None else [gemini.retry_info(f"{hint:g}s")])

    return make


def empty(ask: Asked, settings: Settings) -> Reply:
    if ask.dialect == "anthropic":
        if ask.stream:
            return anthropic.anthropic_empty(model=ask.model)
        return anthropic.anthropic_json("", model=ask.model, output_tokens=0)
    if ask.stream and ask.sse:
        return gemini.gemini_empty(model=ask.model)
    if ask.stream:
        return gemini.gemini_stream("", model=ask.model, sse=False)
    return gemini.gemini_json("", model=ask.model, output_tokens=0)


def heartbeat(ask: Asked, settings: Settings) -> Reply:
    every = 1.0 if settings.gap is None else settings.gap
    if ask.dialect == "anthropic":
        return anthropic.anthropic_heartbeats(every=every, model=ask.model)
    return gemini.gemini_heartbeats(every=every)


def half(reply: Reply) -> Reply:
    """The first half of the chunks or of the body."""
    if reply.body is not None:
        return Reply(reply.status, reply.headers, reply.body[: len(reply.body) // 2])
    return Reply(reply.status, reply.headers, chunks=reply.chunks[: len(reply.chunks) // 2])


def early_error(ask: Asked, settings: Settings) -> Reply:
    if ask.dialect == "anthropic":
        start = anthropic.anthropic_start(model=ask.model)
        return anthropic.anthropic_reply([start, anthropic.anthropic_error_event()])
    return gemini.gemini_reply([gemini.gemini_error_event()])


def late_error(ask: Asked, settings: Settings) -> Reply:
    last = anthropic.anthropic_error_event() if ask.dialect == "anthropic" else gemini.gemini_error_tail()
    begun = half(simple(ask))
    return begun.inserted(len(begun.chunks), last) if begun.body is None else begun


def signature(ask: Asked, settings: Settings) -> Reply:
    if ask.dialect == "anthropic":
        message = "messages.1.content.0: Invalid `signature` in `thinking` block"
        return anthropic_error(400, "invalid_request_error", message)
    return gemini_error(400, None, "Corrupted thought signature.")


def quota(ask: Asked, settings: Settings) -> Reply:
    if ask.dialect == "anthropic":
        rejected = {
            "anthropic-ratelimit-unified-status": "rejected",
            "anthropic-ratelimit-unified-representative-claim": "five_hour",
            "retry-after": "18000",
        }
        return anthropic_error(429, "rate_limit_error", "This request would exceed your rate limit.", headers=rejected)
    details = [gemini.quota_failure("GenerateRequestsPerDayPerProjectPerModel-FreeTier"), gemini.retry_info("45.8s")]
    return gemini_error(429, None, "You exceeded your current quota. Please retry in 45.8s.", details=details)


def auth(ask: Asked, settings: Settings) -> Reply:
    if ask.dialect == "anthropic":
        return anthropic_error(401, "authentication_error", "invalid x-api-key")
    message = "API key not valid. Please pass a valid API key."
    return gemini_error(400, None, message, details=[gemini.error_info("API_KEY_INVALID")])


SCENARIOS: dict[str, tuple[str, Make]] = {
    "ok": ("a healthy answer", lambda ask, settings: simple(ask)),
    "slow": ("a healthy answer, a chunk every GAP seconds (1)", lambda ask, s: simple(ask).but(gap=s.gap or 1.0)),
    "empty": ("the 0-token answer", empty),
    "heartbeat": ("heartbeats every GAP seconds (1) for ever, no content", heartbeat),
    "cut": ("half an answer, then FIN", lambda ask, settings: half(simple(ask)).but(end="cut")),
    "cut-reset": ("half an answer, then RST", lambda ask, settings: half(simple(ask)).but(end="reset")),
    "cut-stall": ("half an answer, then silence", lambda ask, settings: half(simple(ask)).but(end="stall")),
    "close": ("FIN without an answer", lambda ask, settings: simple(ask).but(before="close")),
    "reset": ("RST without an answer", lambda ask, settings: simple(ask).but(before="reset")),
    "stall": ("silence without an answer", lambda ask, settings: simple(ask).but(before="stall")),
    "error-event": ("a 200 whose stream begins with an error", early_error),
    "late-error": ("a 200 whose stream breaks off with an error", late_error),
    "signature": ("400, the signature of a thinking block does not verify", signature),
    "quota": ("429, the quota of hours or days is used up", quota),
    "400": ("400, the caller's mistake", error(400, "invalid_request_error", "max_tokens: must be at least 1")),
    "401": ("401 (Gemini: 400 API_KEY_INVALID)", auth),
    "402": ("402", error(402, "billing_error", "Your credit balance is too low.")),
    "403": ("403", error(403, "permission_error", "Permission denied.")),
    "404": ("404, no such model", error(404, "not_found_error", "model: not found")),
    "429": ("429, with HINT seconds to wait", error(429, "rate_limit_error", "Resource has been exhausted.")),
    "500": ("500", error(500, "api_error", "An internal error has occurred.")),
    "503": ("503, with HINT seconds to wait", error(503, "overloaded_error", "The model is overloaded.")),
    "504": ("504", error(504, "timeout_error", "Deadline expired before operation could complete.")),
    "529": ("529 (Gemini: 503), with HINT seconds to wait", error(529, "overloaded_error", "Overloaded")),
}


def known() -> str:
    """All scenarios, a line each."""
    width = max(map(len, SCENARIOS))
    return "\n".join(f"  {name:{width}}  {text}" for name, (text, _) in SCENARIOS.items())


def scenario(text: str) -> Callable[[Call], Reply]:
    """NAME or NAME:SETTING=SECONDS,… → what makes the reply for a call. UnknownScenarioError tells what is known."""
    name, _, given = text.partition(":")
    if name not in SCENARIOS:
        raise UnknownScenarioError(f"there is no scenario {name!r}; known are\n{known()}")
    settings = parse_settings(text, given)
    _, make = SCENARIOS[name]

    def play(call: Call) -> Reply:
        ask = asked(call)
        if ask.action != "generate":
            return healthy(call)
        return make(ask, settings).but(name=text, delay=settings.delay)

    return play


def parse_settings(text: str, given: str) -> Settings:
    values: dict[str, float] = {}
    for part in filter(None, given.split(",")):
        key, _, value = part.partition("=")
        try:
            if key not in Settings.__dataclass_fields__ or float(value) < 0:
                raise ValueError
        except ValueError:
            names = ", ".join(f"{name}=SECONDS" for name in Settings.__dataclass_fields__)
            raise UnknownScenarioError(f"{text!r}: {part!r} is no setting; known are {names}") from None
        values[key] = float(value)
    return Settings(**values)
