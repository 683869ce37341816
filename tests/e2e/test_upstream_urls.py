"""Upstreams whose URL ends with the API's version, as many services write theirs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from antigravity_healing.commands.check import print_checks
from antigravity_healing.policy.settings.file import load

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask, read_stream
from tests.support import raw
from tests.upstream import Upstream, anthropic_stream, gemini_stream


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory, server: Upstream) -> Iterator[Proxy]:
    config = account("a", "with-a") + upstream("with-a", "anthropic", f"{server.url}/gate/v1")
    config += account("g", "with-g") + upstream("with-g", "gemini", f"{server.url}/v1beta")
    config += '[models]\n"claude-for-gemini" = "with-g/g"\n"gemini-for-claude" = "with-a/c"\n'
    with Proxy(tmp_path_factory.mktemp("urls"), config) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def afresh(server: Upstream) -> None:
    server.reset()


@pytest.mark.parametrize(
    ("client", "model", "answers", "path"),
    [
        ("anthropic", "m", "anthropic", "/gate/v1/messages"),
        ("gemini", "m", "gemini", "/v1beta/models/m:streamGenerateContent"),
        ("anthropic", "claude-for-gemini", "gemini", "/v1beta/models/g:streamGenerateContent"),
        ("gemini", "gemini-for-claude", "anthropic", "/gate/v1/messages"),
    ],
)
def test_the_version_is_asked_for_once(
    proxy: Proxy, server: Upstream, client: str, model: str, answers: str, path: str
) -> None:
    server.play(anthropic_stream("Hi") if answers == "anthropic" else gemini_stream("Hi"))
    assert read_stream(client, ask(proxy.url, client, model).body) == "Hi"
    (call,) = server.calls
    assert call.path == path


def test_the_urls_version_goes_before_the_clients(proxy: Proxy, server: Upstream) -> None:
    url = f"{proxy.url}/v1/models/m:countTokens?x=/v1/y"
    assert raw.request("POST", url, {"contents": []}, headers={"x-goog-api-key": "dummy"}).status == 200
    (call,) = server.calls
    assert (call.path, call.query) == ("/v1beta/models/m:countTokens", "x=/v1/y")


def test_what_passes_and_what_has_no_version_is_asked_for_there_too(proxy: Proxy, server: Upstream) -> None:
    headers = {"anthropic-version": "2023-06-01"}
    raw.request("GET", f"{proxy.url}/v1/files", headers=headers)
    raw.request("GET", f"{proxy.url}/v1beta/files/abc")
    raw.request("POST", f"{proxy.url}/upload/v1beta/files", b"x", headers={"content-type": "text/plain"})
    assert [call.path for call in server.calls] == [
        "/gate/v1/files",
        "/v1beta/files/abc",
        "/upload/v1beta/files",
    ]


def test_the_account_is_checked_there(proxy: Proxy, server: Upstream, capsys: pytest.CaptureFixture[str]) -> None:
    file: Path = proxy.config_file
    print_checks(file, load(file))
    assert "  g (with-g): usable" in capsys.readouterr().out.splitlines()
    assert sorted(call.path for call in server.calls) == ["/gate/v1/models", "/v1beta/models"]
