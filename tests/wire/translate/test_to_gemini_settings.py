import pytest
from antigravity_healing.wire.translate.common import Body

from tests.wire.translate.asking import (
    FETCH,
    LOOK,
    PRO,
    RUN,
    SEARCH,
    assistant,
    config,
    refusal,
    request,
    thinking,
    user,
)

# Tools.


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, {"mode": "AUTO"}),
        ({"type": "any"}, {"mode": "ANY"}),
        ({"type": "tool", "name": "look"}, {"mode": "ANY", "allowedFunctionNames": ["look"]}),
        ({"type": "none"}, {"mode": "NONE"}),
        (None, None),
    ],
)
def test_tool_choice(choice: Body | None, expected: Body | None) -> None:
    body = request(user("x"), tools=[LOOK], tool_choice=choice)
    assert body.get("toolConfig", {}).get("functionCallingConfig") == expected


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "look"}])
def test_one_call_at_a_time_is_a_hint(choice: Body) -> None:
    hinted = request(user("x"), tools=[LOOK], tool_choice={**choice, "disable_parallel_tool_use": True})
    assert hinted == request(user("x"), tools=[LOOK], tool_choice=choice)


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "web_search"}])
def test_a_server_tool_that_stands_alone_can_be_chosen(choice: Body) -> None:
    body = request(user("x"), tools=[SEARCH], tool_choice=choice)
    assert body["tools"] == [{"googleSearch": {}}]
    assert "toolConfig" not in body


@pytest.mark.parametrize("model", ["gemini-2.5-pro", PRO])
@pytest.mark.parametrize("vertex", [False, True])
def test_server_tools_alone_are_geminis_own(model: str, vertex: bool) -> None:
    body = request(user("x"), model=model, vertex=vertex, tools=[SEARCH, RUN, FETCH], tool_choice={"type": "auto"})
    assert body["tools"] == [{"googleSearch": {}}, {"codeExecution": {}}, {"urlContext": {}}]
    assert "toolConfig" not in body


def test_server_tools_stand_beside_functions_from_3_on() -> None:
    body = request(user("x"), tools=[SEARCH, LOOK], tool_choice={"type": "auto"})
    assert [next(iter(tool)) for tool in body["tools"]] == ["functionDeclarations", "googleSearch"]
    assert body["toolConfig"] == {"includeServerSideToolInvocations": True}
    body = request(user("x"), tools=[SEARCH, LOOK], tool_choice={"type": "any"})
    assert body["toolConfig"] == {
        "functionCallingConfig": {"mode": "ANY"},
        "includeServerSideToolInvocations": True,
    }


@pytest.mark.parametrize(("model", "vertex"), [("gemini-2.5-pro", False), (PRO, True)])
def test_elsewhere_they_are_refused_by_name(model: str, vertex: bool) -> None:
    assert '"web_search"' in refusal(user("x"), model=model, vertex=vertex, tools=[SEARCH, LOOK])


def test_no_tool_at_all_means_no_server_tool_either() -> None:
    body = request(user("x"), model="gemini-2.5-pro", tools=[SEARCH, LOOK], tool_choice={"type": "none"})
    assert [next(iter(tool)) for tool in body["tools"]] == ["functionDeclarations"]


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
        {"type": "memory_20250818", "name": "memory"},
        {"type": "computer_20251124", "name": "computer"},
        {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
        {"type": "advisor_20260301", "name": "advisor"},
        {"type": "brand_new", "name": "new"},
    ],
)
def test_tools_without_a_counterpart_are_refused_by_name(tool: Body) -> None:
    message = refusal(user("x"), tools=[LOOK, tool])
    assert message.startswith(f'tools.1: the tool "{tool["name"]}" of type "{tool["type"]}"')


def test_a_server_tools_limits_are_kept_or_refused() -> None:
    assert "tools.0.allowed_domains" in refusal(tools=[{**SEARCH, "allowed_domains": ["a"]}])
    assert "tools.0.blocked_domains" in refusal(tools=[{**SEARCH, "blocked_domains": ["a"]}])
    assert "tools.0.blocked_domains" in refusal(tools=[{**FETCH, "blocked_domains": ["a"]}], vertex=True)
    blocked = request(user("x"), tools=[{**SEARCH, "blocked_domains": ["a"], "allowed_domains": None}], vertex=True)
    assert blocked["tools"] == [{"googleSearch": {"excludeDomains": ["a"]}}]
    hinted = request(user("x"), tools=[{**SEARCH, "max_uses": 3, "user_location": {"type": "approximate"}}])
    assert hinted["tools"] == [{"googleSearch": {}}]


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, {"type": "object", "properties": {}}])
def test_a_tool_may_have_no_properties(schema: Body) -> None:
    [tool] = request(user("x"), tools=[{"name": "look", "type": "custom", "input_schema": schema, "strict": True}])[
        "tools"
    ]
    [declaration] = tool["functionDeclarations"]
    assert declaration == {"name": "look", "parametersJsonSchema": {"type": "object", **schema}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": [{"name": "look"}]}, "tools.0.input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name"),
        ({"tools": [LOOK, LOOK]}, "Tool names must be unique: look"),
        ({"tools": [{**LOOK, "allowed_callers": ["code_execution_20250825"]}]}, "tools.0.allowed_callers"),
        ({"tools": [LOOK], "tool_choice": {"type": "tool", "name": "other"}}, 'no tool "other"'),
        ({"tools": [SEARCH], "tool_choice": {"type": "tool", "name": "other"}}, 'no tool "other"'),
        ({"tools": [SEARCH, LOOK], "tool_choice": {"type": "tool", "name": "web_search"}}, 'no tool "web_search"'),
        ({"tool_choice": {"type": "any"}}, "tool_choice"),
        ({"tools": [LOOK], "tool_choice": {"type": "new"}}, 'tool_choice.type: "new"'),
    ],
)
def test_tools_that_are_none_are_refused(fields: Body, message: str) -> None:
    assert message in refusal(**fields)


# Settings.


def test_limits_and_sampling() -> None:
    fields: Body = {"max_tokens": 7, "stop_sequences": ["a", "b"], "temperature": 0, "top_p": 0.5, "top_k": 3}
    limits = {"maxOutputTokens": 7, "stopSequences": ["a", "b"]}
    assert config(**fields) == {**limits, "temperature": 0, "topP": 0.5, "topK": 3}
    assert config("gemini-4-argon", **fields) == limits


@pytest.mark.parametrize(
    ("model", "most"),
    [("gemini-2.0-flash", 8192), ("gemini-2.5-pro", 65536), (PRO, 65536), ("gemini-4-argon", 128_000)],
)
def test_no_more_is_asked_for_than_the_model_can_give(model: str, most: int) -> None:
    assert config(model, max_tokens=128_000)["maxOutputTokens"] == most


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stop_sequences": list("abcdef")}, "stop_sequences: the Gemini API takes 5 at most, not 6"),
        ({"stop_sequences": [1]}, "stop_sequences: Input should be a list of strings"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"thinking": {"type": "new"}}, 'thinking: type "new"'),
        ({"thinking": {"type": "enabled"}}, "lacks its budget"),
        ({"output_config": {"effort": "new"}}, 'output_config.effort: "new"'),
        ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"type": "url"}]}, "mcp_servers"),
        ({"messages": []}, "messages: at least one message is required"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
        ({"messages": ["x"]}, "messages.0"),
    ],
)
def test_settings_without_a_counterpart_are_refused_by_name(fields: Body, message: str) -> None:
    assert message in refusal(**fields)


def test_hints_and_fields_that_nobody_knows_yet_are_left_out() -> None:
    plain = request(user("x"))
    hints: Body = {
        "stream": True,
        "metadata": {"user_id": "u"},
        "cache_control": {"type": "ephemeral"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
        "betas": ["b"],
        "service_tier": "auto",
        "speed": "fast",
        "mcp_servers": [],
        "brand_new": {"a": 1},
    }
    assert request(user("x"), **hints) == plain


SCHEMA = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}


@pytest.mark.parametrize("field", ["output_config", "output_format"])
def test_a_format_is_a_response_schema(field: str) -> None:
    wanted = {"type": "json_schema", "schema": SCHEMA}
    fields: Body = {field: {"format": wanted} if field == "output_config" else wanted}
    found = config(**fields)
    assert found["responseMimeType"] == "application/json"
    assert found["responseJsonSchema"] == {**SCHEMA, "properties": {"a": {"enum": [1]}}}


ADAPTIVE = {"type": "adaptive"}


def enabled(budget: int) -> Body:
    return {"type": "enabled", "budget_tokens": budget}


def shown(setting: Body) -> Body:
    return {**setting, "includeThoughts": True}


@pytest.mark.parametrize(
    ("model", "setting", "expected"),
    [
        ("gemini-2.5-pro", None, None),
        ("gemini-2.5-pro", enabled(5000), shown({"thinkingBudget": 5000})),
        ("gemini-2.5-pro", enabled(99_999), shown({"thinkingBudget": 32_768})),
        ("gemini-2.5-flash", enabled(99_999), shown({"thinkingBudget": 24_576})),
        ("gemini-2.5-flash", ADAPTIVE, shown({"thinkingBudget": -1})),
        ("gemini-2.5-flash", {"type": "disabled"}, {"thinkingBudget": 0}),
        ("gemini-2.5-pro", {"type": "disabled"}, {"thinkingBudget": 128}),
        ("gemini-2.0-flash", ADAPTIVE, None),
        (PRO, None, None),
        (PRO, ADAPTIVE, shown({})),
        (PRO, {**ADAPTIVE, "display": "omitted"}, {"includeThoughts": False}),
        (PRO, {**ADAPTIVE, "display": "summarized"}, shown({})),
        (PRO, {"type": "disabled"}, {"thinkingLevel": "low"}),
        ("gemini-3-flash-preview", {"type": "disabled"}, {"thinkingLevel": "minimal"}),
        ("gemini-3.8-flash", {"type": "disabled"}, {"thinkingLevel": "low"}),
        ("gemini-3.8-flash", enabled(1024), shown({"thinkingLevel": "low"})),
        ("gemini-3.8-flash", enabled(10_000), shown({"thinkingLevel": "medium"})),
        ("gemini-3.8-flash", enabled(32_000), shown({"thinkingLevel": "high"})),
        (PRO, enabled(10_000), shown({"thinkingLevel": "high"})),
    ],
)  # fmt: skip
def test_thinking(model: str, setting: Body | None, expected: Body | None) -> None:
    assert thinking(model, thinking=setting) == expected


@pytest.mark.parametrize(
    ("effort", "level"), [("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "high"), ("max", "high")]
)
def test_effort_is_a_level_from_3_on(effort: str, level: str) -> None:
    output = {"effort": effort}
    assert thinking("gemini-3.8-flash", output_config=output) == {"thinkingLevel": level}
    assert thinking("gemini-3.8-flash", output_config=output, thinking=ADAPTIVE) == {
        "thinkingLevel": level,
        "includeThoughts": True,
    }
    assert thinking("gemini-2.5-pro", output_config=output, thinking=ADAPTIVE) == {
        "thinkingBudget": -1,
        "includeThoughts": True,
    }


def test_a_system_message_says_the_effort_of_its_turn() -> None:
    system = {"role": "system", "output_config": {"effort": "low"}}
    output = {"effort": "high"}
    body = request(user("x"), system, model="gemini-3.8-flash", output_config=output)
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "low"}
    body = request(user("x"), system, assistant("y"), user("z"), model="gemini-3.8-flash", output_config=output)
    assert body["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "high"}


def test_a_level_that_is_not_taken_becomes_low_and_then_none() -> None:
    fields: Body = {"thinking": ADAPTIVE, "output_config": {"effort": "high"}}
    once, twice = frozenset({"thinking_level"}), frozenset({"thinking_level", "thinking_level_low"})
    assert thinking(**fields, without=once) == {"thinkingLevel": "low", "includeThoughts": True}
    assert thinking(**fields, without=twice) == {"includeThoughts": True}
