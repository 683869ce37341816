import json

import pytest
from antigravity_healing.wire.errors.parsing import parse_error
from antigravity_healing.wire.errors.signature_refusals import Position, SignatureFault, named_position

from tests.support.refusals import LOOKALIKES, SIGNATURES, forms


@pytest.mark.parametrize(("fault", "text"), SIGNATURES)
def test_a_refused_signature_is_understood_in_every_form(fault: SignatureFault, text: str) -> None:
    for variant in (text, text.replace("`", ""), text.upper()):
        for form in forms(variant):
            assert parse_error(json.dumps(form).encode()).signature_fault is fault, form
        assert parse_error(variant.encode()).signature_fault is fault


@pytest.mark.parametrize("text", LOOKALIKES)
def test_what_only_looks_like_it_is_not(text: str) -> None:
    for form in forms(text):
        assert not parse_error(json.dumps(form).encode()).signature_fault, form
    assert not parse_error(text.encode()).signature_fault


def test_words_of_two_messages_do_not_make_one_text() -> None:
    body = {"error": {"message": "Something is missing", "details": [{"message": "thought_signature"}]}}
    assert not parse_error(json.dumps(body).encode()).signature_fault


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("messages.1.content.0: Invalid `signature` in `thinking` block", Position(1, 0)),
        ("MESSAGES.12.CONTENT.3.THINKING.SIGNATURE: FIELD REQUIRED", Position(12, 3)),
        ("messages.1: The final block in an assistant message cannot be `thinking`.", Position(1, None)),
        ("Corrupted thought signature.", None),
    ],
)
def test_the_block_that_upstream_names_is_found(text: str, position: Position | None) -> None:
    for form in forms(text):
        assert named_position(parse_error(json.dumps(form).encode()).text) == position
