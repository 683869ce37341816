"""A captured signature failure, replayed: by mitmweb's button, by the command, and by a script."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import DIALECTS, credential, read_stream, target
from tests.e2e.web import Web, running_web
from tests.support import raw
from tests.upstream import Talking, Upstream, anthropic_error, gemini_error
from tests.upstream.saying import is_said

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
INVALID = "messages.1.content.0: Invalid `signature` in `thinking` block"
REFUSALS = {
    "anthropic": anthropic_error(400, "invalid_request_error", INVALID),
    "gemini": gemini_error(400, None, "Corrupted thought signature."),
}


def garbage(model: str) -> str:
    """A signature that nobody minted, another one for each conversation: a repair belongs to what it was made for."""
    return base64.b64encode(f"garbage of the right length, {model}".ljust(60).encode()).decode()


def poisoned(dialect: str, model: str) -> dict[str, Any]:
    """A request whose history does not verify."""
    if dialect == "gemini":
        call = {"functionCall": {"name": "look", "args": {"at": 1}}, "thoughtSignature": garbage(model)}
        seen = {"functionResponse": {"name": "look", "response": {"output": "seen"}}}
        turns = (("user", {"text": f"Look, {model}. [steps:1]"}), ("model", call), ("user", seen))
        return {"contents": [{"role": role, "parts": [part]} for role, part in turns]}
    thinking = {"type": "thinking", "thinking": f"Hm, {model}.", "signature": garbage(model)}
    messages = [
        {"role": "user", "content": "One."},
        {"role": "assistant", "content": [thinking, {"type": "text", "text": "So."}]},
        {"role": "user", "content": "Two."},
    ]
    return {"model": model, "max_tokens": 9, "stream": True, "messages": messages}


def configuration(server: Upstream) -> str:
    return "".join(account(dialect, dialect) + upstream(dialect, dialect, server.url) for dialect in DIALECTS)


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as running:
        running.default = Talking()
        yield running


@pytest.fixture(scope="module")
def web(server: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with running_web(tmp_path_factory.mktemp("web"), server, configuration(server)) as running:
        yield running


def fail(web: Web, dialect: str, model: str) -> dict[str, Any]:
    """Have upstream refuse whatever the repairs try, and give the client's flow."""
    web.upstream.play(*[REFUSALS[dialect]] * 2)
    path = target(dialect, model)
    response = raw.request("POST", web.proxy.url + path, poisoned(dialect, model), credential(dialect))
    assert (response.status, response.body) == (400, REFUSALS[dialect].body)
    assert not web.upstream.unplayed
    web.wait_for(lambda: web.outcome(model) == "failed")
    return web.client_flow(model)


@each_dialect
def test_the_button_heals_it(web: Web, dialect: str) -> None:
    model = f"{dialect}-button"
    flow = fail(web, dialect, model)
    web.replay(flow)
    web.wait_for(lambda: web.outcome(model) == "healed")
    assert is_said(read_stream(dialect, web.content(web.client_flow(model))))


@each_dialect
def test_the_command_heals_it_and_says_so(web: Web, dialect: str) -> None:
    model = f"{dialect}-command"
    flow = fail(web, dialect, model)
    [line] = web.command("antigravity.replay", f"@{flow['id']}")
    assert "being replayed" in line
    web.wait_for(lambda: web.outcome(model) == "healed")
    told = web.wait_for_event("→ healed")
    assert "failed (400" in told
    differences = "\n".join(web.command("antigravity.diff", f"@{flow['id']}"))
    assert garbage(model)[:20] not in differences
    path = "messages[1].content" if dialect == "anthropic" else "contents[1].parts[0]"
    assert path in differences
    signed = web.command("antigravity.signatures", f"@{flow['id']}")
    assert signed == ["nothing signed is known of it"] if dialect == "anthropic" else "text of" in signed[-1]


def test_a_script_heals_what_was_captured(web: Web, server: Upstream, tmp_path: Path) -> None:
    for dialect in DIALECTS:
        fail(web, dialect, f"{dialect}-script")
    [file] = web.command("antigravity.capture.names")[-1:]
    captured = web.proxy.folder / "home" / "captured" / file
    replay = Proxy(tmp_path, configuration(server), args=["-C", str(captured)]).start(wait=False)
    assert replay.wait_exit() == 0, replay.log
    for dialect in DIALECTS:
        [line] = [line for line in replay.lines if f"{dialect}-script: failed" in line]
        assert "→ healed (2 attempts)" in line


def test_a_restart_keeps_a_repair_with_its_conversation(server: Upstream, tmp_path: Path) -> None:
    outcomes = []
    for _ in range(2):
        with Proxy(tmp_path, configuration(server)) as proxy:
            for dialect in DIALECTS:
                model = f"{dialect}-restarted"
                url = proxy.url + target(dialect, model)
                response = raw.request("POST", url, poisoned(dialect, model), credential(dialect))
                outcomes.append((response.status, response.header("x-healing-outcome")))
    assert outcomes == [(200, "healed")] * 2 + [(200, "clean")] * 2
