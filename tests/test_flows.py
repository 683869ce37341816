"""The recorded flows in flows/, and the demonstration that replays them without network and without keys."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from antigravity_healing.policy.settings.file import load
from mitmproxy import http, io

from tests.e2e.harness import Proxy
from tests.record_flows import CAPTURED, CLIENTS, CONFIG, FOLDER, METADATA, NOWHERE, POISONED, SCENES, UPSTREAM, record
from tests.support import raw
from tests.support.places import ROOT
from tests.support.protocol import check_anthropic_json, check_anthropic_stream, check_gemini_stream

COMMAND = (
    "uv run mitmdump -n -s addons/antigravity.py --set antigravity_config=flows/demo.toml "
    "-C flows/clients.flow -C flows/captured.flow -S flows/upstream.flow --flow-detail 0"
)
_EXCHANGE = re.compile(r"\[([0-9a-f]{8})\] (.*)")
_CREDENTIAL = re.compile(
    rb"sk-ant|AIza|AQ\.|ya29|bearer|authorization|x-api-key|x-goog-api-key|[?&]key=|key-of-", re.IGNORECASE
)
_ADDRESS = re.compile(rb"\d{1,3}(?:\.\d{1,3}){3}")
_FLOW_FILES = [pytest.param(file, id=file.name) for file in sorted(FOLDER.glob("*.flow"))]


def read(file: Path) -> list[http.HTTPFlow]:
    """The flows of a file; that all are HTTP flows is asserted."""
    flows = []
    for flow in io.read_flows_from_paths([str(file)]):
        assert isinstance(flow, http.HTTPFlow)
        flows.append(flow)
    return flows


def story(flow: http.HTTPFlow) -> dict[str, Any]:
    """What the addon noted on a flow."""
    found: dict[str, Any] = flow.metadata[METADATA]
    return found


def documented_command() -> str:
    """The demonstration's command as README.md gives it, its lines joined."""
    text = (ROOT / "README.md").read_text("utf-8").replace("\\\n", " ")
    found = [" ".join(line.split()) for line in text.splitlines() if "mitmdump" in line and f"flows/{CLIENTS}" in line]
    return found[0].removeprefix("$ ") if found else COMMAND


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the demonstration prints. It has to end by itself, with status 0."""
    words = shlex.split(documented_command())
    # uv would look for the environment that this already is.
    words = [*(words[2:] if words[:2] == ["uv", "run"] else words), "-v"]  # each step is looked at, too
    home = tmp_path_factory.mktemp("home")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**kept, "PATH": path, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def told(output: str) -> list[list[str]]:
    """The lines that the demonstration logs for each exchange, in the order of the exchanges."""
    lines: dict[str, list[str]] = defaultdict(list)
    for exchange, text in _EXCHANGE.findall(output):
        if " → " not in text:
            lines[exchange].append(text)
    return list(lines.values())


def test_demonstration_heals_each_exchange_as_it_was_recorded(told: list[list[str]], output: str) -> None:
    recorded = [story(flow) for flow in read(FOLDER / CLIENTS)]
    assert len(recorded) == len(SCENES)
    assert len(told) == len(SCENES) + 1, output
    for lines, exchange in zip(told, recorded, strict=False):
        retries = [line for line in lines if "retrying..." in line]
        assert len(retries) == len(exchange["attempts"]) - 1, lines
        assert lines[-1] == f"attempt {len(exchange['attempts'])} on {exchange['attempts'][-1]['account']}: " + (
            f"delivered, {exchange['outcome']}"
        )
        for line, attempt in zip(retries, exchange["attempts"], strict=False):
            assert f"({attempt['failure']})" in line, lines


def test_demonstration_tells_before_and_after(output: str) -> None:
    told = [(exchange, text) for exchange, text in _EXCHANGE.findall(output) if " → " in text]
    outcomes = [*["healed (2 attempts)"] * 3, "clean", "healed (2 attempts)"]
    expected = [
        (recorded["exchange"], f"{recorded['model']}: {outcome} → {outcome}")
        for recorded, outcome in zip((story(flow) for flow in read(FOLDER / CLIENTS)), outcomes, strict=True)
    ]
    assert told[:-1] == expected
    before, _, after = told[-1][1].partition(" → ")
    assert before.startswith("claude-sonnet-4-5: failed (400 invalid_request_error: messages.1.content.0: Invalid")
    assert after == "healed (2 attempts)"
    assert "6 exchanges replayed: 6 succeeded, 0 failed" in output


def test_demonstration_says_what_was_wrong(told: list[list[str]]) -> None:
    limited, empty, cut, clean, translated, poisoned = ("\n".join(lines) for lines in told)
    assert "429 rate_limit_error: This request would exceed your organization's rate limit" in limited
    assert "200 OK but 0 tokens" in empty
    assert "claude-3-5-haiku-latest" in empty, "the name that the client used"
    assert "claude-haiku-4-5 at anthropic" in empty, "the name that was asked for"
    assert "Stream ended during peek" in cut
    assert "retrying" not in clean
    assert "gemini-3-pro-preview at gemini, translated to Gemini, as a stream" in translated
    assert "Stream ended in the middle of the answer" in translated
    assert "delivered, healed" in translated
    assert "Unexpected thinking signature error: 400 invalid_request_error: messages.1.content.0: Invalid" in poisoned
    assert "Retrying with all thinking blocks removed." in poisoned
    assert "delivered, healed" in poisoned


def test_demonstration_connects_to_nothing(output: str) -> None:
    for sign in ("server connect", "error establishing", "refused", "listening at", "killed", "Traceback"):
        assert sign not in output, output


def test_demonstration_begins_with_no_warning(output: str) -> None:
    assert "others can read" not in output


def test_demonstration_needs_no_credential_from_outside() -> None:
    config = load(FOLDER / CONFIG)
    for account in config.accounts:
        assert account.api_key is not None
        key = account.api_key.get_secret_value()
        assert key == f"demo-{account.name[0] if account.upstream == 'anthropic' else account.name[-1]}", "no real key"
        assert (config.upstreams[account.upstream].host, config.upstreams[account.upstream].port) == NOWHERE


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["--set", "server_replay_extra=kill"], id="base URL, the unknown is killed"),
        pytest.param(["--mode", "reverse:http://{}:{}".format(*NOWHERE)], id="reverse mode"),
    ],
)
def test_recorded_attempts_answer_attempts_and_never_the_client_itself(args: list[str], tmp_path: Path) -> None:
    scene = SCENES[2]  # its attempts ask for what the client asks for: all that tells them apart is what they are
    options = {"server_replay": str(FOLDER / UPSTREAM), "keepserving": "true"}
    with Proxy(tmp_path, (FOLDER / CONFIG).read_text("utf-8"), options=options, args=args) as proxy:
        response = raw.request("POST", proxy.url + scene.path, scene.body)
    assert (response.status, response.body) == (200, scene.replies[-1].whole)
    assert response.header("x-healing-outcome") == "healed"


@pytest.mark.parametrize("file", _FLOW_FILES)
def test_flow_file_loads_and_says_nothing_of_keys_and_machines(file: Path) -> None:
    flows = read(file)
    assert flows
    content = file.read_bytes() + b"".join(
        message.content or b"" for flow in flows for message in (flow.request, flow.response) if message
    )
    assert not _CREDENTIAL.findall(content)
    assert not any(key in content for key in (b"demo-w", b"demo-h", b"demo-a", b"demo-b"))
    assert set(_ADDRESS.findall(content)) == {b"127.0.0.1"}
    for flow in flows:
        assert flow.request.host == flow.request.pretty_host == "127.0.0.1"
    for place in (ROOT, Path.home(), Path(tempfile.gettempdir())):
        assert f"{place}{os.sep}".encode() not in content
    assert file.stat().st_size < 100_000


def test_client_flows_hold_the_exchanges_of_the_scenes() -> None:
    for flow, scene in zip(read(FOLDER / CLIENTS), SCENES, strict=True):
        exchange, tries = story(flow), len(scene.replies)
        assert exchange["role"] == "exchange"
        assert exchange["outcome"] == ("healed" if tries > 1 else "clean")
        assert [attempt["attempt"] for attempt in exchange["attempts"]] == list(range(1, tries + 1))
        assert flow.request.path == scene.path
        assert flow.response is not None
        assert flow.response.headers["x-healing-attempts"] == str(tries)
        body = flow.response.raw_content or b""
        if "asked" in exchange:
            assert check_anthropic_json(body).text == check_gemini_stream(scene.replies[-1].whole).text
            continue
        assert body == scene.replies[-1].whole, "the client gets the last attempt's answer to the byte"
        (check_anthropic_stream if exchange["dialect"] == "anthropic" else check_gemini_stream)(body)


def test_upstream_flows_hold_the_attempts_of_these_exchanges() -> None:
    expected = [(story(flow)["exchange"], attempt) for flow in read(FOLDER / CLIENTS)
                for attempt in story(flow)["attempts"]]  # fmt: skip
    attempts = read(FOLDER / UPSTREAM)
    assert [(story(flow)["exchange"], story(flow)) for flow in attempts[: len(expected)]] == expected
    replies = [reply for scene in (*SCENES, POISONED) for reply in scene.replies]
    for flow, reply in zip(attempts, replies, strict=True):
        assert story(flow)["role"] == "attempt"
        assert story(flow)["verdict"]
        assert (flow.request.host, flow.request.port) == NOWHERE
        assert flow.response is not None
        assert (flow.response.status_code, flow.response.raw_content) == (reply.status, reply.whole)


def test_captured_flows_hold_the_failed_exchange_and_all_that_was_tried() -> None:
    client, *attempts = read(FOLDER / CAPTURED)
    assert story(client)["outcome"] == "failed"
    assert [(story(flow)["role"], story(flow)["failure"]) for flow in attempts] == [("attempt", "signature")] * 3
    assert [story(flow).get("repaired") for flow in attempts] == [None, ["text"], ["strip"]]
    assert client.response is not None
    assert (client.response.status_code, client.response.content) == (400, POISONED.replies[0].body)


def test_recording_again_gives_equivalent_flows() -> None:
    for name, flows in record().items():
        assert [essence(flow) for flow in flows] == [essence(flow) for flow in read(FOLDER / name)]


def without_own_ids(response: http.Response) -> bytes:
    """The body, in which the ids of translated messages are always new."""
    return re.sub(rb"msg_[0-9a-f]{24}", b"msg_new", response.raw_content or b"")


def essence(flow: http.HTTPFlow) -> dict[str, Any]:
    """All of a flow that does not change from one recording to the next."""
    noted = story(flow)
    attempts = noted.get("attempts", [noted])
    assert flow.response is not None
    return {
        "role": noted["role"],
        "outcome": noted.get("outcome"),
        "attempts": [(each["attempt"], each["account"], each["status"], each["failure"]) for each in attempts],
        # An empty answer is given up as soon as it is seen to be one: whether its end has come by then is chance.
        "error": flow.error is not None and noted.get("failure") != "empty",
        "request": (flow.request.method, flow.request.url, flow.request.headers.fields, flow.request.raw_content),
        "response": (
            flow.response.status_code,
            [field for field in flow.response.headers.fields if field[0].lower() != b"x-healing-id"],
            without_own_ids(flow.response),
        ),
        "marked": flow.marked,
    }
