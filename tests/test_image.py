"""The container image: what it runs lets nobody in without a key. The image itself is not built here."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import mitmproxy.tools.main
import pytest
from antigravity_healing.commands.main import main

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask, own_address, read_error, read_stream
from tests.support.places import ROOT
from tests.upstream import Upstream, anthropic_stream

KEY = "gateway-key-0x31"
_FILE = re.sub(r"\\\n", "", (ROOT / "addons" / "Dockerfile").read_text())


def instruction(name: str) -> list[str]:
    """The words of an instruction that has a list of them."""
    [words] = re.findall(rf"^.*\b{name} *(\[.*\])$", _FILE, re.MULTILINE)
    found: list[str] = json.loads(words)
    return found


def image(folder: Path, config: str | None, *, fresh: bool = False) -> Proxy:
    """A proxy that is started as the image starts it, with its folders in a test's.

    fresh: by the image's own program; else by what that would start.
    """
    proxy = Proxy(folder, config)
    moved = {
        "antigravity_config=/config/antigravity.toml": f"antigravity_config={proxy.config_file}",
        "antigravity_home=/data": f"antigravity_home={folder / 'home'}",
        "confdir=/data/mitmproxy": f"confdir={proxy.confdir}",
        "8080": "0",
    }
    program, *arguments = instruction("ENTRYPOINT")
    assert set(moved) <= set(arguments)
    command = Path(proxy.command[0]).with_name(program)
    assert command.exists()
    arguments = [*(moved.get(word, word) for word in arguments), "--set", "termlog_verbosity=debug"]
    if fresh:
        proxy.command = [str(command), *arguments]
    else:
        with patch.object(mitmproxy.tools.main, "mitmdump", return_value=0) as mitmdump:
            assert main(arguments) == 0
        proxy.command[1:] = mitmdump.call_args[0][0]
    return proxy


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


def configuration(server: Upstream, more: str = "") -> str:
    return account("one", "anthropic") + upstream("anthropic", "anthropic", server.url) + more


def healthcheck(port: int) -> int:
    """What the image's health check gives for a proxy on this port."""
    program, option, script = instruction("CMD")
    assert (program, option) == ("python", "-c")
    with pytest.raises(SystemExit) as ended:
        exec(script.replace("8080", str(port)), {})
    return int(ended.value.code or 0)


def test_without_client_keys_nobody_from_elsewhere_is_let_in(tmp_path: Path, server: Upstream) -> None:
    with image(tmp_path, configuration(server)) as proxy:
        url = f"http://{own_address()}:{proxy.port}"
        answer = ask(url, "anthropic", "m")
        assert answer.status == 403
        assert "clients.keys lets others in" in read_error("anthropic", answer)["message"]
        assert not server.calls
        assert healthcheck(proxy.port) == 0


@pytest.mark.parametrize("loopback_only", ["true", "false"])
def test_with_a_client_key_who_shows_it_is_served(tmp_path: Path, server: Upstream, loopback_only: str) -> None:
    server.reset()
    server.play(anthropic_stream("Hello"))
    keys = f'[clients]\nkeys = ["{KEY}"]\nloopback_only = {loopback_only}\n'
    with image(tmp_path, configuration(server, keys), fresh=loopback_only == "true") as proxy:
        url = f"http://{own_address()}:{proxy.port}"
        assert ask(url, "anthropic", "m").status == 401
        assert read_stream("anthropic", ask(url, "anthropic", "m", headers={"x-no-key": "", "x-api-key": KEY}).body)
        assert healthcheck(proxy.port) == 0


def test_without_its_configuration_it_does_not_start(tmp_path: Path) -> None:
    proxy = image(tmp_path, None).start(wait=False)
    assert proxy.wait_exit(60) == 1
    assert "there is no such file; it is what the option antigravity_config names" in proxy.log


def test_it_does_not_run_as_root_and_copies_what_is_there() -> None:
    lines = [line.split() for line in _FILE.splitlines()]
    assert any(words[:1] == ["USER"] and words[1] not in ("root", "0") for words in lines)
    copied = [word for words in lines if words[:1] == ["COPY"] for word in words[1:-1]]
    assert copied
    assert all((ROOT / word).exists() for word in copied), shlex.join(copied)
