"""Single parts of Gemini contents as content blocks of the Messages API."""

import base64
import binascii
from typing import Any
from urllib.parse import urlsplit

from antigravity_healing.wire.json.exact import only_member
from antigravity_healing.wire.json.value import dump_text
from antigravity_healing.wire.translate.common import IMAGE_OF_SUFFIX, Block, UntranslatableError

type Part = dict[str, Any]

_IMAGES = frozenset(IMAGE_OF_SUFFIX.values())
_PDF = "application/pdf"
_TYPE_OF_SUFFIX = {**IMAGE_OF_SUFFIX, ".pdf": _PDF}
# Files that only Google can read.
_GOOGLES_HOSTS = ("generativelanguage.googleapis.com", "youtube.com", "www.youtube.com", "youtu.be")
# What says nothing by itself.
_FRAME = frozenset(("text", "thought", "thoughtSignature", "partMetadata", "videoMetadata", "mediaResolution"))


def is_call(part: Part) -> bool:
    """Whether a part is a function's call."""
    return isinstance(part.get("functionCall"), dict)


def is_response(part: Part) -> bool:
    """Whether a part is a function's response."""
    return isinstance(part.get("functionResponse"), dict)


def text_of(part: Part) -> str | None:
    """The text of a part that is text, "" for one that says nothing; None for one of another kind."""
    if part.keys() - _FRAME:
        return None
    text = part.get("text")
    return text if isinstance(text, str) else ""


def text_block(text: str) -> list[Block]:
    """The block of a text; none for one that says nothing, which the API refuses."""
    return [{"type": "text", "text": text}] if text.strip() else []


def user_blocks(part: Part, where: str) -> list[Block]:
    """The blocks of a part that a user says. Raises UntranslatableError for one that has no counterpart."""
    if (text := text_of(part)) is not None:
        return text_block(text)
    for kind, translate in (("inlineData", _inline), ("fileData", _file)):
        if kind in part:
            given = part[kind]
            if not isinstance(given, dict):
                raise UntranslatableError(f"{where}.{kind}: has to be an object")
            return translate(given, f"{where}.{kind}")
    return text_block(_in_words(part, where))


def model_blocks(part: Part, where: str) -> list[Block]:
    """The blocks of a part that a model said and that is no call. The API knows no media there."""
    if (text := text_of(part)) is not None:
        return text_block(text)
    for kind in ("inlineData", "fileData"):
        if isinstance(given := part.get(kind), dict):
            data = given.get("data")
            size = f", {len(data) * 3 // 4} bytes" if isinstance(data, str) else ""
            return text_block(f"[{given.get('mimeType') or kind}{size}]")
    return text_block(_in_words(part, where))


def result_block(response: Part, call_id: str, where: str) -> Block:
    """The `tool_result` that says what a function's response does. Raises UntranslatableError."""
    text, is_error = _said(response.get("response"))
    media: list[Block] = []
    parts = response.get("parts")
    for index, part in enumerate(parts if isinstance(parts, list) else ()):
        at = f"{where}.parts[{index}]"
        if not isinstance(part, dict):
            raise UntranslatableError(f"{at}: has to be an object")
        media += user_blocks(part, at)
    block: Block = {"type": "tool_result", "tool_use_id": call_id}
    if media:
        block["content"] = [*text_block(text), *media]
    elif text:
        block["content"] = text
    if is_error:
        block["is_error"] = True
    return block


def _said(response: Any) -> tuple[str, bool]:
    """What a response says, and whether it is an error."""
    if response is None:
        return "", False
    if isinstance(response, dict) and len(response) == 1:
        [(name, value)] = response.items()
        if name == "error":
            return value if isinstance(value, str) else only_member(response) or dump_text(value), True
        if name in ("output", "result") and isinstance(value, str):
            return value, False
    return response if isinstance(response, str) else dump_text(response), False


def _in_words(part: Part, where: str) -> str:
    """What Google's own tools did, for a model that has others."""
    code, result = part.get("executableCode"), part.get("codeExecutionResult")
    if isinstance(code, dict):
        language = "python" if code.get("language") == "PYTHON" else ""
        return f"```{language}\n{code.get('code') or ''}\n```"
    if isinstance(result, dict):
        return f"[{result.get('outcome') or 'OUTCOME_OK'}]\n{result.get('output') or ''}"
    for kind in ("toolCall", "toolResponse"):
        if kind in part:
            return f"[{kind}: {dump_text(part[kind])}]"
    names = ", ".join(sorted(part.keys() - _FRAME))
    raise UntranslatableError(f"{where}: a part with {names} has no counterpart in the Messages API")


def _inline(given: Part, where: str) -> list[Block]:
    kind, data = _media_type(given), given.get("data")
    if not isinstance(data, str):
        raise UntranslatableError(f"{where}.data: has to be a string in base64")
    # Google takes URL-safe and unpadded base64, too.
    data = data.rstrip("=").replace("-", "+").replace("_", "/")
    data += "=" * (-len(data) % 4)
    if kind in _IMAGES:
        return [{"type": "image", "source": {"type": "base64", "media_type": kind, "data": data}}]
    if kind == _PDF:
        return [{"type": "document", "source": {"type": "base64", "media_type": kind, "data": data}}]
    if kind.startswith("text/"):
        try:
            text = base64.b64decode(data, validate=True).decode()
        except (binascii.Error, ValueError):
            raise UntranslatableError(f"{where}.data: is no text in UTF-8 and base64") from None
        source = {"type": "text", "media_type": "text/plain", "data": text}
        return [{"type": "document", "source": source}] if text.strip() else []
    raise UntranslatableError(f'{where}.mimeType: "{kind}" has no counterpart in the Messages API')


def _file(given: Part, where: str) -> list[Block]:
    uri, kind = given.get("fileUri"), _media_type(given)
    if not isinstance(uri, str):
        raise UntranslatableError(f"{where}.fileUri: has to be a string")
    try:
        url = urlsplit(uri)
    except ValueError:
        raise UntranslatableError(f"{where}.fileUri: is no URL") from None
    if url.scheme.lower() != "https" or url.netloc.lower() in _GOOGLES_HOSTS:
        raise UntranslatableError(f"{where}.fileUri: only Google can read {uri}; send its content as inlineData")
    if not kind:
        kind = next((of for suffix, of in _TYPE_OF_SUFFIX.items() if url.path.lower().endswith(suffix)), "")
    if kind in _IMAGES or kind == _PDF:
        block = "document" if kind == _PDF else "image"
        return [{"type": block, "source": {"type": "url", "url": uri}}]
    raise UntranslatableError(f'{where}.mimeType: "{kind}" by URL has no counterpart in the Messages API')


def _media_type(given: Part) -> str:
    kind = str(given.get("mimeType") or "").partition(";")[0].strip().lower()
    return "image/jpeg" if kind == "image/jpg" else kind
