"""Credentials that a shell prints."""

import shlex


def shell(script: str) -> str:
    """The source of a credential: what a shell prints that runs this script."""
    return f"cmd:sh -c {shlex.quote(script)}"
