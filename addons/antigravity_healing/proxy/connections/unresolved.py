"""Names that can't be resolved are named: what the system says of them does not."""

import re
import socket

from mitmproxy.proxy import events

_ERRNO = re.compile(r"\[Errno (-?\d+)\]")
# As numbers they are none of those that a connection to an address fails with.
_OF_NAMES = frozenset(value for name, value in vars(socket).items() if name.startswith("EAI_"))


def name_unresolved(event: events.OpenConnectionCompleted) -> None:
    """Have the error of a connection, an upstream proxy's too, say which name can't be resolved, if it is that."""
    connection = event.command.connection
    if event.reply is None or connection.address is None:
        return
    found = _ERRNO.match(event.reply)
    if found is not None and int(found[1]) in _OF_NAMES:
        event.reply = connection.error = f"{event.reply}: the name {connection.address[0]} can't be resolved"
