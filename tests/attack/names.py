"""Names that lead where a test says, for the proxy's process: what a name server that an attacker owns would answer."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

_PATCH = """
import itertools, json, os, socket

_answers = {name: itertools.chain(found[:-1], itertools.repeat(found[-1]))
            for name, found in json.loads(os.environ["TEST_NAMES"]).items()}
_getaddrinfo = socket.getaddrinfo

def getaddrinfo(host, *args, **kwargs):
    name = host.decode() if isinstance(host, bytes) else host
    return _getaddrinfo(next(_answers[name]) if name in _answers else host, *args, **kwargs)

socket.getaddrinfo = getaddrinfo
"""


def leading(folder: Path, names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The environment of a process in which these names lead to these addresses, to one after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(_PATCH)
    return {"PYTHONPATH": str(folder), "TEST_NAMES": json.dumps(names)}
