"""Google's Application Default Credentials, asked for at a token server that is local."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.e2e.harness import Proxy
from tests.e2e.test_modes_helpers import ask, read_stream
from tests.support.protocol import check_gemini_error
from tests.upstream import Call, Reply, Upstream, error_info, gemini_error
from tests.upstream.gemini import JSON_HEADERS

EXPIRED = gemini_error(
    401, "UNAUTHENTICATED", "Expected an access token.", details=[error_info("ACCESS_TOKEN_EXPIRED")]
)


@dataclass(frozen=True)
class Served:
    """A proxy, Vertex AI, and where its tokens come from."""

    proxy: Proxy
    server: Upstream
    tokens: Upstream

    @property
    def credentials(self) -> list[str]:
        """What the calls have presented."""
        return [call.credential for call in self.server.calls]


def service_account(file: Path, tokens: Upstream, name: str) -> Path:
    """A file as Google gives it for a service account."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    email = f"{name}@its-own.iam.gserviceaccount.com"
    known = {"type": "service_account", "project_id": "its-own", "private_key_id": "1", "private_key": pem}
    file.write_text(json.dumps({**known, "client_email": email, "token_uri": f"{tokens.url}/token"}))
    return file


def account(name: str, bearer: str) -> str:
    head = f'[[accounts]]\nname = "{name}"\nupstream = "vertex"\nmodels = ["gemini-{name}"]\n'
    return f'{head}bearer = "{bearer}"\n'


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, numbers = tmp_path_factory.mktemp("adc"), count(1)

    def token(call: Call) -> Reply:
        said = parse_qs(call.body.decode())
        assert said["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        given = {"access_token": f"ya29.token-{next(numbers)}-0123456789", "expires_in": 3600, "token_type": "Bearer"}
        return Reply(200, JSON_HEADERS, json.dumps(given).encode())

    with Upstream() as server, Upstream() as tokens:
        tokens.default = token
        default = service_account(folder / "default.json", tokens, "default")
        service_account(folder / "other.json", tokens, "other")
        (folder / "broken.json").write_text('{"type": "service_account", "private_key": "hush"}')
        config = f'[upstreams.vertex]\ndialect = "gemini"\nproject = "p-one"\nurl = "{server.url}"\n'
        config += account("default", "adc:") + account("other", "adc:../other.json")
        config += account("broken", "adc:../broken.json") + account("pipe", "adc:../pipe")
        os.mkfifo(folder / "pipe")
        env = {"GOOGLE_APPLICATION_CREDENTIALS": str(default), "GOOGLE_CLOUD_QUOTA_PROJECT": "pays-for-it"}
        with Proxy(folder / "proxy", config, env=env) as proxy:
            # At the start each credential is tried.
            proxy.wait_for_log("Accounts: vertex: 2 of 4 usable (broken: ")
            assert len(tokens.calls) == 2
            yield Served(proxy, server, tokens)


@pytest.fixture
def served(shared: Served) -> Served:
    shared.server.reset()
    shared.tokens.reset()
    return shared


def test_the_token_that_was_fetched_at_the_start_is_used_while_it_is_good(served: Served) -> None:
    for _ in range(2):
        assert read_stream("gemini", ask(served.proxy.url, "gemini", "gemini-default").body)
    (first, second) = served.credentials
    assert first == second
    assert first.startswith("bearer:ya29.token-")
    assert {call.headers["x-goog-user-project"] for call in served.server.calls} == {"pays-for-it"}
    assert not served.tokens.calls


def test_a_file_of_its_own_is_another_credential(served: Served) -> None:
    assert ask(served.proxy.url, "gemini", "gemini-default").status == 200
    assert ask(served.proxy.url, "gemini", "gemini-other").status == 200
    assert len(set(served.credentials)) == 2


def test_a_token_that_is_refused_is_fetched_anew_once(served: Served) -> None:
    assert ask(served.proxy.url, "gemini", "gemini-other").status == 200
    served.tokens.reset()
    served.server.play(EXPIRED)
    assert read_stream("gemini", ask(served.proxy.url, "gemini", "gemini-other").body)
    before, refused, renewed = served.credentials
    assert before == refused != renewed
    assert len(served.tokens.calls) == 1


def test_a_token_that_is_about_to_end_is_fetched_anew(served: Served) -> None:
    short = {"access_token": "ya29.short-lived-0123456789", "expires_in": 60, "token_type": "Bearer"}
    served.tokens.play(Reply(200, JSON_HEADERS, json.dumps(short).encode()))
    served.server.play(EXPIRED)
    for _ in range(2):
        assert ask(served.proxy.url, "gemini", "gemini-default").status == 200
    assert served.credentials[-2] == "bearer:ya29.short-lived-0123456789" != served.credentials[-1]


def test_credentials_that_are_none_are_told_without_what_they_say(served: Served) -> None:
    response = ask(served.proxy.url, "gemini", "gemini-broken")
    message = check_gemini_error(response.status, response.body)["message"]
    assert "broken.json" in message
    assert "hush" not in message + served.proxy.log
    assert not served.server.calls


def test_a_pipe_is_not_waited_for_and_the_file_in_its_place_is_taken(served: Served) -> None:
    response = ask(served.proxy.url, "gemini", "gemini-pipe")
    assert "is a pipe" in check_gemini_error(response.status, response.body)["message"]
    pipe = served.proxy.folder.parent / "pipe"
    pipe.unlink()
    service_account(pipe, served.tokens, "mended")
    assert ask(served.proxy.url, "gemini", "gemini-pipe").status == 200


def test_no_token_is_in_any_log(served: Served) -> None:
    assert ask(served.proxy.url, "gemini", "gemini-default").status == 200
    assert "ya29." not in served.proxy.log + served.proxy.log_file.read_text()
