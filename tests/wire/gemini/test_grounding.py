"""What an answer is grounded in is told whole, however its stream tells it."""

import json
from typing import Any

import pytest
from antigravity_healing.wire.gemini.collector import GeminiCollector
from antigravity_healing.wire.gemini.grounding import GroundingMetadata
from antigravity_healing.wire.translate.to_anthropic.endings import Grounding
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.gemini_parts import chunk_of

type Fields = dict[str, Any]


def source(name: str) -> Fields:
    return {"web": {"uri": f"https://{name}.example", "title": name}}


def support(text: str, *indices: int) -> Fields:
    return {"segment": {"text": text}, "groundingChunkIndices": list(indices)}


def said(sources: str = "", supports: list[Fields] | None = None, queries: str = "") -> Fields:
    """Metadata with sources and queries of one letter each."""
    told: Fields = {"groundingChunks": [source(name) for name in sources]} if sources else {}
    told |= {"groundingSupports": supports} if supports else {}
    return told | ({"webSearchQueries": list(queries)} if queries else {})


def collected(*told: Fields) -> Fields:
    """What a whole answer says."""
    collector = GeminiCollector()
    for each in told:
        collector.take({"candidates": [{"index": 0, "groundingMetadata": each}]})
    collector.take(chunk_of([], finishReason="STOP"))
    answer = collector.answer
    assert answer is not None
    found: Fields = answer["candidates"][0]["groundingMetadata"]
    return found


def cited(*told: Fields) -> list[tuple[str, str]]:
    """What a translated answer says: each passage with its source."""
    grounding = Grounding()
    for each in told:
        grounding.take(each)
    return [(citation["cited_text"], citation["title"]) for citation in grounding.citations(last=True)]


def cited_by(metadata: Fields) -> list[tuple[str, str]]:
    chunks = metadata["groundingChunks"]
    return [
        (each["segment"]["text"], chunks[index]["web"]["title"])
        for each in metadata.get("groundingSupports", ())
        for index in each["groundingChunkIndices"]
    ]


STREAMS = {
    "all again and more": [
        said("a", [support("x", 0)], "q"),
        said("ab", [support("x", 0), support("y", 1)], "qr"),
    ],
    "more": [said("a", [support("x", 0)], "q"), said("b", [support("y", 0)], "r")],
    "more, counted among all": [said("a", [support("x", 0)], "q"), said("b", [support("y", 1)], "r")],
    "sources before what they support": [said("ab", None, "qr"), said("", [support("x", 0), support("y", 1)])],
    "fewer": [said("ab", [support("x", 0), support("y", 1)], "qr"), said("b", [support("y", 0)], "r")],
    "in another order": [said("ab", [support("x", 0)], "qr"), said("ba", [support("y", 0)], "rq")],
    "none any more": [
        said("ab", [support("x", 0), support("y", 1)], "qr"),
        {"groundingChunks": [], "groundingSupports": [], "webSearchQueries": [], "searchEntryPoint": {}},
        {"groundingChunks": None, "webSearchQueries": ""},
    ],
}


@pytest.mark.parametrize("told", STREAMS.values(), ids=STREAMS.keys())
def test_no_later_chunk_takes_sources_back_and_each_passage_has_its_own(told: list[Fields]) -> None:
    before = json.dumps(told)
    found = collected(*told)
    assert found["groundingChunks"] == [source("a"), source("b")]
    assert found["webSearchQueries"] == ["q", "r"]
    assert cited_by(found) == cited(*told) == [("x", "a"), ("y", "b")]
    assert json.dumps(told) == before, "the chunks belong to others too"
    grounding = Grounding()
    for each in told:
        grounding.take(each)
    assert grounding.queries == ["q", "r"]
    search, results = grounding.blocks("seed")
    assert search["input"] == {"query": "q · r"}
    assert [result["title"] for result in results["content"]] == ["a", "b"]


def test_metadata_that_comes_once_is_as_it_came() -> None:
    once = {
        **said("aa", [support("x", 0, 1), support("x", 0, 1), {"segment": 1}], "qq"),
        "searchEntryPoint": {"renderedContent": "<b>"},
        "retrievalMetadata": {},
        "new": [{}, {}],
    }
    assert collected(once) == once
    assert collected(once, {"searchEntryPoint": None, "retrievalMetadata": {"score": 1}}) == {
        **once,
        "retrievalMetadata": {"score": 1},
    }


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.tuples(st.text("abc", max_size=4), st.lists(st.integers(0, 3), max_size=4)), max_size=5))
def test_any_stream_cites_what_each_chunk_cited(stream: list[tuple[str, list[int]]]) -> None:
    """Each chunk counts its own sources, and gives each passage another text."""
    metadata = GroundingMetadata()
    expected = []
    for number, (names, indices) in enumerate(stream):
        places = [index for index in indices if index < len(names)]
        supports = [support(f"{number}.{count}", index) for count, index in enumerate(places)]
        expected += [(f"{number}.{count}", names[index]) for count, index in enumerate(places)]
        metadata.take(said(names, supports))
    if expected:
        assert cited_by(metadata.found) == expected
