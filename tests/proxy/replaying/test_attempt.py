import pytest
from antigravity_healing.policy.settings.schema import AccountSettings, Config, Upstream
from antigravity_healing.proxy.replaying.attempt import NotReplayedError, sender_of
from antigravity_healing.proxy.streams.flow_story import METADATA
from mitmproxy import http
from mitmproxy.test import tflow
from pydantic import SecretStr

SETTINGS = Config(
    accounts=(AccountSettings(name="a", upstream="local", api_key=SecretStr("key-0123456789")),),
    upstreams={"local": Upstream(dialect="anthropic", url="http://127.0.0.1:9000/team/a")},
)


def attempt(path: str) -> http.HTTPFlow:
    flow = tflow.tflow(req=http.Request.make("POST", "http://127.0.0.1:9000" + path))
    flow.request.path = path
    flow.metadata[METADATA] = {"role": "attempt", "account": "a"}
    return flow


@pytest.mark.parametrize("path", ["/team/a/v1/messages?beta=true", "/team/a/v1/models/x%2Fy", "/team/b/../a/v1/files"])
def test_an_attempt_is_sent_again_below_its_upstreams_prefix(path: str) -> None:
    assert sender_of(attempt(path), SETTINGS).account.name == "a"


@pytest.mark.parametrize(
    "path", ["/team/b/v1/messages", "/team/a/../b/v1/messages", "/team/a/v1/..%2f..%2f..%2fb", "/team/a", "/../x", "/%"]
)
def test_a_file_can_not_say_that_it_went_anywhere_else(path: str) -> None:
    with pytest.raises(NotReplayedError, match="not one of http://127"):
        sender_of(attempt(path), SETTINGS)
