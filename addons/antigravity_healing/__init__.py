"""The healing proxy: peek, retry, account rotation and model mapping for LLM API streams."""

import os
from importlib import metadata
from pathlib import Path

import platformdirs

from antigravity_healing import private

DISTRIBUTION = "antigravity-healing-proxy"
"""What it is called where it is installed from, and by what it calls itself toward others."""
APP_NAME = "antigravity"
"""What the platform's folders for configuration and data are called."""
_OURS = ("logs", "captured", "signatures.sqlite3", "requests.sqlite3")


def own_version() -> str:
    """The version that is installed; "unknown" in a clone where nothing is."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"


def data_folder(option: str) -> Path:
    """The data folder: what the option `antigravity_home` names, else the platform's folder for user data.

    One that is there and open to others is made private, unless others have something in it.
    """
    folder = Path(option).expanduser() if option else platformdirs.user_data_path(APP_NAME)
    try:
        names = os.listdir(folder)
    except OSError:
        return folder
    if names and all(name.startswith(_OURS) for name in names):
        private.tighten([folder])
    return folder
