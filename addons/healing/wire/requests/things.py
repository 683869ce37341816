"""Things that lie with one account (files, cached contents, batches, containers): what names them, and how.

A thing's id is the same wherever it is named: `file_011…`, `files/abc`. Read is only what names things by the protocol,
never what is said, nor what a model or a tool has put into a call.
"""

import re
from collections.abc import Container, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import unquote

from healing.wire.dialect import Dialect, Operation

MOST_NAMED = 64
"""Things that one request or answer may name; a list of files has more, and is read so far."""
LONGEST_ID = 200

_FOLDERS = "files|cachedContents|batches|batchPredictionJobs|fileSearchStores|corpora|interactions|operations"
_PREFIXES = "file|msgbatch|container|skill|agent|sesn|env|vlt|memstore"
_OF_GEMINI = re.compile(
    r"(?:(?:https?://[^/]{1,200})?/(?:upload/|download/)?v1[a-z0-9]{0,10}/)?"
    r"(?:(?:projects|locations|publishers|models|tunedModels)/[^/]{1,200}/){0,4}"
    rf"((?:{_FOLDERS})/[A-Za-z0-9._-]{{1,200}})"
)
_OF_ANTHROPIC = re.compile(rf"(?:{_PREFIXES})_[A-Za-z0-9]{{8,200}}")
_REQUEST_KEYS = frozenset(
    (
        "agent", "agent_id", "batch_id", "cachedContent", "cached_content", "container", "environment_id", "fileName",
        "fileSearchStoreNames", "fileUri", "file_id", "file_ids", "file_name", "file_search_store_names", "file_uri",
        "input_file_id", "previousInteractionId", "previous_interaction_id", "session_id", "skill_id", "vault_ids",
    )
)  # fmt: skip
_ANSWER_KEYS = _REQUEST_KEYS | {"id", "name", "responsesFile", "uri"}
_INTERACTION_KEYS = ("previousInteractionId", "previous_interaction_id")
# Where `id` stands below one of these it names what that is.
_NAMED_BY_ID = ("container", "agent")
# Free of form: what stands below is described, or made by a model.
_MADE = frozenset(
    (
        "args", "const", "default", "enum", "input", "input_schema", "parameters", "parametersJsonSchema", "properties",
        "responseJsonSchema", "responseSchema", "schema",
    )
)  # fmt: skip
_MADE_OR_SAID = _MADE | {"labels", "metadata", "response"}
# Without one of these a conversation names nothing: most have none, and need not be walked through.
_SIGNS = {
    "anthropic": (b'"file_id"', b'"container"', b'"skill_id"'),
    "gemini": (b'ileUri"', b'file_uri"', b'achedContent"', b'ached_content"', b'StoreNames"', b'store_names"'),
}
# The same for whatever else is asked, and for answers.
_SIGNS_OF_ALL = tuple(f'"{key}"'.encode() for key in sorted(_REQUEST_KEYS))
_SIGNS_OF_IDS = {
    "anthropic": tuple(f'"{prefix}_'.encode() for prefix in _PREFIXES.split("|")),
    "gemini": tuple(f"{folder}/".encode() for folder in _FOLDERS.split("|")),
}
# In an event of a stream. What a model writes stands there within a string, where its quotes are escaped.
_IN_EVENT = re.compile(rb'"(?:id|file_id)":\s*"((?:file|container)_[A-Za-z0-9]{8,200})"')
_MOST_VALUES = 200_000
_READ = (dict, list, str)


def may_name(dialect: Dialect, operation: Operation, body: bytes) -> bool:
    """Whether it is worth finding out what a request's body names, which takes time where it is long."""
    signs = _SIGNS_OF_ALL if operation.kind == "other" else _SIGNS[dialect.name]
    return any(sign in body for sign in signs)


def may_be_named(dialect: Dialect, path: str, content: bytes | bytearray) -> bool:
    """Whether it is worth finding out what an answer names. path: of its request."""
    return _is_of_interactions(path) or any(sign in content for sign in _SIGNS_OF_IDS[dialect.name])


def named_in_request(
    dialect: Dialect, operation: Operation, path: str, params: Mapping[str, str], body: bytes, value: Any
) -> frozenset[str]:
    """The things that a request names. params: of its query. value: what its body says."""
    found = list(_in_path(dialect, path))
    if value is not None and may_name(dialect, operation, body):
        found += islice(_named_in(dialect, value, _REQUEST_KEYS, _MADE_OR_SAID), MOST_NAMED)
    for key in _REQUEST_KEYS & params.keys():
        found += _ids(dialect, key, params[key])
    return frozenset(found)


def named_in_answer(dialect: Dialect, path: str, value: Any) -> frozenset[str]:
    """The things that a whole answer names. path: of its request."""
    found = list(islice(_named_in(dialect, value, _ANSWER_KEYS, _MADE), MOST_NAMED))
    if _is_of_interactions(path) and isinstance(value, dict) and isinstance(value.get("id"), str):
        found.append(f"interactions/{value['id'][:LONGEST_ID]}")
    return frozenset(found)


def named_in_events(events: bytes) -> frozenset[str]:
    """The things that whole events of an Anthropic stream name."""
    if b'"container_' not in events and b'"file_' not in events:
        return frozenset()
    return frozenset(name.decode() for name in _IN_EVENT.findall(events)[:MOST_NAMED])


def _is_of_interactions(path: str) -> bool:
    return path.endswith("/interactions")


def _in_path(dialect: Dialect, path: str) -> Iterator[str]:
    if dialect.name == "gemini":
        yield from _ids(dialect, "", unquote(path))
    else:
        yield from (part for part in map(unquote, path.split("/")) if _OF_ANTHROPIC.fullmatch(part))


def _ids(dialect: Dialect, key: str, text: str) -> Iterator[str]:
    """The thing that a text names which stands under a key, if it is one."""
    if key in _INTERACTION_KEYS:
        yield f"interactions/{text[:LONGEST_ID]}"
    elif dialect.name == "gemini":
        yield from (found[1] for found in (_OF_GEMINI.match(text),) if found)
    elif _OF_ANTHROPIC.fullmatch(text):
        yield text


def _named_in(dialect: Dialect, value: Any, keys: Container[str], passed_over: Container[str]) -> Iterator[str]:
    """The things that stand below these keys, but for what stands below those that are passed over."""
    waiting = [("", value)]
    left = _MOST_VALUES
    while waiting and left:
        key, item = waiting.pop()
        left -= 1
        if isinstance(item, dict):
            if key in _NAMED_BY_ID and isinstance(item.get("id"), str):
                yield from _ids(dialect, key, item["id"])
            waiting += [each for each in item.items() if each[0] not in passed_over and isinstance(each[1], _READ)]
        elif isinstance(item, list):
            waiting += [(key, each) for each in item if isinstance(each, _READ)]
        elif key in keys:
            yield from _ids(dialect, key, item)
