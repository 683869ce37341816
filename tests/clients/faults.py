"""The faults, and the forms in which a late failure may be told, as what an upstream plays for a client's work."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.upstream import (
    Reply,
    anthropic_empty,
    anthropic_error,
    anthropic_error_event,
    anthropic_events,
    anthropic_json,
    anthropic_reply,
    anthropic_start,
    gemini_chunk,
    gemini_empty,
    gemini_error,
    gemini_error_body,
    gemini_error_event,
    gemini_event,
    gemini_events,
    gemini_json,
    gemini_reply,
    healthy,
)
from tests.upstream.anthropic import compact
from tests.upstream.calls import Call
from tests.upstream.healthy import Asked, asked, body_of

TEXT = "One day the small grey fox went down to the river and counted ripples until evening omega."
"""What is said; it is whole with its last word."""
CALLING = "I write the file."
FILE = "notes.txt"
CONTENT = "alpha bravo charlie delta echo foxtrot golf hotel india juliet\n"
"""What the tool is to write."""
GAP = 0.02
"""Seconds between the events of a stream."""
PAUSE = 0.15
"""Seconds before and after an error that is written by itself."""
SETTLED = 1.5
"""Seconds after which also a busy client has read what came."""
_CASE = re.compile(r"\[case:([^\[\]]+)\]")
_WRITERS = ("Write", "write_file", "write", "write_to_file", "editor", "write_file_call")


@dataclass(frozen=True)
class Answer:
    """A healthy answer and how far a fault lets it come.

    whole: all of it. begun: what comes before the first content. half: that and about half of the content.
    """

    ask: Asked
    whole: Reply
    begun: Reply
    half: Reply

    @property
    def anthropic(self) -> bool:
        """Whether it is in Anthropic's dialect."""
        return self.ask.dialect == "anthropic"


type Fault = Callable[[Answer], Reply]


def error_of(answer: Answer, kind: str = "overloaded_error") -> bytes:
    """An error in the middle of a stream, as the dialect's SDKs raise it."""
    if answer.anthropic:
        return anthropic_error_event(kind, "Overloaded" if kind == "overloaded_error" else "Upstream broke off.")
    return compact(gemini_error_body(503, None, "Upstream broke off.")).encode() + b"\r\n\r\n"


def overloaded(answer: Answer) -> Reply:
    """The API's own overload, by its status."""
    if answer.anthropic:
        return anthropic_error(529, "overloaded_error", "Overloaded")
    return gemini_error(503, None, "The model is overloaded.")


def empty(answer: Answer) -> Reply:
    """The 0-token answer."""
    if answer.anthropic:
        return anthropic_empty() if answer.ask.stream else anthropic_json("", output_tokens=0)
    return gemini_empty() if answer.ask.stream else gemini_json("", output_tokens=0)


def upstreams_error(answer: Answer) -> Reply:
    """Half an answer, then the error that the API itself sends; where nothing streams, the status."""
    if not answer.ask.stream:
        return overloaded(answer)
    event = error_of(answer) if answer.anthropic else gemini_error_event()
    return then(answer.half, event)


def early_error(answer: Answer) -> Reply:
    """A 200 whose stream begins with the API's own error; where nothing streams, the status."""
    if not answer.ask.stream:
        return overloaded(answer)
    return then(answer.begun, error_of(answer) if answer.anthropic else gemini_error_event())


def then(reply: Reply, *more: bytes) -> Reply:
    """The reply, and these pieces after it."""
    return reply.but(end="normal").inserted(len(reply.chunks), *more)


LATE: dict[str, Fault] = {
    "cut": lambda answer: answer.half.but(end="cut"),
    "cut in a pause": lambda answer: answer.half.but(end="cut", end_gap=SETTLED),
    "cut at once": lambda answer: _at_once(answer.half).but(end="cut"),
    "reset": lambda answer: answer.half.but(end="reset", end_gap=PAUSE),
    "quiet end": lambda answer: answer.half.but(end="normal"),
    "quiet end in a pause": lambda answer: answer.half.but(end="normal", end_gap=SETTLED),
    "stall": lambda answer: answer.half.but(end="stall"),
    "own error": upstreams_error,
}
EARLY: dict[str, Fault] = {
    "empty": empty,
    "early cut": lambda answer: answer.begun.but(end="cut"),
    "early error": early_error,
    "overloaded": overloaded,
    "closed": lambda answer: answer.whole.but(before="close"),
}
IN_A_CALL = " in a call"
"""The end of the names of the faults that come while a tool is called."""
FAULTS: dict[str, Fault] = {
    "healthy": lambda answer: answer.whole,
    **LATE,
    **{name + IN_A_CALL: LATE[name] for name in ("cut", "quiet end", "stall", "own error")},
    **EARLY,
}


def _told(form: Callable[[Reply, bytes], Reply], kind: str = "api_error") -> Fault:
    return lambda answer: form(_at_once(answer.half), error_of(answer, kind))


def _at_once(reply: Reply) -> Reply:
    """In one write."""
    return reply.but(gap=PAUSE).first(0, reply.end).inserted(0, b"".join(reply.chunks))


def _joined(reply: Reply, error: bytes) -> Reply:
    return reply.first(0, "normal").inserted(0, b"".join(reply.chunks) + error)


def _as_event(answer: Answer) -> Reply:
    return then(_at_once(answer.half), gemini_error_event())


FORMS: dict[str, Fault] = {
    "broken": lambda answer: _at_once(answer.half).but(end="cut", end_gap=PAUSE),
    "broken at once": lambda answer: _at_once(answer.half).but(end="cut"),
    "reset": lambda answer: _at_once(answer.half).but(end="reset", end_gap=PAUSE),
    "error, pause, broken": _told(lambda reply, error: then(reply, error).but(end="cut", end_gap=PAUSE)),
    "error in the same write, pause, broken": _told(
        lambda reply, error: _joined(reply, error).but(end="cut", end_gap=PAUSE)
    ),
    "error, pause, reset": _told(lambda reply, error: then(reply, error).but(end="reset", end_gap=PAUSE)),
    "error in the same write, pause, reset": _told(
        lambda reply, error: _joined(reply, error).but(end="reset", end_gap=PAUSE)
    ),
    "error, reset": _told(lambda reply, error: then(reply, error).but(end="reset")),
    "error, broken": _told(lambda reply, error: then(reply, error).but(end="cut")),
    "error, end": _told(then),
    "error in the same write, end": _told(_joined),
}
"""How a late failure may be told, whatever it was. Without "in the same write" the error is a write of its own."""
ANTHROPIC_FORMS: dict[str, Fault] = {
    "overloaded, end": _told(then, "overloaded_error"),
    "overloaded, pause, broken": _told(
        lambda reply, error: then(reply, error).but(end="cut", end_gap=PAUSE), "overloaded_error"
    ),
}
GEMINI_FORMS: dict[str, Fault] = {
    "error as an event, end": _as_event,
    "error as an event, pause, broken": lambda answer: _as_event(answer).but(end="cut", end_gap=PAUSE),
}


def forms_of(dialect: str) -> dict[str, Fault]:
    """The forms that may be tried toward a client of this dialect; those in a call, too."""
    forms = {**FORMS, **(ANTHROPIC_FORMS if dialect == "anthropic" else GEMINI_FORMS)}
    return {**forms, **{name + IN_A_CALL: form for name, form in forms.items()}}


@dataclass
class Case:
    """One piece of work. agent: whether only calls with tools are the work. calls: how many came for it.

    tool: whether a file is to be written by a tool, instead of something said. alone: without a word beside the call.
    """

    fault: Fault
    tool: bool = False
    alone: bool = False
    agent: bool = False
    calls: int = 0


@dataclass
class Faulty:
    """What is played for each call; to be used as an upstream's default.

    A prompt names its case, `[case:NAME]`. The first call of a case meets its fault, the others are served.
    """

    cases: dict[str, Case] = field(default_factory=dict)

    def __call__(self, call: Call) -> Reply:
        """The reply to a call."""
        ask = asked(call)
        found = _CASE.findall(call.body.decode("utf-8", "replace"))
        case = self.cases.get(found[-1]) if found and ask.action == "generate" else None
        body = body_of(call)
        tools = _tools(body)
        if case is None or (case.agent and not tools):
            return healthy(call)
        returned = b'"tool_result"' in call.body or b'"functionResponse"' in call.body
        tool = _writing(tools) if case.tool and not returned else None
        answer = _answer(ask, tool, CALLING if tool and not case.alone else "" if tool else TEXT)
        if returned:
            return answer.whole
        case.calls += 1
        return case.fault(answer) if case.calls == 1 else answer.whole


def _answer(ask: Asked, tool: tuple[str, dict[str, Any]] | None, text: str) -> Answer:
    if not ask.stream:
        make = anthropic_json if ask.dialect == "anthropic" else gemini_json
        body = make(text, tool=tool, model=ask.model)
        half = Reply(headers=body.headers, chunks=(body.whole[: len(body.whole) * 2 // 3],))
        return Answer(ask, body, Reply(headers=body.headers, chunks=(body.whole[:1],)), half)
    if ask.dialect == "anthropic":
        events = anthropic_events(text, tool=tool, model=ask.model, pieces=6)
        # Three deltas of the last block are missing, and what ends it and the message.
        cut = [*events[:-6]]
        return Answer(
            ask,
            anthropic_reply(events, gap=GAP),
            anthropic_reply([anthropic_start(model=ask.model)]),
            anthropic_reply(cut, gap=GAP),
        )
    events = gemini_events(text, tool=tool, model=ask.model, pieces=6)
    # A call comes whole or not at all.
    cut = events[:-1] if tool else events[:-3]
    return Answer(
        ask, gemini_reply(events, gap=GAP), gemini_reply([gemini_event(gemini_chunk([]))]), gemini_reply(cut, gap=GAP)
    )


def _tools(body: dict[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The schemas of the declared tools by their names."""
    declared = [each for each in body.get("tools") or [] if "name" in each]
    for tool in body.get("tools") or []:
        declared += tool.get("functionDeclarations") or tool.get("function_declarations") or []
    schemas = ("input_schema", "parametersJsonSchema", "parameters_json_schema", "parameters")
    return {each["name"]: next((each[name] for name in schemas if each.get(name)), {}) for each in declared}


def _writing(tools: Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """A call that writes the file, with what the client's own tool insists on."""
    name = next((name for name in _WRITERS if name in tools), None)
    if name is None:
        raise LookupError(f"none of these tools writes a file: {', '.join(tools)}")
    given: dict[str, Any] = {}
    for wanted in tools[name].get("required") or ["path", "content"]:
        given[wanted] = FILE if "path" in wanted.lower() else "create" if wanted == "command" else CONTENT
    return name, given
