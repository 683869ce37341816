"""The healing proxy: peek, retry, account rotation and model mapping for LLM API streams."""

from pathlib import Path

import platformdirs

APP_NAME = "antigravity"
"""What the platform's folders for configuration and data are called."""


def data_folder(option: str) -> Path:
    """The data folder: what the option `antigravity_home` names, else the platform's folder for user data."""
    return Path(option).expanduser() if option else platformdirs.user_data_path(APP_NAME)
