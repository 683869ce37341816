import pytest
from antigravity_healing.policy.settings.schema import Config
from antigravity_healing.proxy.guarding.reach import is_upstreams

UPSTREAMS = Config.model_validate({"upstreams": {"x": {"dialect": "gemini", "url": "http://[::1]:9000"}}}).upstreams


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (("api.anthropic.com", 443), True),
        (("api.anthropic.com", 80), False),
        (("::1", 9000, 0, 0), True),
        (("us-east5-aiplatform.googleapis.com", 443), True),
        (("aiplatform.eu.rep.googleapis.com", 443), True),
        (("us-east5-aiplatform.googleapis.com.example", 443), False),
        (("example.com", 443), False),
        (("::2", 443, 0, 0), False),
    ],
)
def test_an_upstream_is_asked_where_one_is_configured_and_on_vertex_ai_at_any_location(
    address: tuple[str, int], expected: bool
) -> None:
    assert is_upstreams(address, UPSTREAMS) is expected
