"""Names that lead where a test says, for the proxy's process: what a name server that an attacker owns would answer."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

_PATCH = """
import itertools, json, socket

_answers = {name: itertools.chain(found[:-1], itertools.repeat(found[-1])) for name, found in json.loads(%r).items()}
_getaddrinfo = socket.getaddrinfo

def getaddrinfo(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    return _getaddrinfo(next(_answers[name]) if name in _answers else host, *args, **kwargs)

socket.getaddrinfo = getaddrinfo
"""


def leading(file: Path, names: Mapping[str, Sequence[str]]) -> list[str]:
    """The arguments of a proxy for which these names lead to these addresses, to one after the other."""
    file.write_text(_PATCH % json.dumps(names))
    return ["-s", str(file)]
