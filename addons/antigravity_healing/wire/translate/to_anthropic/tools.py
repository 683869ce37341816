"""The tools of a Gemini request as Anthropic tools, and how they are to be used."""

from collections import Counter
from typing import Any, NamedTuple

from antigravity_healing.wire.gemini.spelling import in_camel_case
from antigravity_healing.wire.translate.common import Body, UntranslatableError, anthropic_tool_names
from antigravity_healing.wire.translate.to_anthropic.property_names import NO_PROPERTIES, PropertyNames
from antigravity_healing.wire.translate.to_anthropic.schema import input_schema, json_schema

type Tool = dict[str, Any]

_SERVERS = {
    "googleSearch": ("web_search", "web_search_20250305"),
    "codeExecution": ("code_execution", "code_execution_20250825"),
    "urlContext": ("web_fetch", "web_fetch_20250910"),
}
_NAMES = anthropic_tool_names()


class AnthropicTools(NamedTuple):
    """The members `tools` and `tool_choice` of a request. choice: None for the API's default, which is `auto`.

    arguments: how the arguments of the client's functions are called, by the functions' names.
    """

    tools: list[Tool]
    choice: dict[str, Any] | None
    arguments: dict[str, PropertyNames]

    @property
    def forced(self) -> bool:
        """Whether the model has to call a tool, which it can't while it thinks."""
        return self.choice is not None and self.choice["type"] in ("any", "tool")


class _Declared(NamedTuple):
    """What a request declares. functions, arguments: by the client's names."""

    functions: dict[str, Tool]
    servers: list[Tool]
    arguments: dict[str, PropertyNames]


def tool_name(name: str) -> str:
    """The name by which Anthropic knows the client's function."""
    return _NAMES.there(name)


def argument_names(body: Body, function: str) -> PropertyNames:
    """How Anthropic knows the arguments of this function, which a request that was translated declares."""
    for tool in _several(body.get("tools", [])):
        for member in ("functionDeclarations", "function_declarations"):
            for each in _several(tool.get(member, []) if isinstance(tool, dict) else []):
                if isinstance(each, dict) and each.get("name") == function:
                    schema, _ = _parameters(in_camel_case(each), "tools")
                    return PropertyNames(schema)
    return NO_PROPERTIES


def anthropic_tools(body: Body) -> AnthropicTools:
    """The tools. Raises UntranslatableError for one that has no counterpart."""
    declared = _declared(body)
    config = body.get("toolConfig", {})
    calling = config.get("functionCallingConfig", {}) if isinstance(config, dict) else None
    if not isinstance(calling, dict):
        raise UntranslatableError("toolConfig: has to be an object with a functionCallingConfig that is one")
    mode = str(calling.get("mode") or "AUTO").upper()
    functions = _allowed(calling, declared)
    match mode:
        # Calls always fit their tool as well as the model can; to force it is not worth the limits on schemas.
        case "AUTO" | "VALIDATED" | "MODE_UNSPECIFIED":
            return AnthropicTools([*functions, *declared.servers], None, declared.arguments)
        case "NONE":
            tools = [*functions, *declared.servers]
            return AnthropicTools(tools, {"type": "none"} if tools else None, declared.arguments)
        case "ANY" if len(functions) == 1 and calling.get("allowedFunctionNames"):
            # Which one is said by its name, so that the tools stay those of the conversation.
            tools = [*declared.functions.values(), *declared.servers]
            return AnthropicTools(tools, {"type": "tool", "name": functions[0]["name"]}, declared.arguments)
        case "ANY" if functions:
            return AnthropicTools(functions, {"type": "any"}, declared.arguments)
        case "ANY":
            raise UntranslatableError("toolConfig: Function calling config is set without function_declarations.")
    raise UntranslatableError(f'toolConfig.functionCallingConfig.mode: "{mode}" has no counterpart')


def _allowed(calling: dict[str, Any], declared: _Declared) -> list[Tool]:
    """The functions that may be called."""
    names = calling.get("allowedFunctionNames")
    if not names:
        return list(declared.functions.values())
    if not isinstance(names, list):
        raise UntranslatableError("toolConfig.functionCallingConfig.allowedFunctionNames: has to be a list")
    for name in names:
        if not isinstance(name, str) or name not in declared.functions:
            raise UntranslatableError(
                f'toolConfig.functionCallingConfig.allowedFunctionNames: there is no function "{name}"'
            )
    return [tool for name, tool in declared.functions.items() if name in names]


def _declared(body: Body) -> _Declared:
    declared = _Declared({}, [], {})
    for index, tool in enumerate(_several(body.get("tools", []))):
        where = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise UntranslatableError(f"{where}: has to be an object")
        for kind, settings in tool.items():
            if kind == "functionDeclarations":
                for number, each in enumerate(_several(settings)):
                    _add_function(each, f"{where}.{kind}[{number}]", declared)
            elif kind in _SERVERS:
                declared.servers.append(_server(kind, settings, where))
            else:
                raise UntranslatableError(f"{where}: the tool {kind} has no counterpart in the Messages API")
    names = Counter(tool["name"] for tool in (*declared.functions.values(), *declared.servers))
    if twice := [name for name, times in names.items() if times > 1]:
        raise UntranslatableError(f"tools: there are several tools with the name {twice[0]}")
    return declared


def _add_function(function: Any, where: str, declared: _Declared) -> None:
    if not isinstance(function, dict):
        raise UntranslatableError(f"{where}: has to be an object")
    name, description = function.get("name"), function.get("description")
    if not isinstance(name, str) or not name:
        raise UntranslatableError(f"{where}.name: has to be a string")
    if name in declared.functions:
        raise UntranslatableError(f"{where}: Duplicate function declaration found: {name}")
    given, at = _parameters(function, where)
    names = PropertyNames(given)
    schema = input_schema(given, at, names)
    # What it returns, and whether it blocks, is for the client to know.
    described = {"description": description} if isinstance(description, str) and description else {}
    declared.functions[name] = {"name": tool_name(name), **described, "input_schema": schema}
    declared.arguments[name] = names


def _parameters(function: dict[str, Any], where: str) -> tuple[Any, str]:
    """The JSON schema of a function's arguments, and its place."""
    if function.get("parametersJsonSchema") is not None:
        return function["parametersJsonSchema"], f"{where}.parametersJsonSchema"
    return json_schema(function.get("parameters"), f"{where}.parameters"), f"{where}.parameters"


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _server(kind: str, settings: Any, where: str) -> Tool:
    name, version = _SERVERS[kind]
    tool: Tool = {"type": version, "name": name}
    limits = settings if isinstance(settings, dict) else {}
    if excluded := limits.get("excludeDomains"):
        tool["blocked_domains"] = excluded
    if limits.get("timeRangeFilter"):
        raise UntranslatableError(f"{where}.{kind}.timeRangeFilter: has no counterpart in the Messages API")
    return tool
