"""Gemini requests as Anthropic requests."""

from typing import Any

import pytest
from antigravity_healing.wire.anthropic.models import claude_model
from antigravity_healing.wire.translate.common import UntranslatableError
from antigravity_healing.wire.translate.to_anthropic.request import count_tokens_to_anthropic, to_anthropic

from tests.support.anthropic_request import check_anthropic_request, check_messages
from tests.support.recorded import Exchange, recorded_params

MODELS = ["claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-5", "claude-opus-5-5", "claude-haiku-5-5"]
ADAPTIVE = {"type": "adaptive", "display": "omitted"}
BUDGET = {"type": "enabled", "display": "omitted"}
HELLO = [{"role": "user", "parts": [{"text": "Hello"}]}]
ANSWER = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}}
LOOK = {"name": "look", "description": "Looks.", "parameters": {"type": "OBJECT", "properties": {}}}


def translated(body: dict[str, Any], model: str = "claude-sonnet-4-5", **options: Any) -> dict[str, Any]:
    request = to_anthropic(body, model, stream=True, **options)
    check_anthropic_request(request)
    return request


def messages(*contents: dict[str, Any]) -> list[dict[str, Any]]:
    request: list[dict[str, Any]] = translated({"contents": list(contents)})["messages"]
    return request


def blocks(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks of a user's parts."""
    content: list[dict[str, Any]] = messages(user(*parts))[0]["content"]
    return content


def user(*parts: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


def model(*parts: dict[str, Any]) -> dict[str, Any]:
    return user(*parts, role="model")


def call(name: str = "look", own: str = "", **args: Any) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": args, **({"id": own} if own else {})}}


def response(name: str = "look", own: str = "", **said: Any) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": said, **({"id": own} if own else {})}}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def config(name: str = "claude-sonnet-4-5", /, **members: Any) -> dict[str, Any]:
    """The request for a generationConfig, without what all requests have."""
    request = translated({"contents": HELLO, "generationConfig": members}, name)
    return {key: value for key, value in request.items() if key not in ("model", "messages", "stream")}


def tools(*given: dict[str, Any], **calling: Any) -> dict[str, Any]:
    return translated(
        {"contents": HELLO, "tools": list(given), "toolConfig": {"functionCallingConfig": calling}},
    )


# Contents.


@pytest.mark.parametrize(
    "exchange",
    recorded_params(lambda each: each.dialect == "gemini" and each.status == 200),
)
@pytest.mark.parametrize("name", MODELS)
def test_recorded_requests_become_valid_ones(exchange: Exchange, name: str) -> None:
    if exchange.path.endswith(":countTokens"):
        check_messages(count_tokens_to_anthropic(exchange.request_json, name)["messages"])
        return
    request = to_anthropic(exchange.request_json, name, stream=exchange.is_stream)
    if request.get("tool_choice", {}).get("type") in ("any", "tool") and not claude_model(name).disables:
        assert "thinking" not in request
    check_anthropic_request(request)
    assert request.get("stream", False) is exchange.is_stream


def test_both_spellings_of_a_request_say_the_same() -> None:
    camel = {
        "systemInstruction": {"parts": [{"text": "Be."}]},
        "contents": [
            user({"inlineData": {"mimeType": "image/png", "data": "aGk="}}),
            model({"functionCall": {"name": "look", "args": {"file_path": 1, "filePath": 2}}}),
            user({"functionResponse": {"name": "look", "response": {"line_count": 3}}}),
        ],
        "tools": [{"functionDeclarations": [{"name": "look", "parametersJsonSchema": {"x_y": 1}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}},
        "generationConfig": {"maxOutputTokens": 7, "stopSequences": ["a_b"], "topP": 0.5},
    }
    snake = {
        "system_instruction": {"parts": [{"text": "Be."}]},
        "contents": [
            user({"inline_data": {"mime_type": "image/png", "data": "aGk="}}),
            model({"function_call": {"name": "look", "args": {"file_path": 1, "filePath": 2}}}),
            user({"function_response": {"name": "look", "response": {"line_count": 3}}}),
        ],
        "tools": [{"function_declarations": [{"name": "look", "parameters_json_schema": {"x_y": 1}}]}],
        "tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["look"]}},
        "generation_config": {"max_output_tokens": 7, "stop_sequences": ["a_b"], "top_p": 0.5},
    }
    request = translated(camel)
    assert translated(snake) == request
    assert request["messages"][1]["content"][0]["input"] == {"file_path": 1, "filePath": 2}
    assert request["messages"][2]["content"][0]["content"] == '{"line_count":3}'
    assert request["tools"][0]["input_schema"]["x_y"] == 1


@pytest.mark.parametrize(
    "contents",
    [
        "Hello",
        {"text": "Hello"},
        ["Hello"],
        [{"text": "Hello"}],
        user({"text": "Hello"}),
        [{"parts": {"text": "Hello"}}],
    ],
)
def test_a_prompt_may_be_written_in_short(contents: Any) -> None:
    assert translated({"contents": contents})["messages"] == [{"role": "user", "content": [text("Hello")]}]


def test_neighbouring_contents_of_one_side_are_one_message() -> None:
    assert messages(user({"text": "a"}), user({"text": "b"}), model({"text": "c"}), model({"text": "d"}), user()) == [
        {"role": "user", "content": [text("a"), text("b")]},
        {"role": "assistant", "content": [text("cd")]},
        {"role": "user", "content": [text("(no text)")]},
    ]


def test_the_parts_of_a_models_text_are_one_block_again_and_thoughts_are_left_out() -> None:
    thought = {"text": "Hm.", "thought": True}
    told = messages(
        user({"text": "a"}),
        model(
            thought, {"text": "b"}, {"text": "c", "thoughtSignature": "x"}, {"text": ""}, call(), thought, {"text": "d"}
        ),
        user(response()),
    )
    kinds = [block.get("text") or block["type"] for block in told[1]["content"]]
    assert kinds == ["bc", "tool_use", "d"]


def test_a_conversation_that_the_model_begins_gets_a_beginning() -> None:
    assert messages(model({"text": "Hi"}), user({"text": "a"}))[0] == {"role": "user", "content": [text("(no text)")]}


def test_what_the_model_is_to_go_on_with_has_no_white_space_at_its_end() -> None:
    assert messages(user({"text": "a"}), model({"text": "b \n"}))[-1]["content"] == [text("b")]


def test_media_become_images_and_documents() -> None:
    def inline(kind: str, data: str = "aGk=") -> dict[str, Any]:
        return {"inlineData": {"mimeType": kind, "data": data}}

    assert [block["source"] for block in blocks(inline("image/jpg", "_-8"), inline("application/pdf"))] == [
        {"type": "base64", "media_type": "image/jpeg", "data": "/+8="},
        {"type": "base64", "media_type": "application/pdf", "data": "aGk="},
    ]
    assert blocks(inline("text/csv; charset=utf-8")) == [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}}
    ]
    files = [{"fileData": {"fileUri": f"https://x.org/{name}"}} for name in ("a.PNG", "b.pdf")]
    assert [(block["type"], block["source"]["url"]) for block in blocks(*files)] == [
        ("image", "https://x.org/a.PNG"),
        ("document", "https://x.org/b.pdf"),
    ]


def test_what_google_ran_and_drew_for_the_model_is_told_in_words() -> None:
    told = messages(
        user({"text": "a"}),
        model(
            {"executableCode": {"language": "PYTHON", "code": "1+1"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
            {"inlineData": {"mimeType": "image/png", "data": "aGkh"}},
            {"toolCall": {"toolType": "X", "args": {}}},
        ),
    )
    assert [block["text"] for block in told[1]["content"]] == [
        "```python\n1+1\n```",
        "[OUTCOME_OK]\n2",
        "[image/png, 3 bytes]",
        '[toolCall: {"toolType":"X","args":{}}]',
    ]


# Calls and responses.


def test_results_come_first_in_the_order_of_their_calls() -> None:
    told = messages(
        user({"text": "a"}),
        model(call("look", "c1"), call("look", "c2"), call("hear"), call("hear", at=2)),
        user({"text": "b"}, response("hear", output="1"), response("look", "c2", result="2")),
        user(response("look", "c1", error="3"), response("hear", x="4"), role="function"),
    )
    calls = [block["id"] for block in told[1]["content"]]
    assert calls[:2] == ["c1", "c2"]
    assert [
        (block.get("tool_use_id"), block.get("content"), block.get("is_error")) for block in told[2]["content"]
    ] == [
        ("c1", "3", True),
        ("c2", "2", None),
        (calls[2], "1", None),
        (calls[3], '{"x":"4"}', None),
        (None, None, None),
    ]


def test_ids_are_legal_unique_and_always_the_same() -> None:
    history = [user({"text": "a"})]
    for own in ("", "ü", "1", "1", "call_3_0"):
        history += [model(call("look", own)), user(response("look", own))]
    told = messages(*history)
    assert told == messages(*history)
    ids = [block["id"] for message in told for block in message["content"] if block["type"] == "tool_use"]
    assert len(set(ids)) == 5
    assert ids[2] == "1"
    # More of the conversation changes nothing in what was there.
    assert messages(*history, model({"text": "b"}))[: len(told)] == told


def test_a_response_with_media_is_a_result_with_blocks() -> None:
    given = response(output="See:")
    given["functionResponse"]["parts"] = [{"inlineData": {"mimeType": "image/png", "data": "aGk="}}]
    content = messages(user({"text": "a"}), model(call()), user(given))[2]["content"]
    assert [block["type"] for block in content[0]["content"]] == ["text", "image"]


@pytest.mark.parametrize(
    "contents",
    [
        [user({"text": "a"}), model(call()), user({"text": "b"})],
        [user({"text": "a"}), model(call(), call()), user(response())],
        [user({"text": "a"}), model(call()), user(response(), response())],
        [user(response())],
    ],
)
def test_calls_without_responses_and_responses_without_calls_are_refused_as_google_does(
    contents: list[dict[str, Any]],
) -> None:
    with pytest.raises(UntranslatableError, match="number of function response parts is equal to the number of"):
        translated({"contents": contents})


def test_the_last_turn_may_end_with_a_call() -> None:
    assert messages(user({"text": "a"}), model(call()))[-1]["content"][0]["type"] == "tool_use"


# Tools.


def test_schemas_of_googles_form_become_json_schemas() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "b": {"type": "INTEGER", "format": "int64", "nullable": True, "minimum": 1},
            "a": {"type": "ARRAY", "items": {"type": "STRING", "enum": ["x"]}, "minItems": "1"},
            "type": {"anyOf": [{"type": "STRING", "format": "date"}], "nullable": True},
        },
        "propertyOrdering": ["a", "b"],
        "required": ["a"],
    }
    [tool] = tools({"functionDeclarations": [{"name": "f", "parameters": schema}]})["tools"]
    assert tool["input_schema"] == {
        "type": "object",
        "properties": {
            "a": {"type": "array", "items": {"type": "string", "enum": ["x"]}, "minItems": 1},
            "b": {"type": ["integer", "null"], "minimum": 1},
            "type": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
        },
        "required": ["a"],
    }
    assert list(tool["input_schema"]["properties"]) == ["a", "b", "type"]


def test_json_schemas_stay_as_they_are_and_a_function_may_have_none() -> None:
    schema = {"type": "object", "additionalProperties": {"const": "TYPE"}, "$defs": {"X": {"$ref": "#"}}}
    declared = [{"name": "f", "parametersJsonSchema": schema}, {"name": "g", "description": "G."}]
    first, second = tools({"functionDeclarations": declared[:1]}, {"functionDeclarations": declared[1:]})["tools"]
    assert first["input_schema"] == schema
    assert second == {"name": "g", "description": "G.", "input_schema": {"type": "object", "properties": {}}}


def test_a_name_that_anthropic_does_not_take_becomes_one_that_it_does_everywhere() -> None:
    name = "mcp.server:tool/ü"
    request = translated(
        {
            "contents": [user({"text": "a"}), model(call(name)), user(response(name))],
            "tools": [{"functionDeclarations": [{"name": name}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [name]}},
        }
    )
    there = request["tools"][0]["name"]
    assert request["tool_choice"] == {"type": "tool", "name": there}
    assert request["messages"][1]["content"][0]["name"] == there


@pytest.mark.parametrize(
    ("calling", "choice", "names"),
    [
        ({}, None, "abc"),
        ({"mode": "AUTO"}, None, "abc"),
        ({"mode": "VALIDATED"}, None, "abc"),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["a"]}, None, "a"),
        ({"mode": "NONE"}, {"type": "none"}, "abc"),
        ({"mode": "ANY"}, {"type": "any"}, "abc"),
        ({"mode": "ANY", "allowedFunctionNames": ["b"]}, {"type": "tool", "name": "b"}, "abc"),
        ({"mode": "any", "allowedFunctionNames": ["a", "b"]}, {"type": "any"}, "ab"),
    ],
)
def test_modes_of_calling_become_choices(calling: dict[str, Any], choice: dict[str, Any] | None, names: str) -> None:
    request = tools({"functionDeclarations": [{"name": name} for name in "abc"]}, **calling)
    assert request.get("tool_choice") == choice
    assert "".join(tool["name"] for tool in request["tools"]) == names


def test_googles_own_tools_become_anthropics() -> None:
    request = tools({"googleSearch": {"excludeDomains": ["x.org"]}}, {"code_execution": {}, "urlContext": {}})
    assert request["tools"] == [
        {"type": "web_search_20250305", "name": "web_search", "blocked_domains": ["x.org"]},
        {"type": "code_execution_20250825", "name": "code_execution"},
        {"type": "web_fetch_20250910", "name": "web_fetch"},
    ]


# Settings.


def test_without_settings_the_model_does_as_it_does_by_itself() -> None:
    assert config("claude-sonnet-4-5") == {"max_tokens": 64_000}
    assert config("claude-opus-4-6") == {"max_tokens": 128_000}
    # What it thinks by itself is put back into the history only where the request says that it thinks.
    assert config("claude-opus-5-5") == {"max_tokens": 128_000, "thinking": {"type": "adaptive"}}
    request = to_anthropic({"contents": HELLO}, "claude-opus-4-6", stream=False, max_tokens=9)
    assert request["max_tokens"] == 9
    assert "stream" not in request


@pytest.mark.parametrize(
    ("name", "asked", "thinking", "effort"),
    [
        ("claude-opus-5-5", {"thinkingLevel": "LOW"}, ADAPTIVE, "low"),
        ("claude-opus-5-5", {"thinkingLevel": "XHIGH"}, ADAPTIVE, "xhigh"),
        ("claude-opus-4-6", {"thinkingLevel": "xhigh"}, ADAPTIVE, "high"),
        ("claude-opus-5", {"includeThoughts": True}, {"type": "adaptive", "display": "summarized"}, None),
        ("claude-opus-5", {"thinkingBudget": -1}, ADAPTIVE, None),
        ("claude-opus-5", {"thinkingBudget": 8000}, ADAPTIVE, "medium"),
        ("claude-opus-5", {"thinkingBudget": 0}, {"type": "disabled"}, None),
        ("claude-opus-5-5", {"thinkingBudget": 0}, ADAPTIVE, "low"),
        ("claude-sonnet-4-5", {"thinkingBudget": 0}, {"type": "disabled"}, None),
        ("claude-sonnet-4-5", {"thinkingBudget": 7}, {**BUDGET, "budget_tokens": 1024}, None),
        ("claude-sonnet-4-5", {"thinkingBudget": 10**9}, {**BUDGET, "budget_tokens": 3999}, None),
        ("claude-sonnet-4-5", {"thinkingLevel": "high"}, {**BUDGET, "budget_tokens": 2000}, None),
        ("claude-3-5-haiku-latest", {"thinkingLevel": "high"}, None, None),
    ],
)  # fmt: skip
def test_thinking_is_asked_for_as_the_model_takes_it(
    name: str, asked: dict[str, Any], thinking: dict[str, Any] | None, effort: str | None
) -> None:
    request = to_anthropic(
        {"contents": HELLO, "generationConfig": {"thinkingConfig": asked, "maxOutputTokens": 4000}}, name, stream=True
    )
    assert request.get("thinking") == thinking
    assert request.get("output_config", {}).get("effort") == effort
    left = to_anthropic(
        {"contents": HELLO, "generationConfig": {"thinkingConfig": asked}}, name, stream=True,
        without=frozenset(("thinking",)),
    )  # fmt: skip
    assert not left.keys() & {"thinking", "output_config"}


def test_answers_that_are_too_short_for_thinking_do_without() -> None:
    assert "thinking" not in config(maxOutputTokens=1024, thinkingConfig={"thinkingLevel": "HIGH"})


def test_a_call_that_the_client_can_not_do_without_turns_thinking_off() -> None:
    body = {
        "contents": HELLO,
        "tools": [{"functionDeclarations": [LOOK]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        "generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}, "temperature": 0.5},
    }
    request = translated(body, "claude-opus-4-6")
    assert (request["thinking"], request["temperature"]) == ({"type": "disabled"}, 0.5)
    assert "thinking" not in translated(body, "claude-opus-5-5")


def test_sampling_is_told_only_to_models_that_take_it() -> None:
    given = {"temperature": 1.5, "topP": 0.9, "topK": 40.0}
    asked = {"max_tokens": 1, "temperature": 1, "top_k": 40}
    assert config("claude-sonnet-4-5", maxOutputTokens=1, **given) == asked
    assert config("claude-sonnet-4-0", maxOutputTokens=1, **given) == {**asked, "top_p": 0.9}
    assert config("claude-sonnet-4-5", maxOutputTokens=1, topP=0.9) == {"max_tokens": 1, "top_p": 0.9}
    assert not config("claude-opus-4-7", **given).keys() & {"temperature", "top_p", "top_k"}
    thinking = config("claude-sonnet-4-5", thinkingConfig={"thinkingBudget": -1}, **given)
    assert not thinking.keys() & {"temperature", "top_p", "top_k"}


def test_limits_are_those_of_the_model() -> None:
    assert config(maxOutputTokens=10**9, stopSequences=["x"]) == {"max_tokens": 64_000, "stop_sequences": ["x"]}


@pytest.mark.parametrize(
    "asked",
    [
        {"responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "INTEGER", "minimum": 1}}}},
        {"responseJsonSchema": {**ANSWER, "$schema": "x", "additionalProperties": True}},
        {"responseFormat": [{"text": {"mimeType": "application/json", "schema": ANSWER}}]},
    ],
)
def test_schemas_of_the_answer_are_closed_and_what_they_can_not_say_is_told_in_words(asked: dict[str, Any]) -> None:
    given = config(responseMimeType="application/json", **asked)["output_config"]["format"]
    assert given == {
        "type": "json_schema",
        "schema": {
            "type": "object",
            "properties": {"a": {"type": "integer", "description": "{minimum: 1}"}},
            "additionalProperties": False,
        },
    }


@pytest.mark.parametrize("keyword", ["$defs", "definitions"])
def test_what_a_schema_of_the_answer_refers_to_is_closed_too(keyword: str) -> None:
    reference = {"$ref": f"#/{keyword}/X", "description": "One."}
    schema = {"type": "object", "properties": {"a": reference}, keyword: {"X": ANSWER}}
    given = config(responseJsonSchema=schema)["output_config"]["format"]["schema"]
    assert given["properties"]["a"] == {"$ref": f"#/{keyword}/X"}
    assert given[keyword]["X"]["additionalProperties"] is False


def test_json_without_a_schema_is_left_to_the_prompt() -> None:
    assert "output_config" not in config(responseMimeType="application/json")


# What has no counterpart.


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"contents": []}, "contents is not specified"),
        ({}, "contents is not specified"),
        ({"contents": [{"role": "system", "parts": []}]}, "contents.0..role"),
        ({"contents": [user({"inlineData": {"mimeType": "video/mp4", "data": ""}})]}, "video/mp4"),
        ({"contents": [user({"fileData": {"fileUri": "gs://b/x.png", "mimeType": "image/png"}})]}, "gs://b/x.png"),
        ({"contents": [user({"somethingNew": 1})]}, "somethingNew"),
        ({"contents": [user(call())]}, "contents.0..parts.0."),
        ({"contents": [model(response())]}, "contents.0..parts.0."),
        ({"contents": HELLO, "cachedContent": "cachedContents/x"}, "cachedContent"),
        ({"contents": HELLO, "continuationToken": "x"}, "continuationToken"),
        ({"contents": HELLO, "tools": [{"googleMaps": {}}]}, "googleMaps"),
        ({"contents": HELLO, "tools": [{"computer_use": {}}]}, "computerUse"),
        ({"contents": HELLO, "tools": [{"functionDeclarations": [LOOK, LOOK]}]}, "look"),
        ({"contents": HELLO, "generationConfig": {"candidateCount": 2}}, "candidateCount"),
        ({"contents": HELLO, "generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}}, "IMAGE"),
        ({"contents": HELLO, "generationConfig": {"responseLogprobs": True}}, "responseLogprobs"),
        ({"contents": HELLO, "generationConfig": {"presencePenalty": 0.5}}, "presencePenalty"),
        ({"contents": HELLO, "generationConfig": {"responseMimeType": "text/x.enum"}}, "text/x.enum"),
        ({"contents": HELLO, "generationConfig": {"temperature": float("nan")}}, "temperature"),
        ({"contents": HELLO, "generationConfig": {"responseSchema": {"type": "OBJECT"}}}, "any name"),
        ({"contents": HELLO, "toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, "function_declarations"),
    ],
)
def test_what_has_no_counterpart_is_refused_by_its_name(body: dict[str, Any], named: str) -> None:
    with pytest.raises(UntranslatableError, match=named):
        translated(body)


def test_hints_are_no_reason_to_refuse() -> None:
    hints = {"seed": 7, "presencePenalty": 0, "candidateCount": 1, "responseModalities": ["TEXT"], "logprobs": None}
    body = {"contents": HELLO, "safetySettings": [{}], "labels": {"a_b": "c"}, "generationConfig": hints}
    assert translated(body).keys() == {"model", "max_tokens", "messages", "stream"}


# Counting.


def test_a_count_is_of_what_the_request_says() -> None:
    body = {
        "systemInstruction": "Be.",
        "contents": HELLO,
        "tools": [{"functionDeclarations": [LOOK]}],
        "generationConfig": {"maxOutputTokens": 7, "temperature": 1},
    }
    request = translated(body)
    counted = {name: request[name] for name in ("model", "system", "messages", "tools")}
    assert count_tokens_to_anthropic(body, "claude-sonnet-4-5") == counted
    inner = {"generate_content_request": {"model": "models/x", **body}}
    assert count_tokens_to_anthropic(inner, "claude-sonnet-4-5") == counted


# Models.


@pytest.mark.parametrize(
    ("name", "thinking", "samples", "disables", "longest"),
    [
        ("claude-3-haiku-20240307", None, True, True, 4_096),
        ("claude-3-5-sonnet-20241022", None, True, True, 8_192),
        ("claude-3-7-sonnet-latest", "enabled", True, True, 64_000),
        ("claude-opus-4-20250514", "enabled", True, True, 32_000),
        ("claude-sonnet-4@20250514", "enabled", True, True, 64_000),
        ("anthropic.claude-opus-4-1-20250805-v1:0", "enabled", True, True, 32_000),
        ("claude-haiku-4-5-20251001", "enabled", True, True, 64_000),
        ("claude-opus-4-6", "adaptive", True, True, 128_000),
        ("claude-opus-4-7", "adaptive", False, True, 128_000),
        ("claude-sonnet-5", "adaptive", False, True, 128_000),
        ("claude-sonnet-5-5", "adaptive", False, False, 128_000),
        ("claude-haiku-5-5", "adaptive", False, True, 128_000),
        ("claude-fable-5", "adaptive", False, False, 128_000),
        ("claude-mythos-preview", "adaptive", False, False, 64_000),
    ],
)
def test_a_models_name_tells_what_it_takes(
    name: str, thinking: str | None, samples: bool, disables: bool, longest: int
) -> None:
    known = claude_model(name)
    assert (known.thinking, known.samples, known.disables, known.longest_answer) == (
        thinking, samples, disables, longest,
    )  # fmt: skip


def test_a_response_that_comes_twice_counts_once() -> None:
    call = {"functionCall": {"id": "c1", "name": "look", "args": {}}}
    response = {"functionResponse": {"id": "c1", "name": "look", "response": {"output": "seen"}}}
    contents = [
        {"role": "user", "parts": [{"text": "x"}]},
        {"role": "model", "parts": [call]},
        {"role": "user", "parts": [response, response]},
    ]
    made = to_anthropic({"contents": contents}, "claude-sonnet-4-5", stream=False)
    assert [block["type"] for block in made["messages"][-1]["content"]] == ["tool_result"]
    other = {"functionResponse": {**response["functionResponse"], "response": {"output": "something else"}}}
    with pytest.raises(UntranslatableError):
        to_anthropic(
            {"contents": [*contents[:2], {"role": "user", "parts": [response, other]}]},
            "claude-sonnet-4-5",
            stream=False,
        )


IN_CAPITALS = {
    "type": "OBJECT",
    "properties": {
        "type": {"type": "STRING", "enum": ["STRING", "OBJECT"]},
        "list": {"type": ["ARRAY", "NULL"], "items": {"anyOf": [{"type": "INTEGER"}, {"type": "String"}]}},
    },
    "default": {"type": "STRING"},
}
IN_SMALL_LETTERS = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["STRING", "OBJECT"]},
        "list": {"type": ["array", "null"], "items": {"anyOf": [{"type": "integer"}, {"type": "string"}]}},
    },
    "default": {"type": "STRING"},
}


def test_types_in_capitals_are_known_in_json_schemas_too() -> None:
    """Gemini CLI writes them so in `responseJsonSchema`."""
    tool = {"functionDeclarations": [{"name": "look", "parametersJsonSchema": IN_CAPITALS}]}
    answer = {"type": "OBJECT", "properties": {"score": {"type": "INTEGER"}}, "required": ["score"]}
    body = {
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
        "tools": [tool],
        "generationConfig": {"responseMimeType": "application/json", "responseJsonSchema": answer},
    }
    made = to_anthropic(body, "claude-sonnet-4-5", stream=False)
    assert made["tools"][0]["input_schema"] == IN_SMALL_LETTERS
    schema = made["output_config"]["format"]["schema"]
    assert (schema["type"], schema["properties"]) == ("object", {"score": {"type": "integer"}})
