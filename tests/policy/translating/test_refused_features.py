"""What a refusal says of what this proxy has put into a request."""

import pytest
from antigravity_healing.policy.translating.refused_features import STREAM, Unsupported, refused_feature
from antigravity_healing.policy.translating.translation import ToAnthropic, ToGemini

ALL = (*ToGemini.optional, *ToAnthropic.optional, STREAM)
NOTHING: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("text", "feature"),
    [
        ("Thinking level is not supported for this model.", "thinking_level"),
        ("Unsupported value for thinkingLevel: MINIMAL", "thinking_level"),
        ("Invalid JSON payload received. Unknown name \"id\" at 'contents[1].parts[0].function_call'", "call_id"),
        ("function_response.id: Cannot find field.", "call_id"),
        ("This model does not support the effort parameter.", "thinking"),
        ("This model does not support effort level 'xhigh'. Supported levels: high, low.", "thinking"),
        ("adaptive thinking is not supported on this model", "thinking"),
        ("Streaming is not supported for this model.", "stream"),
        ("This deployment does not support streaming.", "stream"),
        ("messages.0.content.0.source: invalid base64 stream", None),
        ("The model is not available in your region.", None),
        ("Request contains an invalid argument.", None),
        ("tools.0.input_schema: streaming of tools needs a name", None),
        ("", None),
    ],
)
def test_a_refusal_names_what_is_left_out(text: str, feature: str | None) -> None:
    assert refused_feature(text, NOTHING, ALL) == feature


def test_what_was_not_in_the_request_or_is_out_already_is_not_left_out() -> None:
    text = "Thinking level is not supported for this model."
    assert refused_feature(text, NOTHING, (STREAM,)) is None
    assert refused_feature(text, frozenset(("thinking_level",)), ALL) == "thinking_level_low"
    assert refused_feature(text, frozenset(("thinking_level", "thinking_level_low")), ALL) is None


def test_it_is_remembered_for_the_model_of_the_upstream_and_forgotten_when_there_are_too_many() -> None:
    known = Unsupported()
    known.add("https://a", "m", "stream")
    known.add("https://a", "m", "call_id")
    assert known.of("https://a", "m") == {"stream", "call_id"}
    assert known.of("https://b", "m") == known.of("https://a", "n") == NOTHING
    for number in range(1000):
        known.add("https://a", f"other-{number}", "stream")
    assert known.of("https://a", "m") == NOTHING
