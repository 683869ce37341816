"""The settings of an Anthropic request as Gemini's `generationConfig`."""

from typing import Any

from antigravity_healing.wire.gemini.models import GeminiModel
from antigravity_healing.wire.json.value import objects_at
from antigravity_healing.wire.translate.common import Body, UntranslatableError, level_of_budget
from antigravity_healing.wire.translate.to_gemini.schema import gemini_schema

type Config = dict[str, Any]

_MOST_STOP_SEQUENCES = 5
_SAMPLING = {"temperature": "temperature", "top_p": "topP", "top_k": "topK"}
_LEVELS = ("minimal", "low", "medium", "high")
# There is none above the highest that all models have.
_LEVEL_OF_EFFORT = {"low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_THINKS = ("enabled", "adaptive", "between_tools")


def generation_config(body: Body, model: GeminiModel, without: frozenset[str]) -> Config:
    """The `generationConfig`.

    without: may have `thinking_level` (no level but low) and `thinking_level_low` (not that one either).
    Raises UntranslatableError.
    """
    config = _limits(body, model)
    if model.samples:
        for name, there in _SAMPLING.items():
            if (value := body.get(name)) is not None:
                config[there] = _number(value, name)
    config |= _format(body)
    if thinking := _thinking(body, model, without):
        config["thinkingConfig"] = thinking
    return config


def _limits(body: Body, model: GeminiModel) -> Config:
    config: Config = {}
    longest = body.get("max_tokens")
    if longest is not None:
        if not isinstance(longest, int) or isinstance(longest, bool) or longest < 1:
            raise UntranslatableError("max_tokens: the Gemini API takes integers from 1 on")
        config["maxOutputTokens"] = min(longest, model.longest_answer or longest)
    sequences = body.get("stop_sequences")
    if sequences is not None:
        if not isinstance(sequences, list) or not all(isinstance(sequence, str) for sequence in sequences):
            raise UntranslatableError("stop_sequences: Input should be a list of strings")
        if len(sequences) > _MOST_STOP_SEQUENCES:
            raise UntranslatableError(
                f"stop_sequences: the Gemini API takes {_MOST_STOP_SEQUENCES} at most, not {len(sequences)}"
            )
        if sequences:
            config["stopSequences"] = sequences
    return config


def _number(value: Any, name: str) -> int | float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise UntranslatableError(f"{name}: Input should be a valid number")
    return value


def _output(body: Body) -> dict[str, Any]:
    output = body.get("output_config") or {}
    if not isinstance(output, dict):
        raise UntranslatableError("output_config: Input should be an object")
    return output


def _format(body: Body) -> Config:
    # `output_format` is how the field was called while it was a beta.
    where, wanted = "output_config.format", _output(body).get("format")
    if wanted is None:
        where, wanted = "output_format", body.get("output_format")
    if wanted is None:
        return {}
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        raise UntranslatableError(f"{where}: only the type json_schema has a counterpart in the Gemini API")
    schema = wanted.get("schema")
    if not isinstance(schema, dict):
        raise UntranslatableError(f"{where}.schema: Input should be an object")
    return {"responseMimeType": "application/json", "responseJsonSchema": gemini_schema(schema, f"{where}.schema")}


def _thinking(body: Body, model: GeminiModel, without: frozenset[str]) -> Config:
    """The `thinkingConfig`, empty where the model is to do as it does by itself."""
    setting = body.get("thinking") or {}
    if not isinstance(setting, dict):
        raise UntranslatableError("thinking: Input should be an object")
    kind = setting.get("type")
    if (setting and kind != "disabled" and kind not in _THINKS) or (kind == "enabled" and not _is_budget(setting)):
        raise UntranslatableError(f'thinking: type "{kind}" has no counterpart in the Gemini API, or lacks its budget')
    config: Config = {}
    if model.levels:
        level = _level(setting, _effort(body), model, without)
        config = {"thinkingLevel": level} if level else {}
    elif model.budgets and kind == "disabled":
        config = {"thinkingBudget": model.budgets.off}
    elif model.budgets and kind == "enabled":
        budget = max(model.budgets.least, min(model.budgets.most, setting["budget_tokens"]))
        config = {"thinkingBudget": budget}
    elif model.budgets and kind:
        # However much the model thinks right.
        config = {"thinkingBudget": -1}
    if kind in _THINKS and (model.levels or model.budgets):
        config["includeThoughts"] = setting.get("display") != "omitted"
    return config


def _is_budget(setting: dict[str, Any]) -> bool:
    budget = setting.get("budget_tokens")
    return isinstance(budget, int) and not isinstance(budget, bool)


def _level(setting: dict[str, Any], effort: str, model: GeminiModel, without: frozenset[str]) -> str:
    """The `thinkingLevel`, "" where the model's own is right."""
    if setting.get("type") == "disabled":
        level = model.levels[0]
    elif effort:
        level = _at_least(_LEVEL_OF_EFFORT[effort], model)
    elif setting.get("type") == "enabled":
        level = _at_least(level_of_budget(setting["budget_tokens"]), model)
    else:
        return ""
    if "thinking_level" in without:
        return "" if "thinking_level_low" in without else "low"
    return level


def _at_least(wanted: str, model: GeminiModel) -> str:
    return next(level for level in model.levels if _LEVELS.index(level) >= _LEVELS.index(wanted))


def _effort(body: Body) -> str:
    """The effort for the answer, "" where none is asked for: what a `system` message says holds for its turn."""
    effort, where = _output(body).get("effort"), "output_config.effort"
    messages = objects_at(body, "messages")
    for index in range(len(messages) - 1, -1, -1):
        role, own = messages[index].get("role"), messages[index].get("output_config")
        if role == "assistant":
            break
        if role == "system" and isinstance(own, dict) and own.get("effort") is not None:
            effort, where = own["effort"], f"messages.{index}.output_config.effort"
            break
    if effort is None:
        return ""
    if not isinstance(effort, str) or effort not in _LEVEL_OF_EFFORT:
        raise UntranslatableError(f'{where}: "{effort}" has no counterpart in the Gemini API')
    return effort
