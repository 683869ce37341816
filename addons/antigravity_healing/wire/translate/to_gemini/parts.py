"""Single content blocks of the Messages API as parts of Gemini contents."""

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from antigravity_healing.wire.json.value import dump_text
from antigravity_healing.wire.translate.common import IMAGE_OF_SUFFIX, Block, UntranslatableError

type Part = dict[str, Any]

_SERVERS = frozenset(("server_tool_use", "mcp_tool_use", "mcp_tool_result", "mcp_tool_listing", "fallback"))
# What in a server tool's block says nothing to another model.
_OPAQUE = frozenset(("type", "id", "tool_use_id", "caller", "cache_control", "signature"))
_DEEPEST_SHOWN = 40


class Response(NamedTuple):
    """What a tool gave: the function's response, and the parts that are no text."""

    response: dict[str, Any]
    media: list[Part]


def field(block: Block, name: str, where: str) -> str:
    """A member that has to be a string."""
    value = block.get(name)
    if not isinstance(value, str):
        raise UntranslatableError(f"{where}.{name}: Input should be a valid string")
    return value


def blocks_of(content: Any, where: str) -> list[tuple[str, Block]]:
    """The blocks of a content, each with its place; a string is one block of text."""
    if isinstance(content, str):
        return [(where, {"type": "text", "text": content})]
    if not isinstance(content, list):
        raise UntranslatableError(f"{where}: Input should be a valid list")
    placed = [(f"{where}.{index}", block) for index, block in enumerate(content)]
    for place, block in placed:
        if not isinstance(block, dict):
            raise UntranslatableError(f"{place}: Input should be an object")
    return placed


def text_parts(content: Any, where: str) -> list[Part]:
    """The parts of a content in which only text may be."""
    parts = []
    for place, block in blocks_of(content, where):
        if block.get("type") != "text":
            raise without_counterpart(block, place)
        parts += content_parts(block, place)
    return parts


def content_parts(block: Block, where: str) -> list[Part]:
    """The parts that say what a block says; none for one that says nothing.

    Raises UntranslatableError for one that has no counterpart.
    """
    match block.get("type"):
        case "text":
            # Its citations point into documents in a way that only its own API knows.
            return _text(field(block, "text", where))
        case "image" | "document":
            return [*_text(_heading(block)), *_source_parts(block, where)]
        case "search_result":
            heading = "\n".join(field(block, name, where) for name in ("title", "source"))
            return [*_text(heading), *text_parts(block.get("content"), f"{where}.content")]
        case "tool_reference":
            return _text(f"[tool: {field(block, 'tool_name', where)}]")
        case "compaction" if isinstance(summary := block.get("content"), str):
            return _text(summary)
    if is_servers(block):
        return _text(_in_words(block))
    raise without_counterpart(block, where)


def response_of(block: Block, where: str) -> Response:
    """What a `tool_result` says. Raises UntranslatableError."""
    content = block.get("content")
    texts, media = [], []
    for place, item in blocks_of([] if content is None else content, f"{where}.content"):
        for part in content_parts(item, place):
            if "text" in part:
                texts.append(part["text"])
            else:
                media.append(part)
    return Response({"error" if block.get("is_error") else "output": "\n".join(texts)}, media)


def is_servers(block: Block) -> bool:
    """Whether a block is one of those that the API's own tools make."""
    kind = block.get("type")
    return isinstance(kind, str) and (kind in _SERVERS or kind.endswith("_tool_result"))


def without_counterpart(block: Block, where: str) -> UntranslatableError:
    """The refusal of a block."""
    return UntranslatableError(f'{where}: a block of type "{block.get("type")}" has no counterpart in the Gemini API')


def _text(text: str) -> list[Part]:
    return [{"text": text}] if text else []


def _heading(block: Block) -> str:
    """What is told of a document beside its content."""
    return "\n".join(text for name in ("title", "context") if isinstance(text := block.get(name), str) and text)


def _source_parts(block: Block, where: str) -> list[Part]:
    at = f"{where}.source"
    source = block.get("source")
    if not isinstance(source, dict):
        raise UntranslatableError(f"{at}: Input should be an object")
    match source.get("type"):
        case "base64":
            return [{"inlineData": {"mimeType": field(source, "media_type", at), "data": field(source, "data", at)}}]
        case "url":
            return [{"fileData": _file(field(source, "url", at), is_image=block.get("type") == "image", where=at)}]
        case "text":
            return _text(field(source, "data", at))
        case "content" if block.get("type") == "document":
            parts = []
            for place, item in blocks_of(source.get("content"), f"{at}.content"):
                if item.get("type") not in ("text", "image"):
                    raise without_counterpart(item, place)
                parts += content_parts(item, place)
            return parts
        case "file":
            file_id = source.get("file_id")
            raise UntranslatableError(f'{at}: the file "{file_id}" is in Anthropic\'s Files API; send its content')
    raise UntranslatableError(f'{at}: a source of type "{source.get("type")}" has no counterpart in the Gemini API')


def _file(url: str, *, is_image: bool, where: str) -> dict[str, str]:
    if not url.lower().startswith("https://"):
        raise UntranslatableError(f"{where}.url: the Gemini API takes https URLs only; send the content as base64")
    if not is_image:
        return {"fileUri": url, "mimeType": "application/pdf"}
    try:
        path = urlsplit(url).path.lower()
    except ValueError:
        raise UntranslatableError(f"{where}.url: Input should be a valid URL") from None
    kind = next((kind for suffix, kind in IMAGE_OF_SUFFIX.items() if path.endswith(suffix)), None)
    return {"fileUri": url, "mimeType": kind} if kind else {"fileUri": url}


def _in_words(block: Block) -> str:
    return f"[{block['type']}: {dump_text(_shown(block, 0))}]"


def _shown(value: Any, depth: int) -> Any:
    """What of a server tool's block another model can read."""
    if depth > _DEEPEST_SHOWN:
        return "…"
    if isinstance(value, list):
        return [_shown(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    # Base64 is of no use as text.
    bulk = "data" if value.get("type") == "base64" else None
    return {
        name: item if name == "input" else _shown(item, depth + 1)
        for name, item in value.items()
        if item is not None and name not in _OPAQUE and name != bulk and not name.startswith("encrypted_")
    }
