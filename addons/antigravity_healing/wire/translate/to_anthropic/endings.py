"""What the end of a Gemini answer means in Anthropic's words: the stop reason, the usage, what it is grounded in."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from antigravity_healing.wire.collecting import LONGEST
from antigravity_healing.wire.gemini.grounding import GroundingMetadata
from antigravity_healing.wire.gemini.reader import PLAIN_STOPS
from antigravity_healing.wire.json.value import objects_at
from antigravity_healing.wire.translate.common import Block, Body, tool_use_id
from antigravity_healing.wire.usage import Usage

# Without a token there is no going on: the answer reached the limit of one request.
_LIMITS = ("MAX_TOKENS", "CONTINUATION")


class Stop(NamedTuple):
    """A stop reason with its details."""

    reason: str
    details: Block | None = None


def stop_of(finish: str, why: str, *, called: bool) -> Stop:
    """The stop reason for a finish reason or a block reason.

    why: what upstream said beside it. called: whether the answer has calls of the client's tools.
    """
    if finish in PLAIN_STOPS:
        return Stop("tool_use" if called else "end_turn")
    if finish in _LIMITS:
        return Stop("max_tokens")
    if finish == "TOO_MANY_TOOL_CALLS":
        # Of upstream's own tools, which were stopped before the answer was complete.
        return Stop("pause_turn")
    explanation = f"Gemini stopped with {finish}" + (f": {why}" if why else "")
    return Stop("refusal", {"type": "refusal", "category": None, "explanation": explanation})


def why_stopped(carrier: Body) -> str:
    """What a candidate or a prompt's feedback says beside its reason: its message, and the ratings that blocked."""
    message = carrier.get("finishMessage") or carrier.get("blockReasonMessage")
    blocked = [str(rating.get("category")) for rating in objects_at(carrier, "safetyRatings") if rating.get("blocked")]
    return "; ".join(part for part in (message if isinstance(message, str) else "", ", ".join(blocked)) if part)


def usage_told(usage: Usage) -> Body:
    """A usage in Anthropic's fields."""
    told: Body = {
        "input_tokens": usage.uncached,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if usage.reasoning:
        told["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    return told


class Grounding:
    """What an answer is grounded in, for a client that asked for web search."""

    def __init__(self) -> None:
        self._metadata = GroundingMetadata()
        self._size = 0
        self._said = 0
        self._cited: set[int] = set()
        self._text: list[str] = []
        self._before = ""

    def take(self, metadata: Any) -> None:
        """Take a candidate's groundingMetadata; a later one says more, or all again. Much is enough."""
        if isinstance(metadata, dict) and self._size <= LONGEST:
            self._size += self._metadata.take(metadata)

    @property
    def queries(self) -> list[str]:
        """What was searched for."""
        queries = self._metadata.found.get("webSearchQueries")
        return [query for query in queries if isinstance(query, str)] if isinstance(queries, list) else []

    @property
    def _sources(self) -> list[tuple[str, str]]:
        """Title and address of each source; one that is no page has no address."""
        webs = [chunk.get("web") for chunk in objects_at(self._metadata.found, "groundingChunks")]
        return [(str(web.get("title") or ""), str(web.get("uri") or "")) if isinstance(web, dict) else ("", "")
                for web in webs]  # fmt: skip

    def say(self, text: str) -> None:
        """More of the text of the block that is open."""
        self._said += len(text)
        if self._said <= LONGEST:
            self._text.append(text)

    def citations(self, *, last: bool) -> Iterator[Block]:
        """A citation for each source of each passage of the block that ends here. last: whether no text follows."""
        sources = self._sources
        text, self._text = "".join(self._text), []
        for number, support in enumerate(objects_at(self._metadata.found, "groundingSupports")):
            segment, indices = support.get("segment"), support.get("groundingChunkIndices")
            segment = segment if isinstance(segment, dict) else {}
            cited = str(segment.get("text") or "")
            alone = last and not self._before
            if number in self._cited or not (alone or self._is_in(text, cited, segment.get("startIndex"))):
                continue
            self._cited.add(number)
            for index in indices if isinstance(indices, list) else ():
                if isinstance(index, int) and 0 <= index < len(sources) and sources[index][1]:
                    title, url = sources[index]
                    yield {
                        "type": "web_search_result_location",
                        "cited_text": cited,
                        "url": url,
                        "title": title,
                        "encrypted_index": "",
                    }
        self._before += text

    def _is_in(self, text: str, cited: str, start: Any) -> bool:
        """Whether a passage is one of this text. start: its place among all that was said, in bytes."""
        if cited not in text:
            return False
        if not self._before or cited not in self._before:
            return True
        return isinstance(start, int) and start >= len(self._before.encode("utf-8", "surrogatepass"))

    def blocks(self, seed: str) -> list[Block]:
        """The search and its results, as the blocks that Anthropic's own search makes; none where nothing was found."""
        results = [
            {"type": "web_search_result", "title": title, "url": url, "encrypted_content": "", "page_age": None}
            for title, url in self._sources
            if url
        ]
        if not results and not self.queries:
            return []
        search_id = server_tool_id(f"{seed}:search")
        query = {"query": " · ".join(self.queries)}
        return [
            {"type": "server_tool_use", "id": search_id, "name": "web_search", "input": query},
            {"type": "web_search_tool_result", "tool_use_id": search_id, "content": results},
        ]


def server_tool_id(unique: str) -> str:
    """An id for a call of one of upstream's own tools."""
    return "srv" + tool_use_id(unique, "")
