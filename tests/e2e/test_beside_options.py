"""mitmproxy's own options do for healed requests what they say."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.e2e.h2_client import H2Client
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import (
    ask,
    body,
    empty,
    error,
    free_port,
    read_error,
    read_json,
    read_stream,
    stream,
    target,
)
from tests.support import raw
from tests.upstream import Reply, Upstream, anthropic_json, anthropic_stream

LIMIT = 50_000
NAME = "llm.lan"


@dataclass(frozen=True)
class Optioned:
    """A proxy under many options, in reverse mode too: `tls` and `plain` are the base URLs of its targets."""

    proxy: Proxy
    servers: dict[str, Upstream]
    bases: dict[str, str]

    def http2(self) -> H2Client:
        ca = self.proxy.ca_file
        return H2Client(self.servers["tls"].url, proxy=self.proxy.url, ca=ca)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Optioned]:
    folder = tmp_path_factory.mktemp("optioned")
    with Upstream(tls=True, http2=True) as tls, Upstream() as plain, Upstream() as elsewhere:
        config = f'[clients]\nhosts = ["{NAME}"]\n[retry]\nspare_retries = 1000000\n'
        for name, dialect, server in (
            ("anthropic", "anthropic", tls),
            ("gemini", "gemini", plain),
            ("elsewhere", "anthropic", elsewhere),
        ):
            for number in (1, 2):
                config += account(f"{name}-{number}", name, models=["elsewhere" if name == "elsewhere" else "m"])
                config += 'headers = { "X-Team" = "a" }\n'
            config += upstream(name, dialect, server.url)
        config += account("mapped", "mapped", models=["mapped"])
        config += upstream("mapped", "gemini", "http://mapped.invalid:81")
        config += '[models]\nelsewhere = "elsewhere/elsewhere"\nmapped = "mapped/mapped"\n'
        port, *ports = (free_port() for _ in range(3))
        modes = [f"regular@{port}", f"reverse:{tls.url}@{ports[0]}", f"reverse:{plain.url}@{ports[1]}"]
        options = {
            "ssl_verify_upstream_trusted_ca": str(tls.ca_file),
            "keep_host_header": "true",
            "body_size_limit": str(LIMIT),
            "anticache": "true",
            "map_remote": f"|//mapped.invalid:81/|//127.0.0.1:{elsewhere.port}/",
            "anticomp": "true",
            "normalize_outbound_headers": "false",
        }
        args = [word for mode in modes for word in ("--mode", mode)]
        with Proxy(folder, config, options=options, args=args) as proxy:
            proxy.wait_for_log("listening at", len(modes))
            proxy.port = port
            bases = dict(zip(("tls", "plain"), (f"http://127.0.0.1:{each}" for each in ports), strict=True))
            yield Optioned(proxy, {"tls": tls, "plain": plain, "elsewhere": elsewhere}, bases)


@pytest.fixture
def optioned(shared: Optioned) -> Optioned:
    for server in shared.servers.values():
        server.reset()
    return shared


@pytest.mark.parametrize(("where", "dialect"), [("tls", "anthropic"), ("plain", "gemini")])
def test_reverse_mode_keeps_the_host_header_for_its_target(optioned: Optioned, where: str, dialect: str) -> None:
    server = optioned.servers[where]
    server.play(empty(dialect), stream(dialect, "Healed"), Reply(body=b"{}"))
    answer = ask(optioned.bases[where], dialect, "m", headers={"host": NAME})
    assert read_stream(dialect, answer.body) == "Healed"
    path = "/v1/messages/batches" if dialect == "anthropic" else "/v1beta/cachedContents"
    raw.request("POST", optioned.bases[where] + path, {"a": 1}, {"host": NAME})
    assert [call.headers["host"] for call in server.calls] == [NAME] * 3


def test_another_upstream_than_the_target_is_called_by_its_own_name(optioned: Optioned) -> None:
    ask(optioned.bases["tls"], "anthropic", "elsewhere", headers={"host": NAME})
    ask(optioned.proxy.url, "gemini", "m", headers={"host": NAME})
    for name in ("elsewhere", "plain"):
        server = optioned.servers[name]
        assert [call.headers["host"] for call in server.calls] == [f"127.0.0.1:{server.port}"]


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_a_request_over_the_limit_is_told_so_in_its_dialect(optioned: Optioned, dialect: str) -> None:
    answer = ask(optioned.proxy.url, dialect, "m", "x" * LIMIT)
    assert answer.status == 413
    assert f"{LIMIT:,}" in answer.json()["error"]["message"]
    with optioned.http2() as client:
        number = client.post(target("anthropic", "m"), body("anthropic", "m", "x" * LIMIT))
        assert b"longer than" in client.whole(number)
    assert not optioned.servers["tls"].calls + optioned.servers["plain"].calls


def test_a_request_under_the_limit_is_served(optioned: Optioned) -> None:
    answer = ask(optioned.proxy.url, "anthropic", "m", "x" * (LIMIT - 1000))
    assert read_stream("anthropic", answer.body)


def test_a_whole_answer_over_the_limit_is_not_given(optioned: Optioned) -> None:
    optioned.servers["tls"].default = anthropic_json("x" * LIMIT)
    answer = ask(optioned.proxy.url, "anthropic", "m", stream=False)
    assert answer.status >= 500
    assert read_error("anthropic", answer)
    assert len(optioned.servers["tls"].calls) == 1


def test_a_stream_may_be_longer(optioned: Optioned) -> None:
    optioned.servers["tls"].play(anthropic_stream("x" * LIMIT, pieces=20))
    assert len(read_stream("anthropic", ask(optioned.proxy.url, "anthropic", "m").body)) == LIMIT


def test_nothing_asks_whether_it_has_changed_or_for_compression(optioned: Optioned) -> None:
    headers = {"if-none-match": '"a"', "accept-encoding": "gzip"}
    ask(optioned.proxy.url, "gemini", "m", headers=headers)
    raw.request("GET", f"{optioned.proxy.url}/v1beta/cachedContents", headers=headers)
    for call in optioned.servers["plain"].calls:
        assert "if-none-match" not in call.headers
        assert call.headers["accept-encoding"] == "identity"
    assert len(optioned.servers["plain"].calls) == 2


def test_map_remote_leads_attempts_and_what_passes_elsewhere(optioned: Optioned) -> None:
    server = optioned.servers["elsewhere"]
    server.play(empty("gemini"), stream("gemini", "Healed"), Reply(body=b"{}"))
    assert read_stream("gemini", ask(optioned.proxy.url, "gemini", "mapped").body) == "Healed"
    url = "http://mapped.invalid:81/v1beta/cachedContents"
    answer = raw.request("POST", url, {}, proxy=optioned.proxy.url)
    assert (answer.status, answer.body) == (200, b"{}")
    assert [call.headers["host"] for call in server.calls] == [f"127.0.0.1:{server.port}"] * 3
    assert {call.credential for call in server.calls} == {f"x-goog-api-key:{key_of('mapped')}"}


def test_names_of_headers_are_in_lower_case_for_http2(optioned: Optioned) -> None:
    server = optioned.servers["tls"]
    cookies = {"Set-Cookie": "a=1", "X-Theirs": "1"}
    server.play(
        empty("anthropic"), stream("anthropic", "Healed"), anthropic_json("Whole"), error("anthropic", 400, "No")
    )
    # A name in upper case would be an error of the protocol, on either side.
    with optioned.http2() as client:
        number = client.post("/v1/messages", body("anthropic", "m"), {"cookie": "b=2"})
        assert read_stream("anthropic", client.whole(number)) == "Healed"
        assert client.heads[number]["x-healing-outcome"] == "healed"
        number = client.post("/v1/messages", body("anthropic", "m", stream=False))
        assert read_json("anthropic", client.whole(number)) == "Whole"
        assert "content-length" in client.heads[number]
        number = client.post("/v1/messages", body("anthropic", "m"))
        assert b"No" in client.whole(number)
        server.play(Reply(headers=cookies, body=b"{}"))
        assert client.whole(client.post("/v1/messages/batches", {})) == b"{}"
        assert b"No account" in client.whole(client.post("/v1/messages", body("anthropic", "unknown")))
    assert [call.http_version for call in server.calls] == ["HTTP/2"] * 4 + ["HTTP/2"]
    assert all(call.headers["x-team"] == "a" for call in server.calls)
