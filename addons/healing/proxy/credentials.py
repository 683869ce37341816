"""Reading the credentials of accounts from where the configuration says they are."""

import asyncio
import math
import os
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

from pydantic import SecretStr

from healing.policy import config
from healing.policy.sources import parse_source
from healing.proxy.seal import Seal

COMMAND_TIMEOUT_S = 30.0
_KEY_HEADER = {"anthropic": "x-api-key", "gemini": "x-goog-api-key"}


class CredentialError(Exception):
    """A credential can't be had; the text says why and holds no secret."""


class Credentials:
    """Makes the seals of accounts. What a `cmd:` printed is kept for the account's ttl; the rest is read each time."""

    def __init__(self) -> None:
        self._printed: dict[str, tuple[str, float]] = {}
        self._running: dict[str, asyncio.Task[str]] = {}

    def at_once(self, account: config.Account, dialect: str, *, renew: bool = False) -> Seal | None:
        """The seal, if no command has to be run for it. Raises CredentialError."""
        commands = list(_commands(account))
        if commands and (renew or any(self._kept(command, account.ttl) is None for command in commands)):
            return None
        return self._seal(account, dialect, account.ttl)

    async def fetch(self, account: config.Account, dialect: str, *, renew: bool = False) -> Seal:
        """The seal, running the account's commands where what they printed is too old. Raises CredentialError."""
        for command in _commands(account):
            if renew or self._kept(command, account.ttl) is None:
                await self._run(command)
        # What has just been printed is used, however short its life is.
        return self._seal(account, dialect, math.inf)

    def resolve(self, secret: SecretStr, ttl: float = config.Account.model_fields["ttl"].default) -> str:
        """The value that a source stands for; for a command, what it printed last. Raises CredentialError."""
        source = parse_source(secret.get_secret_value())
        match source.kind:
            case "env":
                value = os.environ.get(source.value, "").strip()
                if not value:
                    raise CredentialError(f"the environment variable {source.value} is not set")
            case "file":
                value = _read(source.value)
            case "cmd":
                value = self._kept(source.value, ttl) or ""
                if not value:
                    raise CredentialError("its command has not been run")
            case "literal":
                value = source.value
        if not value.isprintable():
            raise CredentialError(f"what {source.kind}: gives is not one line of printable characters")
        return value

    def _seal(self, account: config.Account, dialect: str, ttl: float) -> Seal:
        headers = {name: self.resolve(value, ttl) for name, value in account.headers.items()}
        if account.api_key is not None:
            headers[_KEY_HEADER[dialect]] = self.resolve(account.api_key, ttl)
        if account.bearer is not None:
            headers["authorization"] = "Bearer " + self.resolve(account.bearer, ttl)
        return Seal(tuple(headers.items()))

    def _kept(self, command: str, ttl: float) -> str | None:
        value, at = self._printed.get(command, ("", 0.0))
        return value if value and monotonic() - at < ttl else None

    async def _run(self, command: str) -> None:
        """Run a command, once for all that ask for it at the same time."""
        task = self._running.get(command)
        if task is None:
            task = self._running[command] = asyncio.ensure_future(_output(command))
            task.add_done_callback(lambda _: self._running.pop(command, None))
        self._printed[command] = (await asyncio.shield(task), monotonic())


def _commands(account: config.Account) -> Iterator[str]:
    for secret in (account.api_key, account.bearer, *account.headers.values()):
        if secret is not None and (source := parse_source(secret.get_secret_value())).kind == "cmd":
            yield source.value


def _read(path: str) -> str:
    try:
        value = Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise CredentialError(f"the file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CredentialError(f"the file {path} is not text in UTF-8") from None
    if not value:
        raise CredentialError(f"the file {path} is empty")
    return value


async def _output(command: str) -> str:
    # What the command prints, on either channel, may be secret: no message repeats it.
    process = await asyncio.create_subprocess_shell(
        command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise CredentialError(f"its command took more than {COMMAND_TIMEOUT_S:g} s") from None
    if process.returncode:
        raise CredentialError(f"its command ended with status {process.returncode}")
    value = output.decode("utf-8", "replace").strip()
    if not value:
        raise CredentialError("its command printed nothing")
    return value
