"""What a client of the Gemini API may receive: the narrow form that each of Google's SDKs bears."""

import json
from dataclasses import dataclass, field
from typing import Any

from .strict import Ended, as_int, as_list, as_object, as_text, parsed, require, shown, utf8

STATUS = {
    400: {"INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"},
    401: {"UNAUTHENTICATED"},
    402: {"RESOURCE_EXHAUSTED"},
    403: {"PERMISSION_DENIED"},
    404: {"NOT_FOUND"},
    409: {"ABORTED", "ALREADY_EXISTS"},
    429: {"RESOURCE_EXHAUSTED"},
    499: {"CANCELLED"},
    500: {"INTERNAL", "UNKNOWN", "DATA_LOSS"},
    501: {"UNIMPLEMENTED"},
    503: {"UNAVAILABLE"},
    504: {"DEADLINE_EXCEEDED"},
}
BLANK = b"\r\n\r\n"


@dataclass
class GeminiReport:
    """What the client got. Text, thoughts and calls are those of the first candidate."""

    ended: Ended = "cut"
    error: dict[str, Any] | None = None
    """The inner `error` object, when the stream ended with one."""
    text: str = ""
    thoughts: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    finish_reason: str | None = None
    block_reason: str | None = None
    usage: dict[str, Any] = field(default_factory=dict)
    """The last `usageMetadata`: the totals are running ones."""
    keep_alives: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)


def check_gemini_stream(body: bytes, *, allow_cut: bool = False) -> GeminiReport:
    """Check a whole `alt=sse` body.

    `allow_cut` bears an end anywhere: for a client that left, or a cut that must show.
    """
    answer = _Answer()
    report = answer.report
    rest = body
    while rest:
        where = f"byte {len(body) - len(rest)}"
        if rest.startswith(BLANK):
            report.keep_alives += 1
            rest = rest.removeprefix(BLANK)
        elif rest.startswith(b"data: "):
            line, blank, after = _event(rest, where)
            if not blank:
                require(allow_cut, f"{where}: the last event has no blank line behind it: {shown(rest)}")
                break
            where = f"event {len(report.events)}"
            chunk = as_object(parsed(utf8(line, where), where), where)
            require("error" not in chunk, f"{where}: an error as a `data:` event, which a Google SDK overlooks")
            answer.take(chunk, where)
            rest = after
        elif rest.startswith(b"{"):
            if allow_cut and not rest.endswith((b"\n\n", BLANK)):
                break
            report.error = _raw_error(rest, where)
            report.ended = "error"
            return report
        else:
            cut = any(whole.startswith(rest) for whole in (BLANK, b"data: "))
            require(cut and allow_cut, f"{where}: {_what_is_wrong(rest)}: {shown(rest[:80])}")
            break
    if not rest and answer.finished:
        report.ended = "complete"
    require(allow_cut or report.ended == "complete", "the stream ends without finishReason, blockReason or error")
    return report


def _event(rest: bytes, where: str) -> tuple[bytes, bytes, bytes]:
    """The data of the event at the head of `rest`, its blank line (empty: the bytes end before it), what follows."""
    line, newline, after = rest.removeprefix(b"data: ").partition(b"\n")
    if not newline:
        return line, b"", b""
    end = b"\r\n" if line.endswith(b"\r") else b"\n"
    line = line.removesuffix(b"\r")
    require(b"\r" not in line, f"{where}: a bare CR ends a line")
    if end.startswith(after) and after != end:
        return line, b"", b""
    require(after.startswith(end), f"{where}: no blank line behind the event, but {shown(after[:40])}")
    return line, end * 2, after.removeprefix(end)


def _raw_error(rest: bytes, where: str) -> dict[str, Any]:
    """The error object without `data:`, which must be the very last thing."""
    require(rest.endswith((b"\n\n", BLANK)), f"{where}: the raw error has no blank line behind it: {shown(rest[-40:])}")
    text = utf8(rest, where)
    try:
        value, length = json.JSONDecoder().raw_decode(text)
    except ValueError as e:
        raise AssertionError(f"{where}: a raw object that is not JSON ({e}): {shown(text)}") from None
    require(text[length:] in ("\n\n", "\r\n\r\n"), f"{where}: something behind the raw error: {shown(text[length:])}")
    inside = text[:length].replace("\r\n", "\n")
    require("\n\n" not in inside, f"{where}: a blank line inside the raw error ends it early for some decoders")
    whole = as_object(value, where)
    # The Python SDK raises only for an object whose first key is "error".
    require(next(iter(whole), None) == "error", f"{where}: a raw object that is no error: {shown(text)}")
    return _error(whole, None, where)


def _what_is_wrong(rest: bytes) -> str:
    line = rest.split(b"\n", 1)[0]
    if rest.startswith(b":"):
        return "a comment, which Google's SDKs read as data"
    if rest.startswith((b"event:", b"id:", b"retry:")):
        return "a field other than `data:`, which Google's SDKs read as data"
    if rest.startswith(b"data:"):
        return "`data:` without its space"
    if not line.strip():
        return "a blank line that is not a whole keep-alive"
    return "neither an event, a keep-alive nor an error"


class _Answer:
    """What the chunks of one answer add up to."""

    def __init__(self) -> None:
        self.report = GeminiReport()
        self._id: str | None = None
        self._reasons: dict[int, str | None] = {}

    @property
    def finished(self) -> bool:
        """Whether every candidate that was begun has a finish reason, or the prompt was blocked."""
        if self.report.block_reason:
            return True
        return bool(self._reasons) and None not in self._reasons.values()

    def take(self, chunk: dict[str, Any], where: str) -> None:
        self.report.events.append(chunk)
        if chunk.get("responseId") is not None:
            response_id = as_text(chunk["responseId"], f"{where}: responseId", empty=False)
            same = self._id is None or self._id == response_id
            require(same, f"{where}: responseId {response_id!r} after {self._id!r}: two answers in one stream")
            self._id = response_id
        if chunk.get("usageMetadata") is not None:
            self.report.usage = as_object(chunk["usageMetadata"], f"{where}: usageMetadata")
        feedback = as_object(chunk.get("promptFeedback", {}), f"{where}: promptFeedback")
        if feedback.get("blockReason") is not None:
            self.report.block_reason = as_text(feedback["blockReason"], f"{where}: blockReason", empty=False)
        for value in as_list(chunk.get("candidates", []), f"{where}: candidates"):
            self._candidate(as_object(value, f"{where}: candidate"), where)

    def _candidate(self, candidate: dict[str, Any], where: str) -> None:
        index = as_int(candidate.get("index", 0), f"{where}: candidate.index")
        content = as_object(candidate.get("content", {}), f"{where}: content")
        parts = [as_object(part, f"{where}: part") for part in as_list(content.get("parts", []), f"{where}: parts")]
        reason: str | None = None
        if candidate.get("finishReason") is not None:
            reason = as_text(candidate["finishReason"], f"{where}: finishReason", empty=False)
        # Old models repeat the reason in each chunk; content without one after it is a stream that went on.
        if reason or index not in self._reasons or any(_says_something(part) for part in parts):
            self._reasons[index] = reason
        if index == 0:
            self.report.finish_reason = self._reasons[0]
        for number, part in enumerate(parts):
            self._part(part, index, f"{where}: part {number}")

    def _part(self, part: dict[str, Any], index: int, where: str) -> None:
        text = as_text(part.get("text", ""), f"{where}: text")
        if part.get("thoughtSignature") is not None:
            as_text(part["thoughtSignature"], f"{where}: thoughtSignature")
        name, arguments = "", dict[str, Any]()
        if "functionCall" in part:
            call = as_object(part["functionCall"], f"{where}: functionCall")
            name = as_text(call.get("name"), f"{where}: functionCall.name", empty=False)
            arguments = as_object(call.get("args", {}), f"{where}: functionCall.args")
        if index != 0:
            return
        if part.get("thought"):
            self.report.thoughts += text
        else:
            self.report.text += text
        if name:
            self.report.calls.append((name, arguments))


def _says_something(part: dict[str, Any]) -> bool:
    return bool(part.get("text")) or not part.keys() <= {"text", "thought", "thoughtSignature"}


def check_gemini_json(body: bytes) -> GeminiReport:
    """Check the complete answer to `generateContent`, or the array of `streamGenerateContent` without `alt=sse`."""
    value = parsed(utf8(body, "answer"), "answer")
    answer = _Answer()
    for index, chunk in enumerate(value if isinstance(value, list) else [value]):
        where = f"answer[{index}]" if isinstance(value, list) else "answer"
        require("error" not in as_object(chunk, where), f"{where}: an error in place of an answer: {shown(chunk)}")
        answer.take(chunk, where)
    require(answer.finished, f"an answer without finishReason or blockReason: {shown(value)}")
    answer.report.ended = "complete"
    return answer.report


def check_gemini_error(status: int, body: bytes, *, any_status: bool = False) -> dict[str, Any]:
    """Check an error answer; returns its inner `error`.

    An array of one is Google's own form without `alt=sse`. `any_status` bears codes that do not go together: an
    upstream's own odd answer, passed on as it is.
    """
    require(status >= 400, f"an error with status {status}")
    value = parsed(utf8(body, "error body"), "error body")
    if isinstance(value, list):
        require(len(value) == 1, f"error body: an array of {len(value)}")
        value = value[0]
    return _error(as_object(value, "error body"), None if any_status else status, "error body", any_status=any_status)


def _error(whole: dict[str, Any], http: int | None, where: str, *, any_status: bool = False) -> dict[str, Any]:
    error = as_object(whole.get("error"), f"{where}: error")
    code = as_int(error.get("code"), f"{where}: error.code")
    require(400 <= code < 600, f"{where}: error.code is {code}")
    as_text(error.get("message"), f"{where}: error.message", empty=False)
    status = as_text(error.get("status"), f"{where}: error.status", empty=False)
    require(http is None or code == http, f"{where}: error.code {code} under HTTP status {http}")
    fits = any_status or status in STATUS.get(code, {status})
    require(fits, f"{where}: error.status {status} does not go with {code}")
    return error
