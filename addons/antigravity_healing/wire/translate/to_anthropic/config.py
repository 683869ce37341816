"""The `generationConfig` of a Gemini request as the settings of an Anthropic request."""

from math import isfinite
from typing import Any

from antigravity_healing.wire.anthropic.models import ClaudeModel
from antigravity_healing.wire.translate.common import Body, UntranslatableError, level_of_budget
from antigravity_healing.wire.translate.to_anthropic.draft2020 import modern
from antigravity_healing.wire.translate.to_anthropic.schema import format_schema, json_schema

type Config = dict[str, Any]

_LEAST_BUDGET = 1_024
_BUDGET_OF_LEVEL = {"minimal": _LEAST_BUDGET, "low": 2_048, "medium": 8_192, "high": 24_576, "xhigh": 32_768}
_EFFORT_OF_LEVEL = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh"}
# However much the model thinks right.
_AUTOMATIC = -1
# Answers of forms that the API does not give. What is not here is a hint (`seed`, `mediaResolution`, …), or new.
_REFUSED = ("responseLogprobs", "logprobs", "presencePenalty", "frequencyPenalty", "speechConfig", "translationConfig")


def settings(config: Config, model: ClaudeModel, *, forced: bool, max_tokens: int | None, thinks: bool) -> Config:
    """The settings. Raises UntranslatableError.

    forced: whether the model has to call a tool. max_tokens: for a client that says nothing, None: the highest.
    thinks: whether the settings of thinking may be sent.
    """
    _refuse(config)
    told: Config = {"max_tokens": _max_tokens(config, model, max_tokens)}
    if sequences := config.get("stopSequences"):
        if not isinstance(sequences, list) or not all(isinstance(sequence, str) for sequence in sequences):
            raise UntranslatableError("generationConfig.stopSequences: has to be a list of strings")
        told["stop_sequences"] = sequences
    output: Config = {}
    if thinks:
        thinking, effort = _thinking(config, model, told["max_tokens"], forced=forced)
        told |= {"thinking": thinking} if thinking else {}
        output |= {"effort": effort} if effort else {}
    if told.get("thinking", {}).get("type") not in ("adaptive", "enabled"):
        # Whoever thinks samples in its own way.
        told |= _sampling(config, model)
    if (schema := _schema(config)) is not None:
        output["format"] = {"type": "json_schema", "schema": schema}
    return {**told, "output_config": output} if output else told


def _refuse(config: Config) -> None:
    for name in _REFUSED:
        if config.get(name):
            raise UntranslatableError(f"generationConfig.{name}: has no counterpart in the Messages API")
    if config.get("candidateCount", 1) not in (0, 1):
        raise UntranslatableError("generationConfig.candidateCount: Anthropic gives one candidate only")
    modalities = config.get("responseModalities", [])
    for modality in modalities if isinstance(modalities, list) else [modalities]:
        if str(modality).upper() not in ("TEXT", "MODALITY_UNSPECIFIED"):
            raise UntranslatableError(f"generationConfig.responseModalities: Anthropic gives no {modality}")


def _max_tokens(config: Config, model: ClaudeModel, default: int | None) -> int:
    asked = _number(config, "maxOutputTokens")
    if asked is None:
        return default or model.longest_answer
    if asked < 1:
        raise UntranslatableError("generationConfig.maxOutputTokens: has to be 1 at least")
    return min(int(asked), model.longest_answer)


def _sampling(config: Config, model: ClaudeModel) -> Config:
    if not model.samples:
        return {}
    temperature, top_p, top_k = (_number(config, name) for name in ("temperature", "topP", "topK"))
    sampling: Config = {}
    if temperature is not None:
        sampling["temperature"] = min(1, temperature)
    if top_p is not None and (temperature is None or model.samples_by_both):
        sampling["top_p"] = top_p
    if top_k is not None and top_k >= 1:
        sampling["top_k"] = int(top_k)
    return sampling


def _schema(config: Config) -> Config | None:
    """The JSON schema of the answer, None where its form is free."""
    kind, schema, where = config.get("responseMimeType"), None, "generationConfig"
    for name in ("responseJsonSchema", "responseSchema"):
        if name in config:
            where = f"generationConfig.{name}"
            given = config[name]
            schema = json_schema(given, where) if name == "responseSchema" else given
            break
    formats = config.get("responseFormat", [])
    for index, each in enumerate(formats if isinstance(formats, list) else [formats]):
        where = f"generationConfig.responseFormat[{index}]"
        text = each.get("text") if isinstance(each, dict) else None
        if not isinstance(text, dict) or len(each) > 1:
            raise UntranslatableError(f"{where}: only text has a counterpart in the Messages API")
        kind = text.get("mimeType", kind)
        schema = text.get("schema", text.get("jsonSchema", schema))
    # JSON of any form can't be asked for by a setting; clients say it in their prompt, as Google asks them to.
    if kind not in (None, "", "text/plain", "application/json"):
        raise UntranslatableError(f'generationConfig.responseMimeType: "{kind}" has no counterpart')
    return None if schema is None else format_schema(modern(schema, where), where)


def _thinking(config: Config, model: ClaudeModel, max_tokens: int, *, forced: bool) -> tuple[Config, str]:
    """The setting `thinking`, empty where the API's default is right, and the effort, "" for its default."""
    if model.thinking is None:
        return {}, ""
    off = {"type": "disabled"} if model.disables else {}
    if forced:
        # Refused together. What the client can't do without is the call.
        return off, ""
    asked = config.get("thinkingConfig", {})
    if not isinstance(asked, dict):
        raise UntranslatableError("generationConfig.thinkingConfig: has to be an object")
    level, budget = _asked_level(asked), _number(asked, "thinkingBudget", "thinkingConfig")
    if budget == 0 and off:
        return off, ""
    if not asked and not model.thinks_unasked:
        return {}, ""
    thinking: Config = {"type": model.thinking}
    if asked:
        thinking["display"] = "summarized" if asked.get("includeThoughts") else "omitted"
    if model.thinking == "adaptive":
        return thinking, _effort(level, budget, model)
    if max_tokens <= _LEAST_BUDGET:
        return {}, ""
    if budget is not None and budget > 0:
        wanted = int(budget)
    else:
        # Of an amount that the client does not name, half is left for the answer.
        wanted = min(_BUDGET_OF_LEVEL[level or "medium"], max_tokens // 2)
    return {**thinking, "budget_tokens": max(_LEAST_BUDGET, min(wanted, max_tokens - 1))}, ""


def _asked_level(asked: Config) -> str:
    level = str(asked.get("thinkingLevel") or "").lower()
    if level in ("", "thinking_level_unspecified"):
        return ""
    if level not in _EFFORT_OF_LEVEL:
        raise UntranslatableError(f'generationConfig.thinkingConfig.thinkingLevel: "{level}" has no counterpart')
    return level


def _effort(level: str, budget: float | None, model: ClaudeModel) -> str:
    if level:
        effort = _EFFORT_OF_LEVEL[level]
    elif budget is None or budget == _AUTOMATIC:
        return ""
    else:
        effort = level_of_budget(budget)
    return effort if effort in model.efforts else "high"


def _number(config: Body, name: str, inside: str = "") -> float | None:
    value = config.get(name)
    if value is not None and (not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value)):
        raise UntranslatableError(f"generationConfig.{inside}{'.' if inside else ''}{name}: has to be a number")
    return value
