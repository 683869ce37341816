"""What Gemini requests and answers say, for people."""

from collections.abc import Callable, Mapping
from typing import Any

from antigravity_healing.wire.conversation import Answer, Asked, Part, Turn, data_part, names_of, parts_of, texts
from antigravity_healing.wire.errors.parsing import find_error
from antigravity_healing.wire.gemini.collector import joined_parts
from antigravity_healing.wire.gemini.spelling import in_camel_case

# Of one candidate: more than a page has room for.
_MOST_PIECES = 10_000
_NOT_SETTINGS = frozenset(("contents", "systemInstruction", "tools", "generationConfig", "model"))


class GeminiConversation:
    """How the Gemini API says what is talked about."""

    turns_in = "contents"

    def turn(self, item: Any) -> Turn:
        """A content; one without a role is the user's."""
        if not isinstance(item, dict):
            return Turn("user", _parts_of(item))
        return Turn(texts(item.get("role")) or "user", _parts_of(item.get("parts")))

    def asked(self, body: Mapping[str, Any]) -> Asked:
        """The system instruction, the tools, the members of `generationConfig` and all others."""
        fields = in_camel_case(dict(body))
        system, config = fields.get("systemInstruction"), fields.get("generationConfig")
        settings = {name: value for name, value in fields.items() if name not in _NOT_SETTINGS}
        settings = {**(config if isinstance(config, dict) else {}), **settings}
        parts = _parts_of(system.get("parts")) if isinstance(system, dict) else _parts_of(system)
        return Asked(parts, _tools_of(fields.get("tools")), settings)

    def answer_reader(self) -> "GeminiAnswerReader":
        """A reader for a new answer."""
        return GeminiAnswerReader()


class GeminiAnswerReader:
    """Puts together what the chunks of a stream say."""

    def __init__(self) -> None:
        self._parts: dict[int, list[dict[str, Any]]] = {}
        self._roles: dict[int, str] = {}
        self._stops: dict[int, str] = {}
        self._blocked = self._model = ""
        self._usage: dict[str, Any] = {}
        self._error: Any = None

    @property
    def answer(self) -> Answer:
        """The answer as far as it has come."""
        turns = [
            Turn(self._roles.get(index, "model"), _parts_of(joined_parts(parts)))
            for index, parts in sorted(self._parts.items())
            if parts
        ]
        stop = self._blocked or ", ".join(dict.fromkeys(stop for _, stop in sorted(self._stops.items())))
        return Answer(turns, stop, self._model, self._usage, self._error)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take the next chunk."""
        if (error := find_error(event)) is not None:
            self._error = error
        self._model = texts(event.get("modelVersion")) or self._model
        if isinstance(usage := event.get("usageMetadata"), dict):
            self._usage |= usage
        if isinstance(feedback := event.get("promptFeedback"), dict) and feedback.get("blockReason"):
            self._blocked = f"the prompt was blocked: {feedback['blockReason']}"
        candidates = event.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, dict):
                self._take_candidate(candidate)

    def _take_candidate(self, candidate: dict[str, Any]) -> None:
        index = candidate.get("index", 0)
        index = index if isinstance(index, int) else 0
        content = candidate.get("content")
        if isinstance(content, dict):
            parts = content.get("parts")
            known = self._parts.setdefault(index, [])
            if isinstance(parts, list) and len(known) < _MOST_PIECES:
                known += [part for part in parts[:_MOST_PIECES] if isinstance(part, dict)]
            if role := texts(content.get("role")):
                self._roles[index] = role
        if stop := texts(candidate.get("finishReason")):
            self._stops[index] = stop


def _tools_of(tools: Any) -> list[str]:
    found: list[str] = []
    for tool in tools if isinstance(tools, list) else ():
        for name, value in tool.items() if isinstance(tool, dict) else ():
            found += names_of(value, "name") if name == "functionDeclarations" else [name]
    return found


def _parts_of(parts: Any) -> list[Part]:
    return parts_of(parts, _part_of)


def _part_of(part: Any) -> Part:
    if isinstance(part, str):
        return Part("text", part)
    if not isinstance(part, dict):
        return Part("other", value=part)
    part = in_camel_case(part)
    for name, read in _READERS.items():
        if isinstance(fields := part.get(name), dict):
            return read(fields)
    if isinstance(text := part.get("text"), str):
        signed = len(texts(part.get("thoughtSignature")))
        return Part("thinking", text, size=signed) if part.get("thought") is True else Part("text", text)
    return Part("other", name=next(iter(part), ""), value=part)


def _call(fields: dict[str, Any]) -> Part:
    return Part("call", name=texts(fields.get("name")), id=texts(fields.get("id")), value=fields.get("args"))


def _result(fields: dict[str, Any]) -> Part:
    response = fields.get("response")
    failed = isinstance(response, dict) and "error" in response
    name, call = texts(fields.get("name")), texts(fields.get("id"))
    return Part("result", name=name, id=call, value=response, failed=failed, parts=_parts_of(fields.get("parts")))


def _code(fields: dict[str, Any]) -> Part:
    return Part("call", texts(fields.get("code")), texts(fields.get("language")).lower(), texts(fields.get("id")))


def _code_result(fields: dict[str, Any]) -> Part:
    outcome = texts(fields.get("outcome"))
    said = [Part("text", texts(fields.get("output")))]
    return Part("result", id=texts(fields.get("id")), failed=outcome not in ("", "OUTCOME_OK"), parts=said)


_READERS: dict[str, Callable[[dict[str, Any]], Part]] = {
    "functionCall": _call,
    "toolCall": _call,
    "functionResponse": _result,
    "toolResponse": _result,
    "executableCode": _code,
    "codeExecutionResult": _code_result,
    "inlineData": lambda fields: data_part(fields.get("mimeType"), fields.get("data")),
    "fileData": lambda fields: Part("data", texts(fields.get("fileUri")), texts(fields.get("mimeType"))),
}
