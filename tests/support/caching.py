"""What the tests keep from one run to the next."""

from collections.abc import MutableMapping

import platformdirs

CACHE = platformdirs.user_cache_path("antigravity-healing-proxy-tests")
"""The folder for it, outside the working tree."""


def keep_bytecode(env: MutableMapping[str, str]) -> None:
    """Have Python processes with this environment keep compiled modules, in the cache and not beside the sources.

    Where bytecode is not kept, compiling takes most of the time of collecting tests and of starting a proxy.
    """
    env["PYTHONPYCACHEPREFIX"] = str(CACHE / "bytecode")
    env.pop("PYTHONDONTWRITEBYTECODE", None)
