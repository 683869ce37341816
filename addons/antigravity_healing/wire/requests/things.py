"""Things that lie with one account (files, cached contents, batches, containers): what names them, and how.

A thing's id is the same wherever it is named: `file_011…`, `files/abc`. Read is only what names things by the protocol,
never what is said, nor what a model or a tool has put into a call.
"""

from collections.abc import Container, Iterator, Mapping
from itertools import islice
from typing import Any
from urllib.parse import unquote

from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.operation import Operation

MOST_NAMED = 64
"""Things that one request or answer may name; a list of files has more, and is read so far."""
LONGEST_ID = 200

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
# Without one of these what is no conversation names nothing.
_SIGNS_OF_ALL = tuple(f'"{key}"'.encode() for key in sorted(_REQUEST_KEYS))
_MOST_VALUES = 200_000
_READ = (dict, list, str)


def may_name(dialect: Dialect, operation: Operation, body: bytes) -> bool:
    """Whether it is worth finding out what a request's body names, which takes time where it is long."""
    signs = _SIGNS_OF_ALL if operation.kind == "other" else dialect.things.request_signs
    return any(sign in body for sign in signs)


def may_be_named(dialect: Dialect, path: str, content: bytes | bytearray) -> bool:
    """Whether it is worth finding out what an answer names. path: of its request."""
    return _is_of_interactions(path) or any(sign in content for sign in dialect.things.answer_signs)


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


def named_in_events(dialect: Dialect, events: bytes) -> frozenset[str]:
    """The things that whole events of a stream name."""
    things = dialect.things
    if things.in_event is None or not any(sign in events for sign in things.event_signs):
        return frozenset()
    return frozenset(name.decode() for name in things.in_event.findall(events)[:MOST_NAMED])


def _is_of_interactions(path: str) -> bool:
    return path.endswith("/interactions")


def _in_path(dialect: Dialect, path: str) -> Iterator[str]:
    for part in path.split("/") if dialect.things.in_segments else (path,):
        yield from _ids(dialect, "", unquote(part))


def _ids(dialect: Dialect, key: str, text: str) -> Iterator[str]:
    """The thing that a text names which stands under a key, if it is one."""
    if key in _INTERACTION_KEYS:
        yield f"interactions/{text[:LONGEST_ID]}"
    elif found := dialect.things.id.match(text):
        yield found[1]


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
