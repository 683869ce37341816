from typing import Any

import pytest
from antigravity_healing.wire.requests.opening import opening_key

LONG = "QUJD" * 30_000


def message(data: Any) -> dict[str, Any]:
    return {"role": "user", "content": [{"type": "document", "source": {"type": "base64", "data": data}}]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (message(LONG), message(LONG[:-1] + "x")),
        (message(LONG), message("x" + LONG[1:])),
        (message("a"), message("b")),
        (message([LONG]), message(LONG)),
        ([LONG, None], [None, LONG]),
        ({"a": LONG}, {"b": LONG}),
        ([0] * 2000 + [LONG], [0] * 2000 + [LONG[:-1]]),
        ({"role": "user", "content": LONG}, {"role": "user", "content": LONG * 2}),
        ("\ud800" * 70_000, "\udc00" * 70_000),
    ],
)
def test_what_differs_anywhere_has_another_key(one: Any, other: Any) -> None:
    assert opening_key(None, one) != opening_key(None, other)
    assert opening_key(None, one) != opening_key(one, None)


def test_what_is_equal_has_the_same_key() -> None:
    assert opening_key("system", message(LONG)) == opening_key("system", message("QUJD" * 30_000))
