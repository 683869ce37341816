"""Names that can't be resolved are named: what the system says of them does not."""

import re
import socket
import sys

from mitmproxy.proxy import events

from antigravity_healing.policy.judging.failures import NEVER_RESOLVED

_ERRNO = re.compile(r"\[Errno (-?\d+)\]")
# As numbers they are none of those that a connection to an address fails with.
_OF_NAMES = frozenset(value for name, value in vars(socket).items() if name.startswith("EAI_"))
# That there is no such name. Elsewhere than on Linux a machine without a network says the same of all names.
_NOT_FOUND = frozenset(
    value for name, value in vars(socket).items() if name in ("EAI_NONAME", "EAI_NODATA") and sys.platform == "linux"
)


def name_unresolved(event: events.OpenConnectionCompleted, resolved: set[str] | None) -> None:
    """Have the error of a connection, an upstream proxy's too, say which name can't be resolved, if it is that.

    resolved: the names that have been so far, to which this one is added if it has; None where that does not matter.
    """
    connection = event.command.connection
    if connection.address is None:
        return
    name, reply = connection.address[0], event.reply or ""
    found = _ERRNO.search(reply)
    number = int(found[1]) if found is not None else None
    if number in _OF_NAMES and reply.startswith("["):
        never = number in _NOT_FOUND and resolved is not None and name not in resolved
        event.reply = connection.error = f"{reply}: the name {name} can't be resolved" + (
            f", {NEVER_RESOLVED}" if never else ""
        )
    elif resolved is not None and (not reply or number is not None):
        resolved.add(name)
