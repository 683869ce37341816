"""Signatures say who minted them and for what, and nobody else can make or change them."""

import base64
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .minting import Claims, Signer, decoded, family_of, has_prefix_check

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
CLAIMS = Claims("anthropic", "family", "credential", "signed", chain=("one", "two"), turn=3, ordinal=1, size=2)


def test_a_signature_is_read_by_those_who_have_the_secret_and_never_equal_to_another() -> None:
    signer = Signer()
    first, second = signer.mint(CLAIMS), signer.mint(CLAIMS)
    assert first != second
    assert signer.minted == [first, second]
    assert len(first) >= 60
    assert base64.b64encode(base64.b64decode(first, validate=True)).decode() == first
    assert Signer().read(first) == signer.read(second) == CLAIMS
    assert Signer(b"another vendor").read(first) is None
    assert Signer().mint(CLAIMS) == first, "runs are not reproducible"


@pytest.mark.parametrize("length", range(3))
def test_no_character_of_it_can_be_another(length: int) -> None:
    # Of each length, since the last character may have bits that no byte takes.
    signature = Signer().mint(replace(CLAIMS, signed="s" * length)).rstrip("=")
    for at in range(len(signature)):
        for char in set(ALPHABET) - {signature[at]}:
            assert Signer().read(signature[:at] + char + signature[at + 1 :]) is None, (at, char)


@settings(deadline=None, derandomize=True)
@given(st.none() | st.integers() | st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()))
def test_garbage_is_none(garbage: object) -> None:
    assert Signer().read(garbage) is None


@pytest.mark.parametrize("bare", [True, False])
def test_any_spelling_of_base64_will_do(bare: bool) -> None:
    signature = Signer().mint(Claims("gemini", "?" * 20, ">" * 20, "~" * 20))
    spelled = signature.replace("+", "-").replace("/", "_")
    spelled = spelled.rstrip("=") if bare else spelled
    assert decoded(spelled) == base64.b64decode(signature)
    assert Signer().read(spelled) is not None


@pytest.mark.parametrize(
    "model",
    ["claude-opus-5-5", "claude-opus-5-5-20260801", "claude-opus-5-5@20260801", "claude-opus-5-5@default",
     "claude-opus-5-5-latest", "models/claude-opus-5-5"],
)  # fmt: skip
def test_all_releases_of_a_model_are_one_family(model: str) -> None:
    assert family_of(model) == "claude-opus-5-5"


@pytest.mark.parametrize(
    ("model", "checks"),
    [
        ("claude-opus-5-5", True),
        ("claude-sonnet-5-5-20260801", True),
        ("claude-haiku-5.5", True),
        ("claude-haiku-6", True),
        ("claude-opus-5-10", True),
        ("claude-fable-5-1", True),
        ("claude-mythos-5-2@20261001", True),
        ("anthropic-lane003-opus-5-5", True),
        ("claude-sonnet-5-4", False),
        ("claude-sonnet-5-20260801", False),
        ("claude-opus-4-6", False),
        ("claude-fable-5", False),
        ("claude-3-5-sonnet-20241022", False),
        ("claude-3-7-sonnet-latest", False),
        ("anthropic-lane003-x", False),
        ("", False),
    ],
)
def test_which_models_check_the_prefix(model: str, checks: bool) -> None:
    assert has_prefix_check(model) is checks
