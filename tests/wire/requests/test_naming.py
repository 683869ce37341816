import contextlib
import json
from typing import Any

import pytest
from antigravity_healing.wire.requests.naming import (
    DoubtError,
    all_members,
    model_in_path,
    models_beside,
    models_in,
    models_of,
    read_certainly,
)
from hypothesis import given
from hypothesis import strategies as st

PLAIN = '{"model": "m", "stream": true}'
UNCERTAIN = {
    "a BOM": b"\xef\xbb\xbf" + PLAIN.encode(),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16 without a BOM": PLAIN.encode("utf-16-le"),
    "UTF-16 the other way round": PLAIN.encode("utf-16-be"),
    "UTF-32": PLAIN.encode("utf-32-le"),
    "not UTF-8": b'{"model": "\xff\xfe"}',
    "a surrogate in UTF-8": b'{"model": "\xed\xa0\x80"}',
    "an overlong letter": b'{"model": "\xc1\xad"}',
    "no JSON": b"model=m",
    "half of JSON": b'{"model": "m", "mess',
    "two values": PLAIN.encode() * 2,
    "NUL behind it": PLAIN.encode() + b"\0",
    "a comment": b'{"model": "m" /* "model": "n" */}',
    "model twice": b'{"model": "m", "max_tokens": 1, "model": "n"}',
    "model twice, the same": b'{"model": "m", "model": "m"}',
    "model twice, once with escapes": b'{"model": "m", "\\u006dodel": "n"}',
    "model twice, both with escapes": b'{"mode\\u006C": "m", "\\u006dodel": "n"}',
    "model in other letters": b'{"model": "m", "Model": "n"}',
    "only in other letters": b'{"MODEL": "m"}',
}


@pytest.mark.parametrize("kind", UNCERTAIN)
def test_what_two_programs_may_read_differently_is_not_certain(kind: str) -> None:
    with pytest.raises(DoubtError, match=r"^the body .{8,120}$"):
        read_certainly(UNCERTAIN[kind])


CERTAIN = [
    PLAIN.encode(),
    b' \r\n{"max_tokens": 1e1, "model":\t"m"}\n',
    b'{"sh\\u006frt": 1, "mod\\u0065l": "m"}',
    b'{"model": "m", "messages": [{"content": "say \\"model\\": \\"model\\""}], "tools": [{"model": "n"}]}',
    b'{"model": "m", "tools": [{"input_schema": {"properties": {"model": {}, "Model": {}}, "required": ["model"]}}]}',
    b'{"model": "\\ud800", "temperature": NaN}',
    '{"model": "модель 模型 \\ud83d\\ude00"}'.encode(),
    b"[]",
    b"null",
    b'"model"',
    b"{}",
]


@pytest.mark.parametrize("body", CERTAIN)
def test_what_all_read_alike_is_read(body: bytes) -> None:
    assert str(read_certainly(body)) == str(json.loads(body))


BATCH = {
    "requests": [
        {"custom_id": "1", "params": {"model": "a", "messages": [{"content": [{"input": {"model": "car"}}]}]}},
        {"custom_id": "2", "params": {"model": "b", "tools": [{"type": "advisor", "model": "c"}]}},
    ]
}


@pytest.mark.parametrize(
    ("value", "models"),
    [
        (BATCH, {"a", "b", "c"}),
        ({"model": "models/x", "contents": [{"model": "no"}]}, {"models/x"}),
        ({"batch": {"inputConfig": {"requests": {"requests": [{"request": {"model": "x"}}]}}}}, {"x"}),
        ({"model": {"id": "x", "speed": "fast"}, "system": {"model": "no"}}, {"x"}),
        ({"model": "x", "fallbacks": [{"model": "y"}], "models": ["z", 3]}, {"x", "y", "z"}),
        ({"base_model": "x", "fallback_models": ["y"]}, {"x", "y"}),
        ({"generateContentRequest": {"Model": "x"}}, {"x"}),
        ({"tools": [{"input_schema": {"properties": {"model": {"enum": ["no"]}}}}]}, set()),
        ({"metadata": {"model": "no"}, "labels": {"model": "no"}}, set()),
        ([], set()),
        ("model", set()),
        (None, set()),
    ],
)
def test_the_models_that_a_body_names(value: Any, models: set[str]) -> None:
    assert set(models_in(value)) == models
    assert set(models_in(all_members(json.dumps(value).encode()))) == models


def test_a_member_that_comes_twice_counts_each_time() -> None:
    body = b'{"requests": [{"params": {"model": "a"}}], "requests": [{"params": {"model": "b", "model": "c"}}]}'
    assert set(models_in(all_members(body))) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("/v1beta/models/m:embedContent", "m"),
        ("/v1beta/models/m%3AembedContent", "m"),
        ("/v1beta/models/%6d:embedContent", "m"),
        ("/v1beta/Models/m:embedContent", "m"),
        ("/v1beta/models/a%2Fb:embedContent", "a/b"),
        ("/v1beta/models/a/b:embedContent", "a/b"),
        ("/v1beta/models/veo/operations/abc", "veo"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude-x@2025:rawPredict", "claude-x@2025"),
        ("/v1/projects/models/locations/l/publishers/google/models/m:predict", "m"),
        ("/v1beta/tunedModels/mine:generateContent", "tunedModels/mine"),
        ("/v1/projects/p/locations/l/endpoints/12:predict", "endpoints/12"),
        ("/v1beta/files/f1", ""),
        ("/v1/models", ""),
        ("/v1/messages/batches", ""),
    ],
)
def test_the_model_that_a_path_names(path: str, model: str) -> None:
    assert model_in_path(path) == model


def test_path_query_and_body_count_but_for_the_bodies_of_files() -> None:
    body = b'{"model": "models/c"}'
    assert models_of("/v1beta/models/a:embedContent", {"model": "b"}, body) == ("a", "b", "c")
    assert models_of("/upload/v1beta/files", {}, b"\x00 not JSON") == ()
    assert models_of("/v1/files", {}, b"--x\r\n") == ()
    with pytest.raises(DoubtError):
        models_of("/v1/messages/batches", {}, b"--x\r\n")


def test_the_model_that_is_asked_for_is_not_beside_itself() -> None:
    assert models_beside("m", {"model": "models/m", "fallbacks": ["n", "m"]}) == ("n",)


@given(st.binary(max_size=40) | st.text('{}[]",:model \\u006d', max_size=40).map(str.encode))
def test_any_bytes_are_read_or_doubted(body: bytes) -> None:
    for read in (read_certainly, all_members):
        with contextlib.suppress(DoubtError):
            list(models_in(read(body)))


def test_a_member_that_comes_twice_counts_in_a_long_body_too() -> None:
    body = b'{"model":"a","x":"%b","model":"b"}' % (b"x" * 2_000_000)
    assert set(models_in(all_members(body))) == {"a", "b"}
