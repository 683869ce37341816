"""The faulty upstream's scenarios and its command line."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.upstream import Upstream
from tests.upstream.scenarios import SCENARIOS, UnknownScenarioError, scenario

ROOT = Path(__file__).parent.parent.parent
SECONDS = 10.0
ENDLESS = {"stall", "cut-stall", "heartbeat"}


@pytest.fixture
def up() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - ENDLESS))
@pytest.mark.parametrize(
    ("path", "stream"),
    [
        ("/v1/messages", True),
        ("/v1/messages", False),
        ("/v1beta/models/g:streamGenerateContent?alt=sse", True),
        ("/v1beta/models/g:streamGenerateContent", True),
        ("/v1beta/models/g:generateContent", False),
    ],
)
def test_scenarios_fit_every_call(up: Upstream, name: str, path: str, stream: bool) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=SECONDS)
    up.play(scenario(f"{name}:gap=0.001,hint=1.5"))
    try:
        connection.request("POST", path, json.dumps({"model": "m", "stream": stream}))
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException):
        assert name in ("cut", "cut-reset", "close", "reset")
    else:
        assert response.status >= 200
    finally:
        connection.close()
    up.wait_for(lambda up: up.calls[0].ended)


@pytest.mark.parametrize("text", ["nope", "429:hint=soon", "429:color=1"])
def test_unknown_scenarios_say_what_is_known(text: str) -> None:
    with pytest.raises(UnknownScenarioError, match="known are"):
        scenario(text)


def test_by_hand() -> None:
    command = [sys.executable, "-m", "tests.upstream", "--port", "0", "--talk", "--play", "529"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline().rpartition(":")[2])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.request("POST", "/v1/messages", '{"model": "m"}', {"x-api-key": "sk-0123456789"})
        response = connection.getresponse()
        assert response.status == 529
        assert b"overloaded_error" in response.read()
        garbled = {"type": "thinking", "thinking": "Hm.", "signature": "garbage"}
        answer = {"role": "assistant", "content": [garbled, {"type": "text", "text": "So."}]}
        messages = [{"role": "user", "content": "One."}, answer, {"role": "user", "content": "Two."}]
        connection.request("POST", "/v1/messages", json.dumps({"model": "m", "messages": messages}))
        response = connection.getresponse()
        assert response.status == 400
        assert b"Invalid `signature` in `thinking` block" in response.read()
        connection.close()
        process.send_signal(signal.SIGINT)
        output = process.stdout.read()
    assert process.returncode == 0
    assert "POST /v1/messages HTTP/1.1 x-api-key:…6789 plays 529" in output
    assert "finished" in output
    assert "0123456789" not in output
