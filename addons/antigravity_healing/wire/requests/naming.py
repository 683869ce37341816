"""Which models a request names, wherever it does, and whether it names them for certain."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from antigravity_healing.wire.http.paths import decoded
from antigravity_healing.wire.json.parts import parse_in_parts
from antigravity_healing.wire.json.span import has_twice
from antigravity_healing.wire.json.value import MOST_VALUES, is_short, parse

_MODEL = "model"
# Under these stands what is said and what is described, in which anything may be called a model.
_CONTENT = frozenset(
    (
        "args", "const", "content", "contents", "default", "enum", "example", "examples", "input", "input_schema",
        "inputSchema", "instances", "labels", "messages", "metadata", "parameters", "parametersJsonSchema",
        "properties", "prompt", "response", "responseJsonSchema", "responseSchema", "schema", "system",
        "systemInstruction", "system_instruction",
    )
)  # fmt: skip
_NAMES = frozenset(
    ("model", "models", "modelid", "modelname", "basemodel", "fallbackmodel", "fallbackmodels", "fallbacks")
)
_IN_PATH = re.compile(r".*/(models|tunedmodels|endpoints|dynamic)/(.+)", re.IGNORECASE | re.DOTALL)
_BEHIND_MODEL = re.compile(r"(?::\w+|/operations/.*)$")
# Files and what is made of them: these requests name no model, and their bodies are no JSON.
_UPLOAD = re.compile(r"/upload/.+|/v1/(?:files|skills)(?:/.*)?")
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


class DoubtError(ValueError):
    """What a body says is not certain; the text says why, and what would be."""


class _Members(list[tuple[str, Any]]):
    """The members of an object, also those whose names come twice."""


def read_certainly(body: bytes) -> Any:
    """What a body says, if all who read it agree on that and on the model that it names.

    Raises DoubtError.
    """
    value = parse_certainly(body)
    if not isinstance(value, dict):
        return value
    if any(name != _MODEL and name.casefold() == _MODEL for name in value):
        raise DoubtError('the body has a member that is "model" but for upper and lower case')
    if _MODEL in value and has_twice(body, _MODEL):
        raise DoubtError('the body names "model" more than once')
    return value


def parse_certainly(body: bytes) -> Any:
    """What a body says, if it is JSON in UTF-8 to all who read it. Raises DoubtError."""
    if body.startswith(_BOMS):
        raise DoubtError("the body begins with a byte order mark; JSON is sent in UTF-8 and without one")
    if b"\0" in body[:4]:
        raise DoubtError("the body is not UTF-8; JSON is sent in that encoding")
    try:
        return parse(body)
    except UnicodeDecodeError:
        raise DoubtError("the body is not UTF-8; JSON is sent in that encoding") from None
    except ValueError as error:
        # What orjson and json say holds no more of the body than a position.
        raise DoubtError(f"the body is not JSON: {error}") from None


def all_members(body: bytes) -> Any:
    """What a body says, with every member of its objects also where a name comes twice. For `models_in` only.

    Raises DoubtError.
    """
    parse_certainly(body)
    try:
        return _all_members(body) if is_short(body) else parse_in_parts(body, _all_members, MOST_VALUES)
    except (ValueError, RecursionError):
        raise DoubtError("the body is not JSON that can be read for certain") from None


def _all_members(text: bytes) -> Any:
    # A function and not the class: between its calls other threads get their turn.
    return json.loads(text.decode(), object_pairs_hook=lambda pairs: _Members(pairs))


def models_in(value: Any) -> Iterator[str]:
    """The models that a body names anywhere but in its contents: for itself, for parts of a batch, for its tools.

    value: what `jsonvalue.parse` or `all_members` gave.
    """
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list) and not isinstance(item, _Members):
            waiting += [each for each in item if isinstance(each, dict | list)]
            continue
        for name, member in _pairs(item):
            if name.casefold().replace("_", "") in _NAMES:
                yield from _names_in(member)
            if isinstance(member, dict | list) and name not in _CONTENT:
                waiting.append(member)


def model_in_path(path: str) -> str:
    """The model that a path names, "" if it names none. Raises PathError."""
    match = _IN_PATH.fullmatch(decoded(path))
    if match is None:
        return ""
    folder, name = match[1], _BEHIND_MODEL.sub("", match[2])
    return name if folder.casefold() == "models" else f"{folder}/{name}"


def models_of(path: str, params: Mapping[str, str], body: bytes) -> tuple[str, ...]:
    """The models that a request to any path of an API names.

    path: one that `paths.resolved` has given. params: of the query. Raises DoubtError.
    """
    found = [model_in_path(path), params.get(_MODEL, "")]
    if body and not _UPLOAD.fullmatch(path):
        found += models_in(all_members(body))
    return tuple(dict.fromkeys(bare(model) for model in found if model))


def models_beside(model: str, value: Any) -> tuple[str, ...]:
    """The models that a body names beside the one that is asked for. value: what the body says."""
    return tuple({name: None for found in models_in(value) if (name := bare(found)) != bare(model)})


def bare(model: str) -> str:
    """A model's name without the folder that the Gemini API writes before it."""
    return model.rpartition("models/")[2]


def _pairs(item: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(item, dict):
        yield from item.items()
    elif isinstance(item, _Members):
        yield from item


def _names_in(member: Any) -> Iterator[str]:
    """The names that stand for models: one, several, or that of an object which describes one."""
    several = member if isinstance(member, list) and not isinstance(member, _Members) else [member]
    for each in several:
        if isinstance(each, str):
            yield each
        else:
            yield from (value for name, value in _pairs(each) if name in ("id", "name") and isinstance(value, str))
