from tests.e2e.conftest import Lane, both_dialects
from tests.support.protocol import check_anthropic_stream
from tests.support.sdk import anthropic_client
from tests.upstream import anthropic_empty, anthropic_stream


def test_empty_answer_is_retried_on_the_other_account(lane: Lane) -> None:
    lane.upstream.play(anthropic_empty(), anthropic_stream("Hello"))
    with anthropic_client(lane.proxy.url) as client:
        message = client.messages.create(
            model=lane.model, max_tokens=10, messages=[{"role": "user", "content": "hi"}], stream=False
        )
    assert lane.calls
