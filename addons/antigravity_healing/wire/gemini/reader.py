"""What an event of a streamGenerateContent stream says, and a whole GenerateContentResponse, which is like one."""

from typing import Any

from antigravity_healing.wire.errors.parsing import find_error
from antigravity_healing.wire.gemini.collector import GeminiParts
from antigravity_healing.wire.gemini.history import call_flaw, call_of
from antigravity_healing.wire.http.sse import SSEEvent
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import parse
from antigravity_healing.wire.reading import LONGEST_INDEX, Kind, Reading

PLAIN_STOPS = ("STOP", "FINISH_REASON_UNSPECIFIED", "")
"""Finish reasons of a turn that is complete, and none at all."""
UNSIGNED_STOP = "MISSING_THOUGHT_SIGNATURE"
BROKEN_STOPS = ("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", UNSIGNED_STOP)
"""Finish reasons of a turn that is no good as it is."""
# A part with nothing but these is empty when its text is: a signature does not make content.
_PART_FRAME = {"text", "thought", "thoughtSignature", "thought_signature", "partMetadata"}
# What upstream runs itself, and where the result of that is.
_RESULT_OF = {"executableCode": "codeExecutionResult", "toolCall": "toolResponse"}
# Of one answer: the API gives eight at most.
_MOST_CANDIDATES = 100

_HEARTBEAT = Reading(Kind.HEARTBEAT)
_META = Reading(Kind.META)
_MALFORMED = Reading(Kind.MALFORMED)


class GeminiReader:
    """Understands the events of one streamGenerateContent stream."""

    def __init__(self, *, in_pieces: bool = False) -> None:
        """in_pieces: whether the request asks for the arguments of calls in pieces."""
        self._in_pieces = in_pieces
        self._finished: dict[str, bool] = {}
        self._blocked = False
        self.body: dict[str, Any] = {}
        self._signed = GeminiParts()
        self._owed = dict.fromkeys(_RESULT_OF, 0)
        self._stop = ""
        self._said = False
        self._stopped_id: Any = None

    @property
    def content(self) -> list[dict[str, Any]]:
        """The first candidate's parts."""
        return self._signed.content

    @property
    def stopped(self) -> bool:
        """Whether each candidate that began has its finishReason, or the prompt was blocked."""
        return self._blocked or (bool(self._finished) and all(self._finished.values()))

    @property
    def owed(self) -> str:
        """The result of code or of a tool that upstream runs itself: with code, STOP comes in the middle."""
        owed = next((_RESULT_OF[call] for call, count in self._owed.items() if count > 0), "")
        return owed if self._stop in PLAIN_STOPS else ""

    @property
    def open(self) -> bool:
        """Never: a part is whole in its event."""
        return False

    @property
    def ended(self) -> bool:
        """The same as `stopped`: this protocol has no end marker."""
        return self.stopped

    @property
    def closed(self) -> bool:
        """Never: usage may come after the last finishReason."""
        return False

    def read(self, event: SSEEvent) -> Reading:
        """Understand the next event."""
        self.body = {}
        if event.stray and (error := _error_in(event.stray)):
            return Reading(Kind.ERROR, error=error)
        if event.data is None:
            return _MALFORMED if event.stray else _HEARTBEAT
        if event.data.strip() in (b"", b"[DONE]"):
            return _HEARTBEAT
        try:
            return self.read_chunk(exact.parse(event.data))
        except ValueError:
            return _MALFORMED

    def read_chunk(self, body: Any) -> Reading:
        """Understand one GenerateContentResponse."""
        if isinstance(body, list) and len(body) == 1:
            body = body[0]
        if error := find_error(body):
            return Reading(Kind.ERROR, error=error)
        if not isinstance(body, dict):
            return _MALFORMED
        self.body = body
        feedback = body.get("promptFeedback")
        if isinstance(feedback, dict) and feedback.get("blockReason"):
            self._blocked = True
            return Reading(Kind.TERMINAL, stop=str(feedback["blockReason"]))
        was_stopped = self.stopped
        content = visible = False
        stop = ""
        candidates = body.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            said = self._read_candidate(candidate)
            if said.kind is Kind.MALFORMED:
                return said
            content = content or said.kind is Kind.CONTENT
            visible = visible or said.visible
            stop = said.stop or stop
        if content and was_stopped and self._is_another(body):
            return Reading(Kind.MALFORMED, flaw="a second answer after the end of the first")
        self._said = self._said or content
        if stop and self._said:
            self._stopped_id = body.get("responseId")
        return _reading(content, visible, stop)

    def _read_candidate(self, candidate: Any) -> Reading:
        if not isinstance(candidate, dict):
            return _MALFORMED
        index = candidate.get("index", 0)
        index = str(index)[:LONGEST_INDEX] if isinstance(index, int | str) else ""
        self._finished.setdefault(index, False)
        if len(self._finished) > _MOST_CANDIDATES:
            return _MALFORMED
        parts = _parts(candidate)
        calls = (call for part in parts if (call := call_of(part)) is not None)
        if flaw := next(filter(None, (call_flaw(call, in_pieces=self._in_pieces) for call in calls)), ""):
            return Reading(Kind.MALFORMED, flaw=f"the model {flaw}")
        if index == "0":
            self._signed.take(parts)
        content = visible = False
        for part in parts:
            if not _is_empty(part):
                content = True
                visible = visible or not part.get("thought")
                self._finished[index] = False
                self._count(part)
        stop = ""
        if reason := candidate.get("finishReason"):
            stop = self._stop = str(reason)
            self._finished[index] = True
        return _reading(content, visible, stop)

    def _is_another(self, body: dict[str, Any]) -> bool:
        """Whether content that comes after a stop belongs to another answer than the one that has stopped."""
        own = body.get("responseId")
        return self._stopped_id is not None and own is not None and own != self._stopped_id

    def _count(self, part: dict[str, Any]) -> None:
        """Count what upstream runs itself, and the results of that."""
        for call, result in _RESULT_OF.items():
            self._owed[call] += (call in part) - (result in part)


def _reading(content: bool, visible: bool, stop: str) -> Reading:
    if content:
        return Reading(Kind.CONTENT, visible, stop)
    return Reading(Kind.TERMINAL, stop=stop) if stop else _META


def _error_in(stray: bytes) -> dict[str, Any] | None:
    """The error that upstream appended as plain JSON, None if these lines are none."""
    try:
        return find_error(parse(stray))
    except ValueError:
        return None


def _parts(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    return [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []


def _is_empty(part: dict[str, Any]) -> bool:
    return not part.get("text") and part.keys() <= _PART_FRAME
