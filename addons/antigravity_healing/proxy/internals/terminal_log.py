"""What mitmproxy prints to the terminal, and whether an option was set by the user."""

import logging
from collections.abc import Callable

from mitmproxy.addons.termlog import TermLog
from mitmproxy.optmanager import OptManager, unset


def filter_terminal(termlog: TermLog, shows: Callable[[logging.LogRecord], bool]) -> None:
    """Have only those records printed that are to be shown."""
    termlog.logger.addFilter(shows)


def is_set(options: OptManager, name: str) -> bool:
    """Whether somebody has set an option, if only to what it is by default."""
    return options._options[name].value is not unset
