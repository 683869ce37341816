"""About how many tokens a request has, where nobody has counted them."""

from typing import Any

BYTES_OF_A_TOKEN = 4
_SHORTEST_DATA = 1024
_MOST_VALUES = 200_000


def tokens_of(body: bytes, value: Any) -> int:
    """About how many input tokens count against a limit; 0 where that can't be told, as a part of it may be cached.

    value: what the body says. An image or a document has far fewer tokens than bytes, and is not counted.
    """
    if b'"cache_control"' in body:
        return 0
    return max(0, len(body) - _data_bytes(value)) // BYTES_OF_A_TOKEN


def _data_bytes(value: Any) -> int:
    waiting, left, size = [value], _MOST_VALUES, 0
    while waiting and left:
        item = waiting.pop()
        left -= 1
        if isinstance(item, dict):
            data = item.get("data")
            if isinstance(data, str) and len(data) > _SHORTEST_DATA:
                size += len(data)
            waiting += [each for each in item.values() if isinstance(each, dict | list)]
        elif isinstance(item, list):
            waiting += [each for each in item if isinstance(each, dict | list)]
    return size
