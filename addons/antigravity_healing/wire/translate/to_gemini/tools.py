"""The tools of an Anthropic request as Gemini tools, and how they are to be used."""

import re
from typing import Any, NamedTuple

from antigravity_healing.wire.gemini.models import GeminiModel
from antigravity_healing.wire.translate.common import (
    Body,
    UntranslatableError,
    gemini_tool_names,
)
from antigravity_healing.wire.translate.to_gemini.schema import gemini_schema

type Tool = dict[str, Any]

_BUILT_IN = {"web_search": "googleSearch", "code_execution": "codeExecution", "web_fetch": "urlContext"}
_BUILT_IN_TYPE = re.compile(rf"({'|'.join(_BUILT_IN)})_\d{{8}}")
# What a server tool must not touch. Its other settings (`max_uses`, `user_location`, …) are hints: how often and from
# where Gemini's own tools look is Gemini's to decide.
_LIMITS = ("allowed_domains", "blocked_domains", "url_sources")
_NAMES = gemini_tool_names()
# Gemini's own tools can't be forced either: where they stand alone, all that can be chosen is to have them.
_FREE: dict[str, Any] = {"mode": "AUTO"}


class GeminiTools(NamedTuple):
    """The members `tools` and `toolConfig` of a request."""

    tools: list[Tool]
    config: dict[str, Any]


class _Declared(NamedTuple):
    """What a request declares. functions: by the client's names. built_in: by the name of Gemini's tool."""

    functions: dict[str, Tool]
    built_in: dict[str, Tool]
    built_in_names: list[str]


def function_name(name: str) -> str:
    """The name by which Gemini knows the client's tool."""
    return _NAMES.there(name)


def gemini_tools(body: Body, model: GeminiModel, *, vertex: bool) -> GeminiTools:
    """The tools. Raises UntranslatableError for one that has no counterpart.

    `disable_parallel_tool_use` is a hint: Gemini calls as many functions at once as it likes.
    """
    declared = _declared(body, vertex=vertex)
    choice = body.get("tool_choice") or {"type": "auto"}
    if not isinstance(choice, dict):
        raise UntranslatableError("tool_choice: Input should be an object")
    if choice.get("type") == "none":
        declared = declared._replace(built_in={}, built_in_names=[])
    _check_mix(declared, model, vertex=vertex)
    tools: list[Tool] = [{name: settings} for name, settings in declared.built_in.items()]
    config: dict[str, Any] = {}
    calling = _calling(choice, declared)
    if declared.functions:
        tools.insert(0, {"functionDeclarations": list(declared.functions.values())})
        # Without a choice the API's default is right; where tools are mixed that is not AUTO, which is refused there.
        if body.get("tool_choice") and not (declared.built_in and calling["mode"] == "AUTO"):
            config["functionCallingConfig"] = calling
        if declared.built_in:
            config["includeServerSideToolInvocations"] = True
    return GeminiTools(tools, config)


def _declared(body: Body, *, vertex: bool) -> _Declared:
    declared = _Declared({}, {}, [])
    tools = body.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise UntranslatableError("tools: Input should be a valid list")
    for index, tool in enumerate(tools or ()):
        where = f"tools.{index}"
        if not isinstance(tool, dict):
            raise UntranslatableError(f"{where}: Input should be an object")
        kind, name = tool.get("type"), tool.get("name")
        if isinstance(kind, str) and (match := _BUILT_IN_TYPE.fullmatch(kind)):
            declared.built_in[_BUILT_IN[match.group(1)]] = _built_in(tool, match.group(1), where, vertex=vertex)
            declared.built_in_names.append(str(name))
        elif kind not in (None, "custom"):
            raise UntranslatableError(
                f'{where}: the tool "{name}" of type "{kind}" has no counterpart in the Gemini API. '
                "What would do is a custom tool with an input_schema."
            )
        elif not isinstance(name, str) or not name:
            raise UntranslatableError(f"{where}.name: Input should be a valid string")
        elif name in declared.functions:
            raise UntranslatableError(f"{where}: Tool names must be unique: {name}")
        else:
            declared.functions[name] = _function(tool, name, where)
    return declared


def _built_in(tool: Tool, kind: str, where: str, *, vertex: bool) -> Tool:
    settings: Tool = {}
    for name in _LIMITS:
        limit = tool.get(name)
        if not limit:
            continue
        if name == "blocked_domains" and kind == "web_search" and vertex:
            settings["excludeDomains"] = limit
        else:
            raise UntranslatableError(
                f'{where}.{name}: the tool "{tool.get("name")}" can\'t be limited so in the Gemini API'
            )
    return settings


def _function(tool: Tool, name: str, where: str) -> Tool:
    """A declaration. Hints are left out: `strict`, `eager_input_streaming`, `input_examples`, `defer_loading`."""
    callers = tool.get("allowed_callers")
    if isinstance(callers, list) and callers and "direct" not in callers:
        raise UntranslatableError(
            f'{where}.allowed_callers: the tool "{name}" is for code that runs on the server, '
            "which can't call functions in the Gemini API"
        )
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise UntranslatableError(f'{where}.input_schema: the tool "{name}" needs a schema that is an object')
    declaration: Tool = {"name": function_name(name)}
    if isinstance(description := tool.get("description"), str) and description:
        declaration["description"] = description
    parameters = gemini_schema(schema, f"{where}.input_schema")
    if "$ref" not in parameters:
        # Also of what may be null: a call always has arguments.
        kinds = parameters.get("type", "object")
        kind = "object" if isinstance(kinds, list) and "object" in kinds else kinds
        parameters = {"type": "object", **parameters} | {"type": kind}
    declaration["parametersJsonSchema"] = parameters
    return declaration


def _check_mix(declared: _Declared, model: GeminiModel, *, vertex: bool) -> None:
    if declared.functions and declared.built_in and (vertex or not model.mixes_tools):
        owner = "Vertex AI" if vertex else "this Gemini model"
        names = ", ".join(f'"{name}"' for name in declared.built_in_names)
        raise UntranslatableError(f"tools: {owner} does not take the server tool {names} beside other tools")


def _calling(choice: dict[str, Any], declared: _Declared) -> dict[str, Any]:
    """The `functionCallingConfig`."""
    match choice.get("type"):
        case "auto":
            return _FREE
        case "none":
            return {"mode": "NONE"}
        case "any" if declared.functions:
            return {"mode": "ANY"}
        case "any" if declared.built_in:
            return _FREE
        case "tool" if isinstance(name := choice.get("name"), str) and name in declared.functions:
            return {"mode": "ANY", "allowedFunctionNames": [function_name(name)]}
        case "tool" if not declared.functions and choice.get("name") in declared.built_in_names:
            return _FREE
        case "any":
            raise UntranslatableError("tool_choice: there is no tool that the Gemini API could be made to use")
        case "tool":
            raise UntranslatableError(
                f'tool_choice.name: there is no tool "{choice.get("name")}" that the Gemini API could be made to use'
            )
    raise UntranslatableError(f'tool_choice.type: "{choice.get("type")}" has no counterpart in the Gemini API')
