"""Conversations are read from the top: requests from their end, answers from their beginning."""

from typing import Any

import pytest
from antigravity_healing.wire.json.value import dump

from tests.monitor.view.pages import ANTHROPIC, GEMINI, PATHS, asked, flow_of, page
from tests.upstream import anthropic_stream, gemini_stream


def history(turns: int, text: str = "turn") -> dict[str, Any]:
    said = [{"role": ("user", "assistant")[n % 2], "content": f"{text} {n + 1}"} for n in range(turns)]
    return {"model": "m", "max_tokens": 9, "messages": said}


def answer(body: bytes, path: str = ANTHROPIC) -> str:
    return page(flow_of(path, b"{}", body), "response")


def test_newest_turn_comes_first_and_earlier_ones_are_counted() -> None:
    text = asked(history(212))
    assert text.index("[212/212] assistant\n    turn 212") < text.index("[211/212] user\n    turn 211")
    assert text.endswith("… 172 earlier messages\n")


def test_long_turns_leave_room_for_the_count_of_the_others() -> None:
    text = asked(history(40, "many words " * 2000))
    assert "[40/40] assistant" in text
    assert "earlier messages" in text.splitlines()[-1]
    assert len(text.splitlines()) < 500


def test_turns_of_a_request_of_megabytes_are_counted_from_the_end() -> None:
    text = asked(history(1500, "words " * 400))
    assert text.index("[-1] assistant") < text.index("[-2] user")
    assert text.splitlines()[-1].endswith("MB of earlier messages")


def test_beginning_and_end_of_a_long_text_are_shown() -> None:
    text = asked(history(1, "first " + "words " * 9000 + "last"))
    assert "    first words" in text
    assert "last 1\n" in text
    assert "characters in all" in text


def test_what_is_asked_comes_before_the_turns() -> None:
    tools = [{"name": f"tool{n}"} for n in range(50)]
    text = asked({**history(1), "system": "Be kind.\nAnd short.", "tools": tools, "thinking": {"type": "enabled"}})
    head = text[: text.index("[1/1]")]
    assert 'settings  max_tokens 9, thinking {"type": "enabled"}\n' in head
    assert "tools     50: tool0, tool1" in head
    assert "10 more" in head
    assert "system    Be kind. And short. (19 characters)\n" in head


def test_result_bears_the_name_of_its_call() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls\npwd", "timeout": 5}}
    result = {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "not found"}
    turns = [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    text = asked({"messages": turns})
    assert "    ← Bash, failed\n        not found\n" in text
    assert "    → Bash\n        command:\n          ls\n          pwd\n        timeout: 5\n" in text


def test_thinking_and_data_are_marked() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD" * 500_000}}
    thinking = {"type": "thinking", "thinking": "Hm.\nHm!", "signature": "A" * 400}
    hidden = {"type": "redacted_thinking", "data": "A" * 400}
    turns = [{"role": "assistant", "content": [thinking, hidden]}, {"role": "user", "content": [image]}]
    text = asked({"messages": turns})
    assert "    ┊ thinking: Hm.\n    ┊ Hm!\n    ┊ thinking: (not readable, 400 characters)\n" in text
    assert "    [image/png, 1.5 MB]\n" in text


def test_secrets_among_the_settings_are_not_told() -> None:
    servers = [{"url": "https://mcp.example", "authorization_token": "hush-hush-hush"}]
    assert "hush" not in asked({**history(1), "mcp_servers": servers})


@pytest.mark.parametrize(
    ("path", "body"), [(ANTHROPIC, anthropic_stream("Hi " * 9)), (GEMINI, gemini_stream("Hi " * 9))]
)
def test_stream_is_shown_as_one_answer_with_usage_and_stop(path: str, body: Any) -> None:
    text = answer(body.whole, path)
    assert ("end_turn" if path == ANTHROPIC else "STOP") in text.splitlines()[0]
    assert "usage     " in text
    assert "    " + ("Hi " * 9).strip() in text


def test_whole_answers_and_arrays_are_shown_like_streams() -> None:
    chunk = {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hi "}]}, "index": 0}]}
    last = {"candidates": [{"content": {"parts": [{"text": "there"}]}, "finishReason": "STOP"}]}
    array = dump([chunk, last])
    assert "    Hi there\n" in answer(array, GEMINI)
    assert "    Hi there\n" in answer(dump({"candidates": [{**chunk["candidates"][0], **last["candidates"][0],
        "content": {"parts": [{"text": "Hi there"}]}}]}), GEMINI)  # fmt: skip
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hi there"}], "stop_reason": "end_turn"}
    assert "stop      end_turn\n" in answer(dump(message))
    cut = answer(array[:-40], GEMINI)
    assert cut.startswith("flaw ")
    assert "    Hi\n" in cut


@pytest.mark.parametrize("path", PATHS.values())
def test_stream_that_breaks_off_says_so(path: str) -> None:
    body = (anthropic_stream if path == ANTHROPIC else gemini_stream)("Hello there, you", pieces=4).whole
    end = body.rindex(b"message_delta" if path == ANTHROPIC else b"data:")
    assert "it broke off, or is still coming" in answer(body[: end - 8], path)
    assert "broke off" not in answer(body, path)


def test_long_stream_is_read_at_both_ends() -> None:
    text = answer(anthropic_stream("first " + "words " * 40_000 + "last", pieces=8000).whole)
    assert "in the middle were not read" in text
    assert "    first words" in text
    assert "last" in text.splitlines()[-1]
    assert "stop      end_turn" in text


@pytest.mark.parametrize("path", PATHS.values())
def test_errors_are_told_in_words(path: str) -> None:
    body = (
        {"type": "error", "error": {"type": "overloaded_error", "message": "Try later"}}
        if path == ANTHROPIC
        else {"error": {"code": 503, "status": "UNAVAILABLE", "message": "Try later"}}
    )
    kind = "overloaded_error" if path == ANTHROPIC else "UNAVAILABLE"
    assert answer(dump(body), path) == f"error     {kind}: Try later\n"
    begun = anthropic_stream("Hello", pieces=2).whole.split(b"event: message_delta")[0] if path == ANTHROPIC else b""
    streamed = answer(begun + b"data: " + dump(body) + b"\r\n\r\n", path)
    assert f"error     {kind}: Try later\n" in streamed
    assert ("Hello" in streamed) == bool(begun)
    if path == GEMINI:
        # As Google appends it.
        assert f"error     {kind}" in answer(gemini_stream("Hi").whole + dump(body), path)


def test_work_of_a_server_tool_is_shown_under_its_name() -> None:
    call = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "weather"}}
    found = {
        "type": "web_search_result",
        "title": "Weather",
        "url": "https://w.example",
        "encrypted_content": "x" * 900,
    }
    result = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [found]}
    text = answer(dump({"role": "assistant", "content": [call, result], "stop_reason": "end_turn"}))
    assert "    → web_search\n        query: weather\n    ← web_search\n        [Weather https://w.example]\n" in text
