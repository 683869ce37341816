"""Starting mitmproxy's tools with the healing proxy."""

import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

from mitmproxy.tools import main as mitmproxy_tools

DISTRIBUTION = "antigravity-healing-proxy"
_ROOM = Path(__file__).parents[1]
# In a folder of its own where it is installed: mitmproxy puts a script's folder on `sys.path`.
_FOLDERS = (_ROOM / "scripts", _ROOM.parent)
_TOOLS: dict[str, Callable[[Sequence[str]], int | None]] = {
    "mitmdump": mitmproxy_tools.mitmdump,
    "mitmweb": mitmproxy_tools.mitmweb,
}


def script() -> Path:
    """What mitmproxy's `-s` loads: inside of the package where it is installed, beside it in a clone."""
    return next(path for folder in _FOLDERS if (path := folder / "antigravity.py").is_file())


def start(tool: Literal["mitmdump", "mitmweb"], arguments: Sequence[str]) -> int:
    """Run one of mitmproxy's tools with the healing proxy until it ends, and give its exit status."""
    return _TOOLS[tool](["-s", str(script()), *arguments]) or 0


def versions() -> str:
    """What `--version` says."""
    python = ".".join(map(str, sys.version_info[:3]))
    own = metadata.version(DISTRIBUTION)
    return f"antigravity {own} (mitmproxy {metadata.version('mitmproxy')}, Python {python})"
