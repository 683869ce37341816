"""What the end of an Anthropic answer means in Gemini's words: the finish reason, the usage, the sources."""

from typing import Any, NamedTuple

from antigravity_healing.wire.collecting import LONGEST
from antigravity_healing.wire.json.growing import weight
from antigravity_healing.wire.json.value import objects_at
from antigravity_healing.wire.translate.common import Block, Body
from antigravity_healing.wire.usage import Usage

_FINISH = {
    "": "STOP",
    "end_turn": "STOP",
    "stop_sequence": "STOP",
    "pause_turn": "TOO_MANY_TOOL_CALLS",
    "tool_use": "STOP",
    "compaction": "STOP",
    "max_tokens": "MAX_TOKENS",
    "model_context_window_exceeded": "MAX_TOKENS",
    "refusal": "SAFETY",
}


class Ending(NamedTuple):
    """A finish reason, and what is told beside it."""

    reason: str
    message: str


def finish_of(stop: str, details: Any) -> Ending:
    """The finish reason for a stop reason with its details."""
    if stop == "refusal":
        said = details if isinstance(details, dict) else {}
        told = [str(said[name]) for name in ("category", "explanation") if said.get(name)]
        return Ending("SAFETY", ": ".join(["Anthropic refused to answer", *told]))
    if stop == "model_context_window_exceeded":
        return Ending("MAX_TOKENS", "The model's context window is full")
    reason = _FINISH.get(stop, "OTHER")
    return Ending(reason, f"Anthropic stopped with {stop}" if reason == "OTHER" else "")


def usage_told(usage: Usage) -> Body:
    """A usage in Gemini's fields."""
    told: Body = {"promptTokenCount": usage.input, "candidatesTokenCount": usage.output - usage.reasoning}
    if usage.reasoning:
        told["thoughtsTokenCount"] = usage.reasoning
    if usage.cache_read:
        told["cachedContentTokenCount"] = usage.cache_read
    return {**told, "totalTokenCount": usage.input + usage.output}


class Sources:
    """What an answer was looked up in: the searches, what they found, and what of it the text is based on."""

    def __init__(self) -> None:
        self._queries: list[str] = []
        self._chunks: list[Body] = []
        self._places: dict[str, int] = {}
        self._supports: list[Body] = []
        self._fetched: dict[str, str] = {}
        self._size = 0

    def take(self, block: Block) -> bool:
        """Take a whole block of a server tool; whether it is one that belongs here, and is not too much."""
        kind, given, content = block.get("type"), block.get("input"), block.get("content")
        self._size += weight(block)
        match kind, block.get("name"):
            case _ if self._size > LONGEST:
                return False
            case "server_tool_use", "web_search" if isinstance(given, dict) and isinstance(given.get("query"), str):
                self._queries.append(given["query"])
            case "server_tool_use", "web_fetch" if isinstance(given, dict) and isinstance(given.get("url"), str):
                self._fetched[given["url"]] = "URL_RETRIEVAL_STATUS_UNSPECIFIED"
            case "web_search_tool_result", _ if isinstance(content, list):
                for result in objects_at(block, "content"):
                    self._chunk(result)
            case "web_fetch_tool_result", _ if isinstance(content, dict) and isinstance(content.get("url"), str):
                self._fetched[content["url"]] = "URL_RETRIEVAL_STATUS_SUCCESS"
            case _:
                return False
        return True

    def cite(self, citations: Any, start: int, end: int, text: str) -> None:
        """Take the citations of a text that stands between these bytes of the answer."""
        cited = (
            [citation for citation in citations if isinstance(citation, dict)] if isinstance(citations, list) else []
        )
        self._size += weight(cited) + (len(text) if cited else 0)
        if self._size > LONGEST:
            return
        places = dict.fromkeys(self._chunk(citation) for citation in cited)
        if places and text:
            segment = {"startIndex": start, "endIndex": end, "text": text}
            self._supports.append({"segment": segment, "groundingChunkIndices": list(places)})

    def told(self) -> Body:
        """The members of a candidate that tell them; none where nothing was looked up."""
        grounding = {
            "webSearchQueries": self._queries,
            "groundingChunks": self._chunks,
            "groundingSupports": self._supports,
        }
        fetched = [{"retrievedUrl": url, "urlRetrievalStatus": status} for url, status in self._fetched.items()]
        told: Body = {"groundingMetadata": {name: value for name, value in grounding.items() if value}}
        if fetched:
            told["urlContextMetadata"] = {"urlMetadata": fetched}
        return {name: value for name, value in told.items() if value}

    def _chunk(self, source: Block) -> int:
        """The place of a source among the chunks: of a page that was found, or of a document that is cited."""
        title = str(source.get("title") or source.get("document_title") or "")
        if isinstance(url := source.get("url"), str) and url:
            key, chunk = url, {"web": {"uri": url, "title": title}}
        else:
            text = str(source.get("cited_text") or "")
            key, chunk = f"{title}\n{text}", {"retrievedContext": {"title": title, "text": text}}
        if key not in self._places:
            self._places[key] = len(self._chunks)
            self._chunks.append(chunk)
        return self._places[key]
