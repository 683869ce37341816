"""What the tests' own proxy finds out: nothing may crash in it unseen."""

import json
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.harness import Proxy
from tests.support import raw
from tests.support.places import ADDON, ROOT

BREAKS = "def request(flow):\n    raise KeyError('on purpose')\n"
TELLS = """
import json, os, sys
from mitmproxy import http

def request(flow):
    mask = os.umask(0)
    os.umask(mask)
    told = dict(pid=os.getpid(), argv=sys.argv, folder=os.getcwd(), env=dict(os.environ), umask=mask)
    told["path"] = sys.path
    flow.response = http.Response.make(200, json.dumps(told))
"""


@pytest.mark.parametrize("provoked", [False, True])
def test_a_test_fails_whose_proxy_has_said_a_traceback(tmp_path: Path, provoked: bool) -> None:
    script = tmp_path / "script.py"
    script.write_text(BREAKS)
    proxy = Proxy(tmp_path / "proxy", args=["-s", str(script)]).start()
    proxy.provoked = provoked
    raw.request("GET", f"{proxy.url}/")
    proxy.wait_for_log("on purpose")
    if provoked:
        assert proxy.stop() == 0
    else:
        with pytest.raises(AssertionError, match="on purpose"):
            proxy.stop()


# What a fresh one is of the two is the same in both.
@pytest.mark.parametrize(
    ("fresh", "tool"),
    [
        (False, "mitmdump"),
        (False, "mitmweb"),
        (True, "mitmdump"),
        pytest.param(True, "mitmweb", marks=pytest.mark.long),
    ],
)
def test_a_forked_tool_is_what_a_fresh_one_is(tmp_path: Path, fresh: bool, tool: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(TELLS)
    env = {"SAID": "of the environment"}
    options = {"web_port": "0", "web_open_browser": "false"} if tool == "mitmweb" else {}
    proxy = Proxy(
        tmp_path / "proxy", args=["-s", str(script)], options=options, tool=tool, env=env, fresh=fresh
    ).start()
    told = json.loads(raw.request("GET", f"{proxy.url}/told").body)
    expected = {"pid": proxy.pid, "argv": proxy.command, "folder": str(proxy.folder), "env": proxy.env, "umask": 0o22}
    assert told == {**expected, "path": told["path"]}
    assert str(ROOT) not in told["path"]
    assert told["path"][:3] == [str(tmp_path), str(ADDON.parent), str(Path(sys.executable).parent)]
    assert proxy.health()["status"] == "ok"
    assert proxy.stop() == 0
    assert proxy.log_file.exists()


def test_a_proxy_that_was_killed_says_so(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path).start()
    proxy.signal(signal.SIGKILL)
    assert proxy.wait_exit() == -signal.SIGKILL
