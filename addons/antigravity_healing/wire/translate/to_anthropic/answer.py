"""Gemini's answers as Anthropic's: chunks in, events out, each as soon as it comes."""

from typing import Any

from antigravity_healing.wire.gemini.collector import joined_parts
from antigravity_healing.wire.gemini.history import call_flaw, call_of, signature_of
from antigravity_healing.wire.gemini.reader import BROKEN_STOPS
from antigravity_healing.wire.gemini.usage import GeminiUsage
from antigravity_healing.wire.json.value import digest, dump_text, objects_at
from antigravity_healing.wire.translate.common import Block, Body, Part, ToolNames, tool_use_id
from antigravity_healing.wire.translate.to_anthropic.endings import (
    Grounding,
    server_tool_id,
    stop_of,
    usage_told,
    why_stopped,
)
from antigravity_healing.wire.usage import Usage

_DELTAS = {"text": ("text_delta", "text"), "thinking": ("thinking_delta", "thinking")}
# Members of a part that say nothing by themselves.
_FRAME = frozenset(("text", "thought", "thoughtSignature", "thought_signature", "partMetadata", "videoMetadata"))
LONGEST_DATA = 4096
"""Characters of the longest image or file of a turn that is kept with it."""
_OUTCOMES = {"OUTCOME_OK": 0, "OUTCOME_FAILED": 1}


class AnthropicAnswer:
    """One message, made of one Gemini answer, or of several where Gemini has to be asked to go on."""

    def __init__(self, *, names: ToolNames, model: str, seed: str, web_search: bool = False) -> None:
        """
        names: of the request's tools. model: what upstream was asked for. seed: what makes this answer's ids unique.
        web_search: whether the client asked for it, so that it is told what the answer is grounded in.
        """
        self._parts = 0
        self._names = names
        self._model = model
        self._seed = seed
        self._web_search = web_search
        self._before = Usage()
        self._usage = GeminiUsage()
        self._grounding = Grounding()
        self._started = False
        self._ended = False
        self._blocks = 0
        self._open = ""
        self._called = False
        self._flaw = ""
        self._finish = ""
        self._why = ""
        self._token = ""
        self._code_ids: dict[str, str] = {}

    @property
    def continuation(self) -> str:
        """The token with which upstream has to be asked to go on, "" where its answer is complete."""
        return self._token if self._finish == "CONTINUATION" else ""

    @property
    def _cost(self) -> Usage:
        """Of all the answers that this one is made of."""
        return self._before + (self._usage.usage or Usage())

    @property
    def broken(self) -> str:
        """Why what came can't be told as a good answer, "" if it can."""
        if self._flaw:
            return f"Gemini {self._flaw}"
        if self._finish not in BROKEN_STOPS:
            return ""
        return f"Gemini stopped with {self._finish}" + (f": {self._why}" if self._why else "")

    def go_on(self) -> None:
        """What follows is the answer to the request with the continuation token."""
        self._before, self._usage = self._cost, GeminiUsage()
        self._finish = self._why = self._token = ""

    def take(self, event: Body) -> list[Body]:
        """The events that a GenerateContentResponse makes. Of several candidates only the first is told."""
        self._usage.take(event)
        events = [] if self._started else [self._start(event)]
        feedback = event.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._finish, self._why = str(feedback["blockReason"]), why_stopped(feedback)
        for candidate in objects_at(event, "candidates"):
            if candidate.get("index", 0) == 0:
                self._take_candidate(candidate, events)
        return events

    def end(self) -> list[Body]:
        """The last events: the block's end, what the answer is grounded in, the stop reason with the usage."""
        if self._ended or not self._started:
            return []
        self._ended = True
        events: list[Body] = []
        usage = usage_told(self._cost)
        if self._web_search:
            self._tell_grounding(events, usage)
        self._close(events)
        stop = stop_of(self._finish, self._why, called=self._called)
        delta = {"stop_reason": stop.reason, "stop_sequence": None, "stop_details": stop.details}
        events.append({"type": "message_delta", "delta": delta, "usage": usage})
        events.append({"type": "message_stop"})
        return events

    def _start(self, chunk: Body) -> Body:
        self._started = True
        version = chunk.get("modelVersion")
        message: Body = {
            "id": f"msg_{digest(self._seed)[:24]}",
            "type": "message",
            "role": "assistant",
            "model": version if isinstance(version, str) and version else self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": usage_told(self._cost),
        }
        return {"type": "message_start", "message": message}

    def _take_candidate(self, candidate: Body, events: list[Body]) -> None:
        content = candidate.get("content")
        for part in objects_at(content, "parts"):
            self._take_part(part, events)
            self._parts += 1
        self._grounding.take(candidate.get("groundingMetadata"))
        if isinstance(token := candidate.get("continuationToken"), str):
            self._token = token
        if reason := candidate.get("finishReason"):
            self._finish, self._why = str(reason), why_stopped(candidate)

    def _take_part(self, part: Body, events: list[Body]) -> None:
        text = part.get("text")
        if (call := call_of(part)) is not None:
            self._take_call(call, events)
        elif isinstance(text, str) and part.get("thought"):
            self._take_thought(text, signature_of(part), events)
        elif isinstance(text, str):
            if text:
                self._say("text", text, events)
        elif part.keys() - _FRAME:
            self._take_other(part, events)

    def _take_thought(self, text: str, signature: str, events: list[Body]) -> None:
        # A block of thinking without thinking in it is refused when it comes back.
        if not text and self._open != "thinking":
            return
        self._say("thinking", text, events)
        if signature:
            self._delta({"type": "signature_delta", "signature": signature}, events)
            # What comes next is no part of what was signed.
            self._close(events)

    def _take_call(self, call: Body, events: list[Body]) -> None:
        if flaw := call_flaw(call):
            self._flaw = flaw
            return
        own, args = call.get("id"), call.get("args")
        shown = tool_use_id(self._unique, own if isinstance(own, str) else "")
        name = self._names.back(str(call["name"]))
        self._begin({"type": "tool_use", "id": shown, "name": name, "input": {}}, events)
        if args:
            self._delta({"type": "input_json_delta", "partial_json": dump_text(args)}, events)
        self._close(events)
        self._called = True

    def _take_other(self, part: Body, events: list[Body]) -> None:
        """A part that has no counterpart of the same form: in blocks of server tools, else in words."""
        code, result = part.get("executableCode"), part.get("codeExecutionResult")
        if isinstance(code, dict):
            code_id = server_tool_id(self._unique)
            # A result without an id is the last code's.
            self._code_ids |= {"": code_id, str(code.get("id") or ""): code_id}
            block = {"type": "server_tool_use", "id": code_id, "name": "code_execution"}
            self._whole({**block, "input": {"code": str(code.get("code") or "")}}, events)
        elif isinstance(result, dict) and (of := self._code_ids.get(str(result.get("id") or ""))):
            self._whole(_code_result(result, of), events)
        else:
            self._close(events)
            self._say("text", in_words(part), events)
            self._close(events)

    @property
    def _unique(self) -> str:
        """What makes an id of this part unique."""
        return f"{self._seed}:{self._parts}"

    # Blocks.

    def _say(self, kind: str, text: str, events: list[Body]) -> None:
        delta, field = _DELTAS[kind]
        if self._open != kind:
            begun = {"type": kind, field: ""} | ({"signature": ""} if kind == "thinking" else {})
            self._begin(begun, events)
        if text:
            if self._web_search and kind == "text":
                self._grounding.say(text)
            self._delta({"type": delta, field: text}, events)

    def _whole(self, block: Block, events: list[Body]) -> None:
        given = block.get("input")
        self._begin({**block, "input": {}} if given else block, events)
        if given:
            self._delta({"type": "input_json_delta", "partial_json": dump_text(given)}, events)
        self._close(events)

    def _begin(self, block: Block, events: list[Body]) -> None:
        self._close(events)
        self._open = str(block["type"])
        events.append({"type": "content_block_start", "index": self._blocks, "content_block": block})

    def _delta(self, delta: Block, events: list[Body]) -> None:
        events.append({"type": "content_block_delta", "index": self._blocks, "delta": delta})

    def _close(self, events: list[Body], *, last: bool = False) -> None:
        if self._open:
            if self._web_search and self._open == "text":
                for citation in self._grounding.citations(last=last):
                    self._delta({"type": "citations_delta", "citation": citation}, events)
            events.append({"type": "content_block_stop", "index": self._blocks})
            self._open = ""
            self._blocks += 1

    def _tell_grounding(self, events: list[Body], usage: Body) -> None:
        self._close(events, last=True)
        for block in self._grounding.blocks(self._seed):
            self._whole(block, events)
        if self._grounding.queries:
            usage["server_tool_use"] = {"web_search_requests": len(self._grounding.queries), "web_fetch_requests": 0}


def _code_result(result: Body, code_id: str) -> Block:
    output, outcome = str(result.get("output") or ""), str(result.get("outcome") or "OUTCOME_OK")
    content: Block
    if outcome in _OUTCOMES:
        failed = _OUTCOMES[outcome]
        content = {
            "type": "code_execution_result",
            "stdout": "" if failed else output,
            "stderr": output if failed else "",
            "return_code": failed,
            "content": [],
        }
    else:
        content = {"type": "code_execution_tool_result_error", "error_code": "execution_time_exceeded"}
    return {"type": "code_execution_tool_result", "tool_use_id": code_id, "content": content}


def in_words(part: Body) -> str:
    """What a part is, for someone who can't be given it."""
    data = part.get("inlineData")
    if isinstance(data, dict):
        size = len(str(data.get("data") or "").rstrip("=")) * 3 // 4
        return f"[The model gave {data.get('mimeType') or 'data'} of {size} bytes, which can't be shown here.]"
    rest: dict[str, Any] = {name: value for name, value in part.items() if name not in _FRAME}
    return f"[{', '.join(rest)}: {dump_text(rest)}]"


def as_given_back(parts: list[Part]) -> list[Part]:
    """A turn of Gemini's as it can be given back for a client that was shown it as blocks.

    Of thoughts and of empty texts, which are refused, only what is signed; long data, which the client was not shown,
    as what it was told in words.
    """
    given: list[Part] = []
    for part in joined_parts(parts):
        if not signature_of(part) and (part.get("thought") or part == {"text": ""}):
            continue
        given.append({"text": in_words(part)} if _holds_much(part) else part)
    return given


def _holds_much(part: Part) -> bool:
    data = part.get("inlineData")
    return isinstance(data, dict) and len(str(data.get("data") or "")) > LONGEST_DATA
