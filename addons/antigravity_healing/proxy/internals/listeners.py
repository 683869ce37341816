"""Who of mitmproxy's addons listens to a hook.

mitmproxy walks over all of its addons, some fifty, for each hook of a connection and for each line that is logged. That
takes a third of a millisecond, some twenty times an exchange. Here those that listen are looked up once.
"""

import inspect
import logging
from collections.abc import Callable
from typing import Any

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import safecall, traverse
from mitmproxy.log import AddLogHook, LegacyLogEvents

type Listener = Callable[..., Any]


class Listeners:
    """Which functions of mitmproxy's addons listen to a hook, looked up once as long as the addons stay the same."""

    def __init__(self, meets: Callable[[Any, str], bool] = lambda addon, hook: True) -> None:
        """meets: whether an addon is to be called for a hook, by its name, if it listens to it."""
        self._meets = meets
        self._known: tuple[list[Any], dict[str, list[Listener]]] = [], {}

    def of(self, hook: str) -> list[Listener]:
        """The functions for a hook, in the order in which mitmproxy calls them. May be asked for from any thread."""
        # What mitmproxy has registered may not be in its chain yet: an addon that logs while it is loaded.
        addons = list(traverse(ctx.master.addons.chain))
        known, found = self._known
        if addons != known:
            found = {}
            self._known = addons, found
        if hook not in found:
            members = (getattr(addon, hook, None) for addon in addons if self._meets(addon, hook))
            found[hook] = [member for member in members if callable(member)]
        return found[hook]

    async def call(self, hook: str, data: Any) -> None:
        """Call all who listen to a hook, as mitmproxy does: one that raises keeps no other from it."""
        for listener in self.of(hook):
            try:
                with safecall():
                    result = listener(data)
                    if inspect.isawaitable(result):
                        await result
            except exceptions.AddonHalt:
                return


EVERYBODY = Listeners()
"""Of all addons."""


def spare_log_events() -> None:
    """Have mitmproxy make its old event for each line that is logged only where an addon listens to it."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LegacyLogEvents):
            handler.addFilter(_is_heard)


def _is_heard(record: logging.LogRecord) -> bool:
    return bool(EVERYBODY.of(AddLogHook.name))
