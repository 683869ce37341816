"""A dialect that is registered from outside is served like those that are there: all that differs is in its object."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import saved_flows, split_roles, story
from tests.support import raw
from tests.support.places import ROOT
from tests.upstream import Reply, Upstream

SCRIPT = Path(__file__).with_name("third_dialect.py")
CLIENT_KEY = "the-client-key-of-this-proxy"
OWN_KEY = "the-clients-own-key-0x77"
HEADERS = {"content-type": "text/event-stream"}


def saying(*texts: str, **how: Any) -> Reply:
    """A stream that says this and stops."""
    events = [{"say": text} for text in texts] + [{"stop": "done"}]
    return Reply(headers=HEADERS, chunks=[b"data: " + json.dumps(event).encode() + b"\n\n" for event in events], **how)


def started(folder: Path, config: str, *, env: dict[str, str] | None = None) -> Proxy:
    """A proxy that knows the dialect."""
    proxy = Proxy(folder, config, env=env, options={"save_stream_file": str(folder / "flows")})
    proxy.command[1:1] = ["-s", str(SCRIPT)]
    return proxy


class Place(NamedTuple):
    """The proxy and its upstream."""

    proxy: Proxy
    up: Upstream

    def ask(self, *replies: Reply, headers: dict[str, str] | None = None, **body: Any) -> raw.RawResponse:
        """Ask while upstream plays these."""
        self.up.reset()
        self.up.play(*replies)
        sent = {"model": "m", "text": "hi", "stream": True, **body}
        shown = {"x-tiny-pass": CLIENT_KEY} if headers is None else headers
        return raw.request("POST", f"{self.proxy.url}/tiny/say", sent, shown)

    @property
    def keys(self) -> list[str]:
        """The credentials of the calls that came."""
        return [call.headers.get("x-tiny-pass", "") for call in self.up.calls]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("third")
    with Upstream() as up:
        config = f'[clients]\nkeys = ["{CLIENT_KEY}"]\nloopback_only = false\n[models]\nmapped = "anthropic/claude"\n'
        config += upstream("there", "tiny", up.url) + account("first", "there", priority=1) + account("second", "there")
        config += account("claude", "anthropic")
        # As it is started from a clone.
        with started(folder, config, env={"PYTHONPATH": str(ROOT / "addons")}) as proxy:
            yield Place(proxy, up)


def said(body: bytes) -> str:
    """What a stream says that has come to its end."""
    events = [json.loads(line.removeprefix("data: ")) for line in body.decode().split("\n\n") if line[:5] == "data:"]
    assert events[-1] == {"stop": "done"}
    return "".join(event.get("say", "") for event in events)


def test_it_is_claimed_and_carries_an_accounts_credential_and_not_the_clients(place: Place) -> None:
    response = place.ask(saying("Hello", " there"))
    assert (response.status, said(response.body)) == (200, "Hello there")
    assert place.keys in ([key_of("first")], [key_of("second")])
    assert response.header("x-healing-attempts") == "1"


def test_a_credential_in_its_parameter_lets_in_and_goes_no_further(place: Place) -> None:
    place.up.reset()
    place.up.play(saying("Hello"))
    url = f"{place.proxy.url}/tiny/say?tiny-pass={CLIENT_KEY}"
    assert raw.request("POST", url, {"model": "m", "stream": True}).status == 200
    (call,) = place.up.calls
    assert CLIENT_KEY not in f"{call.query}{call.headers}"


def test_who_shows_no_key_is_told_in_its_shape_where_keys_go(place: Place) -> None:
    response = place.ask(headers={})
    assert response.status == 401
    error = response.json()["error"]
    assert error["tiny"] == 401
    assert "x-api-key, x-goog-api-key, x-tiny-pass, Authorization: Bearer, ?key= or ?tiny-pass=" in error["message"]


def test_an_empty_answer_is_held_and_healed_on_the_other_account_and_the_log_and_the_flow_tell(place: Place) -> None:
    response = place.ask(saying(), saying("Hello"))
    assert (response.status, said(response.body)) == (200, "Hello")
    assert response.header("x-healing-attempts") == "2"
    assert sorted(place.keys) == sorted((key_of("first"), key_of("second")))
    place.proxy.wait_for_log("[Tiny] Nothing was said, retrying...")


def test_a_whole_answer_is_made_of_a_stream_that_was_healed(place: Place) -> None:
    response = place.ask(saying(), saying("Hel", "lo"), stream=False)
    assert (response.status, response.json()) == (200, {"said": "Hello", "stop": "done"})
    assert [call.json["stream"] for call in place.up.calls] == [True, True]


def test_a_cut_after_content_is_told_in_its_form(place: Place) -> None:
    response = place.ask(Reply(headers=HEADERS, chunks=[b'data: {"say": "Hel"}\n\n'], end="cut"))
    assert response.body.startswith(b'data: {"say": "Hel"}\n\n')
    assert b'"tiny": ' in response.body


def test_a_rate_limit_benches_the_account_and_the_other_one_serves(place: Place) -> None:
    limited = Reply(status=429, headers={"retry-after": "1"}, body=b'{"error": {"message": "slow down"}}')
    response = place.ask(limited, saying("Hello"))
    assert (response.status, said(response.body)) == (200, "Hello")


def test_a_route_to_a_dialect_that_nothing_translates_for_is_refused_in_words(place: Place) -> None:
    response = place.ask(model="mapped")
    assert response.status == 400
    assert "Nothing translates Tiny for Anthropic" in response.json()["error"]["message"]
    assert place.up.calls == []


def test_what_is_not_served_is_answered_with_its_endpoints_too(place: Place) -> None:
    response = raw.request("GET", f"{place.proxy.url}/nowhere", None, {"x-tiny-pass": CLIENT_KEY})
    assert response.status == 404
    assert "POST /tiny/say (Tiny), and GET /health" in response.json()["error"]["message"]


def test_the_flow_of_an_exchange_tells_its_story_without_a_credential(tmp_path: Path) -> None:
    with Upstream() as up:
        config = upstream("there", "tiny", up.url) + account("first", "there") + account("second", "there")
        with started(tmp_path, config) as proxy:
            Place(proxy, up).ask(saying(), saying("Hello"))
            up.play(saying("Hello"))
            shown = raw.request("POST", f"{proxy.url}/tiny/say?tiny-pass={OWN_KEY}", {"model": "m", "stream": True})
            assert said(shown.body) == "Hello"
            assert OWN_KEY not in up.calls[-1].query
    (flow, attempts), _ = split_roles(saved_flows(tmp_path / "flows"))
    assert (story(flow)["dialect"], story(flow)["outcome"]) == ("tiny", "healed")
    assert [story(attempt)["attempt"] for attempt in attempts] == [1, 2]
    kept = (tmp_path / "flows").read_bytes()
    for secret in (CLIENT_KEY, OWN_KEY, key_of("first"), key_of("second")):
        assert secret.encode() not in kept


def test_a_configuration_with_an_unknown_dialect_is_told_all_that_there_are(tmp_path: Path) -> None:
    proxy = started(tmp_path, upstream("there", "tinny", "http://127.0.0.1:1")).start(wait=False)
    assert proxy.wait_exit() != 0
    assert "upstreams.there.dialect: expected 'anthropic' or 'gemini' or 'tiny'" in proxy.log
