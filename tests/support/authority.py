"""One certificate authority for the proxies of a test process: to make one takes as long as half of a start."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from mitmproxy.certs import CertStore
from mitmproxy.options import CONF_BASENAME, KEY_SIZE


def give(confdir: Path) -> None:
    """Put it where a proxy looks for its own, unless one is there."""
    if not confdir.exists():
        shutil.copytree(made(), confdir)


@cache
def made() -> Path:
    """Its folder, as mitmproxy makes one; it goes when the process ends."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    CertStore.create_store(folder, CONF_BASENAME, KEY_SIZE)
    return folder
