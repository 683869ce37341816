"""The ways in without TLS: healing works the same in each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count

import pytest

from tests.e2e.conftest import Lane, both_dialects
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import (
    CLIENT_KEY,
    DIALECTS,
    ask,
    empty,
    free_port,
    keys_of,
    pairs_of_accounts,
    read_json,
    read_stream,
    stream,
    wait_for_modes,
)
from tests.support import raw
from tests.support.sdk import anthropic_client, gemini_client
from tests.upstream import Upstream

LANES = 20
_numbers = count()

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


@dataclass(frozen=True)
class Doors:
    """A proxy with several modes at once, and the upstreams behind it."""

    proxy: Proxy
    known: Upstream
    unknown: Upstream
    to_known: str
    """The base URL of the reverse proxy to the upstream that is configured."""
    to_unknown: str
    """That of the one to an upstream that is not."""
    to_dead: str
    """That of the one to a port where nobody listens."""
    to_other_name: str
    """That of the one to the configured upstream's port, at a name that is not configured."""
    number: int = -1
    """The test's own: see `pairs_of_accounts`."""

    @property
    def model(self) -> str:
        return f"lane{self.number}-x"

    def keys(self, dialect: str) -> list[str]:
        """Those of the test's two accounts."""
        return [key_of(f"{dialect}-{self.number}-{place}") for place in ("first", "second")]


@pytest.fixture(scope="module")
def shared_doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    folder = tmp_path_factory.mktemp("doors")
    with Upstream() as known, Upstream() as unknown:
        ports = [free_port() for _ in range(5)]
        config = "".join(pairs_of_accounts(dialect, LANES) for dialect in DIALECTS)
        config += upstream("anthropic", "anthropic", known.url) + upstream("gemini", "gemini", known.url)
        config += "[retry]\nmax_wait = 2.0\n"
        modes = [
            "regular",
            f"reverse:{known.url}@{ports[0]}",
            f"reverse:{unknown.url}@{ports[1]}",
            f"reverse:http://127.0.0.1:{ports[4]}@{ports[2]}",
            f"reverse:http://localhost:{known.port}@{ports[3]}",
        ]
        args = [word for mode in modes for word in ("--mode", mode)]
        with Proxy(folder, config, args=args) as proxy:
            wait_for_modes(proxy, len(modes))
            bases = [f"http://127.0.0.1:{port}" for port in ports[:4]]
            yield Doors(proxy, known, unknown, bases[0], bases[1], bases[2], bases[3])


@pytest.fixture
def doors(shared_doors: Doors) -> Doors:
    for server in (shared_doors.known, shared_doors.unknown):
        server.reset()
    return replace(shared_doors, number=next(_numbers))


@both_dialects
def test_a_base_url_that_points_at_the_proxy_is_healed(lane: Lane) -> None:
    lane.upstream.play(empty(lane.dialect), stream(lane.dialect, "Healed"))
    response = ask(lane.proxy.url, lane.dialect, lane.model)
    assert read_stream(lane.dialect, response.body) == "Healed"
    assert [lane.account_of(call) for call in lane.calls] == list(lane.accounts)
    assert response.header("x-healing-outcome") == "healed"
    assert response.header("x-healing-attempts") == "2"
    assert response.header("x-account-email") == f"{lane.accounts[1]}@accounts.example"
    assert response.header("x-mapped-model") == lane.model


@both_dialects
def test_http_proxy_with_an_absolute_url_is_healed(lane: Lane) -> None:
    # Both upstreams are at one address here, as with a gateway of both dialects: the path tells which is meant.
    lane.upstream.play(empty(lane.dialect), stream(lane.dialect, "Healed"))
    response = ask(lane.upstream.url, lane.dialect, lane.model, proxy=lane.proxy.url)
    assert read_stream(lane.dialect, response.body) == "Healed"
    assert [lane.account_of(call) for call in lane.calls] == list(lane.accounts)


def test_the_anthropic_sdk_streams_healed_answers_through_its_base_url(lane: Lane) -> None:
    lane.upstream.play(empty("anthropic"), stream("anthropic", "Healed"))
    with (
        anthropic_client(lane.proxy.url) as client,
        client.messages.stream(model=lane.model, max_tokens=16, messages=[{"role": "user", "content": "hi"}]) as events,
    ):
        assert events.get_final_message().content[0].to_dict()["text"] == "Healed"
    assert len(lane.calls) == 2


@pytest.mark.parametrize("lane", ["gemini"], indirect=True)
def test_the_google_sdk_streams_healed_answers_through_its_base_url(lane: Lane) -> None:
    lane.upstream.play(empty("gemini"), stream("gemini", "Healed"))
    client = gemini_client(lane.proxy.url)
    chunks = client.models.generate_content_stream(model=lane.model, contents="hi")
    assert "".join(chunk.text or "" for chunk in chunks) == "Healed"
    assert len(lane.calls) == 2


@each_dialect
def test_reverse_mode_heals_with_the_clients_own_credential(doors: Doors, dialect: str) -> None:
    doors.unknown.play(empty(dialect), stream(dialect, "Healed"))
    response = ask(doors.to_unknown, dialect, "any-model")
    assert read_stream(dialect, response.body) == "Healed"
    assert len(doors.unknown.calls) == 2
    assert keys_of(doors.unknown.calls) == [CLIENT_KEY, CLIENT_KEY]
    assert not doors.known.calls
    assert response.header("x-healing-outcome") == "healed"


@pytest.mark.parametrize("form", ["x-api-key", "authorization", "x-goog-api-key", "key"])
def test_reverse_mode_hands_on_the_clients_credential_in_the_form_it_came(doors: Doors, form: str) -> None:
    headers = {"x-no-key": "1"}
    if form != "key":
        headers[form] = f"Bearer {CLIENT_KEY}" if form == "authorization" else CLIENT_KEY
    dialect = "gemini" if form in ("x-goog-api-key", "key") else "anthropic"
    query = f"key={CLIENT_KEY}" if form == "key" else ""
    ask(doors.to_unknown, dialect, "any-model", headers=headers, query=query)
    [call] = doors.unknown.calls
    kind = "bearer" if form == "authorization" else form
    assert call.credentials == [f"{kind}:{CLIENT_KEY}"]
    assert ("alt=sse" in call.query) == (dialect == "gemini")


@each_dialect
def test_reverse_mode_to_a_configured_upstream_rotates_its_accounts(doors: Doors, dialect: str) -> None:
    doors.known.play(empty(dialect), stream(dialect, "Healed"))
    response = ask(doors.to_known, dialect, doors.model)
    assert read_stream(dialect, response.body) == "Healed"
    assert keys_of(doors.known.calls) == doors.keys(dialect)
    assert response.header("x-account-email") == f"{dialect}-{doors.number}-second@accounts.example"


def test_the_host_header_does_not_choose_the_account_in_reverse_mode(doors: Doors) -> None:
    # The header names the proxy's own host, where the configured upstream happens to have the target's port.
    ask(doors.to_other_name, "anthropic", doors.model, headers={"host": "127.0.0.1"})
    assert keys_of(doors.known.calls) == [CLIENT_KEY]


def test_reverse_mode_heals_without_streaming_too(doors: Doors) -> None:
    doors.unknown.play(empty("anthropic").but(before="close"))
    response = ask(doors.to_unknown, "anthropic", "any-model", stream=False)
    assert read_json("anthropic", response.body)
    assert len(doors.unknown.calls) == 2


def test_a_reverse_target_that_is_down_gives_an_error_of_the_dialect(doors: Doors) -> None:
    response = ask(doors.to_dead, "gemini", "any-model")
    assert response.status in (500, 503, 504)
    assert response.json()["error"]["code"] == response.status
    assert response.header("x-healing-outcome") == "failed"
    assert int(response.header("x-healing-attempts") or "") >= 3


def test_reverse_mode_does_not_answer_for_its_target(doors: Doors) -> None:
    response = raw.request("GET", f"{doors.to_unknown}/health")
    [call] = doors.unknown.calls
    assert call.path == "/health"
    assert response.status == 404
    assert not any(name.lower().startswith("x-healing") for name, _ in response.headers)


def test_a_second_mitmproxy_as_upstream_proxy_carries_the_attempts(doors: Doors) -> None:
    config = "".join(
        account(f"{dialect}-{place}", dialect, priority=priority)
        for dialect in DIALECTS
        for priority, place in enumerate(("first", "second"))
    )
    config += "".join(upstream(dialect, dialect, doors.unknown.url) for dialect in DIALECTS)
    # The inner proxy has no addon: what it sees are the attempts, as plain requests to the upstream.
    with (
        Proxy(doors.proxy.folder / "inner", None, addon=False) as inner,
        Proxy(doors.proxy.folder / "outer", config, args=["--mode", f"upstream:{inner.url}"]) as outer,
    ):
        for number, dialect in enumerate(DIALECTS, 1):
            doors.unknown.reset()
            doors.unknown.play(empty(dialect), stream(dialect, "Healed"))
            assert read_stream(dialect, ask(outer.url, dialect, "any-model").body) == "Healed"
            assert keys_of(doors.unknown.calls) == [key_of(f"{dialect}-first"), key_of(f"{dialect}-second")]
            inner.wait_for_log(doors.unknown.url, count=2 * number)
