"""Starting mitmproxy's tools with the healing proxy."""

import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Literal

from antigravity_healing import own_version

_ROOM = Path(__file__).parents[1]
# In a folder of its own where it is installed: mitmproxy puts a script's folder on `sys.path`.
_FOLDERS = (_ROOM / "scripts", _ROOM.parent)


def script() -> Path:
    """What mitmproxy's `-s` loads: inside of the package where it is installed, beside it in a clone."""
    return next(path for folder in _FOLDERS if (path := folder / "antigravity.py").is_file())


def start(tool: Literal["mitmdump", "mitmweb"], arguments: Sequence[str]) -> int:
    """Run one of mitmproxy's tools with the healing proxy until it ends, and give its exit status."""
    # Here, as all of mitmproxy takes long to import, and other commands do without.
    from mitmproxy.tools import main as tools

    run = tools.mitmweb if tool == "mitmweb" else tools.mitmdump
    return run(["-s", str(script()), *arguments]) or 0


def versions() -> str:
    """What `--version` says."""
    python = ".".join(map(str, sys.version_info[:3]))
    return f"antigravity {own_version()} (mitmproxy {metadata.version('mitmproxy')}, Python {python})"
