"""What the tests' own proxy finds out: nothing may crash in it unseen."""

from pathlib import Path

import pytest

from tests.e2e.harness import Proxy
from tests.support import raw

BREAKS = "def request(flow):\n    raise KeyError('on purpose')\n"


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
