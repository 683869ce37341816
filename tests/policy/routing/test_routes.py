import re
import time

import pytest
from antigravity_healing.policy.routing.routes import Route, Routes, matches
from antigravity_healing.policy.settings.schema import Config, PeekOverrides
from hypothesis import given
from hypothesis import strategies as st


def routes(models: dict[str, object], **more: object) -> Routes:
    return Routes(Config.model_validate({"models": models, **more}))


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*", "", True),
        ("*", "anything", True),
        ("**", "", True),
        ("claude-*", "claude-", True),
        ("claude-*", "claude-opus-4", True),
        ("claude-*", "xclaude-opus-4", False),
        ("claude-*", "Claude-opus-4", False),
        ("*-opus-*", "claude-opus-4", True),
        ("*-opus-*", "claude-opus", False),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("ab*ba", "aba", False),
        ("*a*b*", "b-a", False),
        ("*a*b", "ab", True),
        ("*ab*b", "ab", False),
        ("gpt-4.1", "gpt-4x1", False),
        ("gpt-[45]", "gpt-4", False),
        ("gpt-?", "gpt-4", False),
        ("", "", True),
        ("", "x", False),
        ("a*", "a\nb", True),
    ],
)
def test_matches(pattern: str, name: str, expected: bool) -> None:
    assert matches(pattern, name) is expected


letters = st.text(alphabet="ab/", max_size=6)
patterns = st.text(alphabet="ab*/", max_size=6)


@given(patterns, letters)
def test_matches_is_what_a_regular_expression_says(pattern: str, name: str) -> None:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert matches(pattern, name) == bool(re.fullmatch(expression, name, re.DOTALL))


def test_many_stars_against_a_long_name_are_quick() -> None:
    started = time.perf_counter()
    assert not matches("a*" * 50 + "b", "a" * 20_000)
    assert time.perf_counter() - started < 1


def test_a_name_nothing_matches_goes_through() -> None:
    assert routes({"claude-*": "x"}).resolve("gemini-3-pro") == Route(None, "gemini-3-pro", None)
    assert routes({}).resolve("") == Route(None, "", None)


def test_an_exact_name_beats_every_pattern() -> None:
    table = routes({"claude-opus-*": "wide", "*": "all", "claude-opus-4": "exact", "claude-opus-4*": "long"})
    assert table.resolve("claude-opus-4").model == "exact"
    assert table.resolve("claude-opus-4-1").model == "long"
    assert table.resolve("claude-opus-3").model == "wide"
    assert table.resolve("gpt").model == "all"


def test_a_tie_goes_to_the_one_written_first() -> None:
    assert routes({"a*c": "one", "*bc": "two"}).resolve("abc") == Route("a*c", "one", None)
    assert routes({"*bc": "two", "a*c": "one"}).resolve("abc") == Route("*bc", "two", None)


@pytest.mark.parametrize(
    ("target", "upstream", "model"),
    [
        ("claude-haiku-4-5", None, "claude-haiku-4-5"),
        ("gemini/gemini-3-pro-preview", "gemini", "gemini-3-pro-preview"),
        ("local/org/model", "local", "org/model"),
        ("models/gemini-3-pro", None, "models/gemini-3-pro"),
        ("publishers/google/models/m", None, "publishers/google/models/m"),
        ("accounts/x/models/y", None, "accounts/x/models/y"),
        ("gemini", None, "gemini"),
        ("local/local/x", "local", "local/x"),
    ],
)
def test_upstream_and_model(target: str, upstream: str | None, model: str) -> None:
    table = routes({"m": target}, upstreams={"local": {"dialect": "anthropic", "url": "http://127.0.0.1:9000"}})
    assert table.resolve("m") == Route("m", model, upstream)


def test_a_table_with_clocks() -> None:
    table = routes(
        {"slow-*": {"peek": {"first_content": 900, "silence": False}}, "x": {"to": "gemini/y", "peek": {"idle": 5}}}
    )
    assert table.resolve("slow-1") == Route("slow-*", "slow-1", None, PeekOverrides(first_content=900, silence=False))
    assert table.resolve("x") == Route("x", "y", "gemini", PeekOverrides(idle=5))


def test_names_are_the_exact_ones_in_order() -> None:
    assert routes({"z": "1", "a*": "2", "b": {}, "a": "3"}).names() == ["z", "b", "a"]


@given(st.lists(patterns.filter(bool), unique=True, max_size=8), letters)
def test_precedence_is_what_the_rules_say(keys: list[str], name: str) -> None:
    route = routes({key: f"t{index}" for index, key in enumerate(keys)}).resolve(name)

    def rank(key: str) -> tuple[bool, int, int]:
        return ("*" not in key, len(key.replace("*", "")), -keys.index(key))

    fitting = [
        key for key in keys if re.fullmatch(".*".join(re.escape(part) for part in key.split("*")), name, re.DOTALL)
    ]
    if fitting:
        best = max(fitting, key=rank)
        assert route == Route(best, f"t{keys.index(best)}", None)
    else:
        assert route == Route(None, name, None)
