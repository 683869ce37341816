"""The credentials of accounts and the client keys, from where the configuration says they are."""

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from time import monotonic

from pydantic import SecretStr

from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.settings.source_notation import Source, parse_source
from antigravity_healing.proxy.secrets.given import Given, SlowSourceError, SourceError
from antigravity_healing.proxy.secrets.seal import LONGEST_CREDENTIAL, Seal
from antigravity_healing.proxy.secrets.sources import Readings
from antigravity_healing.wire.dialects import DIALECTS, flag_headers

QUICK_S = 0.05
"""For so long a file may be waited for where everybody waits: a healthy one takes a hundredth of it."""
_TAKE_TIME = ("file", "cmd", "adc")
CHECK_S = 2.0
"""For so long a file is waited for before it is warned about."""


class CredentialError(Exception):
    """A credential can't be had; the text says why and holds no secret.

    lasting: whether that stays so for as long as this process runs with this configuration.
    """

    def __init__(self, why: str, *, lasting: bool = False) -> None:
        super().__init__(why)
        self.lasting = lasting


class Credentials:
    """Makes the seals of accounts.

    What a `cmd:` printed is kept for the account's ttl, a token of `adc:` for as long as it is good; the rest is read
    each time.

    Nothing here blocks for longer than a moment: what takes longer is waited for in `fetch`, by those who need it. What
    has taken too long is asked again, and nobody waits for it until it has answered.
    """

    def __init__(self, limits: Callable[[], schema.Limits] = schema.Limits) -> None:
        """limits: gives the settings of now."""
        self._limits = limits
        self._readings = Readings()
        self._printed: dict[Source, tuple[Given, float]] = {}
        self._running: dict[Source, asyncio.Task[Given]] = {}
        self._slow: set[Source] = set()
        self._client_keys: dict[Source, str | CredentialError] = {}

    def at_once(self, account: schema.AccountSettings, dialect: str, *, refused: Seal | None = None) -> Seal | None:
        """The seal, if nothing that takes time has to be done for it. Raises CredentialError.

        refused: what upstream did not take: what its commands printed for it is too old.
        """
        values: dict[Source, Given] = {}
        for source in _sources(account):
            value = self._quickly(source) if source.kind == "file" else self._kept(source, account.ttl, refused)
            if value is None:
                return None
            values[source] = value
        return _seal(account, dialect, values)

    async def fetch(self, account: schema.AccountSettings, dialect: str, *, refused: Seal | None = None) -> Seal:
        """The seal, running the account's commands where what they printed is too old. Raises CredentialError."""
        sources = list(_sources(account))
        try:
            # What has just been printed is used, however short its life is.
            values = await asyncio.gather(*(self._value(source, account.ttl, refused) for source in sources))
        except SourceError as error:
            raise CredentialError(str(error)) from None
        return _seal(account, dialect, dict(zip(sources, values, strict=True)))

    async def check(self, account: schema.AccountSettings, dialect: str, *, patient: bool = False) -> bool:
        """See whether the credential can be had; False where that is not known yet. Raises CredentialError.

        A command or Google that takes its time is let: what it gives is there for the first request then.
        patient: wait for it as long as it is let.
        """
        try:
            await asyncio.wait_for(self.fetch(account, dialect), None if patient else CHECK_S)
        except TimeoutError:
            if not any(source.kind in ("cmd", "adc") for source in _sources(account)):
                raise CredentialError(f"it has not been read after {CHECK_S:g} s") from None
            return False
        return True

    def resolve(self, secret: SecretStr) -> str:
        """The value of a client key now; of a file that hangs, what it gave before. Raises CredentialError."""
        source = parse_source(secret.get_secret_value())
        if source.kind != "file":
            return _value_of(source, {})
        found: str | CredentialError | None
        try:
            read = self._quickly(source)
            found = None if read is None else read.value
        except CredentialError as error:
            found = error
        if found is not None:
            self._client_keys[source] = found
        found = self._client_keys.get(source, CredentialError(f"the file {source.value} has not been read yet"))
        if isinstance(found, CredentialError):
            raise found
        return found

    async def learn(self, secrets: Iterable[SecretStr]) -> None:
        """Read the files of client keys for the first time, so that there is something to fall back on."""
        sources = [parse_source(secret.get_secret_value()) for secret in secrets]
        await asyncio.gather(*(self._learn(source) for source in sources if source.kind == "file"))

    async def _learn(self, source: Source) -> None:
        found: str | CredentialError
        try:
            found = (await asyncio.wait_for(self._file(source), CHECK_S)).value
        except TimeoutError:
            return
        except SourceError as error:
            found = CredentialError(str(error))
        self._client_keys.setdefault(source, found)

    def close(self) -> None:
        """End what still runs."""
        self._readings.close()

    def _quickly(self, source: Source) -> Given | None:
        """What is in a file, None if it takes longer than a moment to read it. Raises CredentialError."""
        reading = self._readings.begin(source, self._limits())
        try:
            return reading.future.result(max(0.0, reading.began + QUICK_S - monotonic()))
        except TimeoutError:
            return None
        except SourceError as error:
            raise CredentialError(str(error)) from None

    def _kept(self, command: Source, ttl: float, refused: Seal | None) -> Given | None:
        # While it runs, somebody has found what it printed last to be too old, or refused.
        if command in self._running:
            return None
        if (printed := self._printed.get(command)) is None:
            return None
        given, at = printed
        lasts_s = ttl if given.lasts_s is None else given.lasts_s
        too_old = monotonic() - at >= lasts_s or (refused is not None and refused.carries(given.value))
        return None if too_old else given

    async def _value(self, source: Source, ttl: float, refused: Seal | None) -> Given:
        """What a file, a command or Google gives. Raises SourceError."""
        if source.kind == "file":
            return await self._file(source)
        kept = self._kept(source, ttl, refused)
        return kept if kept is not None else await self._run(source)

    async def _file(self, source: Source) -> Given:
        limits = self._limits()
        reading = self._readings.begin(source, limits)
        left_s = reading.began + limits.source_seconds - monotonic()
        try:
            return await asyncio.wait_for(asyncio.wrap_future(reading.future), max(0.0, left_s))
        except TimeoutError:
            message = f"reading the file {source.value} takes more than {limits.source_seconds:g} s"
            raise SlowSourceError(message) from None

    async def _run(self, command: Source) -> Given:
        """Run a command, or ask for a token, once for all that ask for it at the same time."""
        task = self._running.get(command)
        if task is None:
            task = self._running[command] = asyncio.ensure_future(self._output(command))
            task.add_done_callback(lambda ended: self._ended(command, ended))
        if command in self._slow:
            what = "its command" if command.kind == "cmd" else "asking for a token"
            raise SlowSourceError(f"{what} took too long, and runs again")
        return await asyncio.shield(task)

    async def _output(self, command: Source) -> Given:
        limits = self._limits()
        try:
            value = await self._ended_in_time(command, limits)
        except SlowSourceError:
            self._slow.add(command)
            raise
        except SourceError:
            self._slow.discard(command)
            raise
        self._slow.discard(command)
        self._printed[command] = (value, monotonic())
        return value

    async def _ended_in_time(self, source: Source, limits: schema.Limits) -> Given:
        future = asyncio.wrap_future(self._readings.begin(source, limits).future)
        if source.kind == "cmd":
            return await future  # it is ended by whoever runs it
        try:
            return await asyncio.wait_for(future, limits.source_seconds)
        except TimeoutError:
            raise SlowSourceError(f"asking Google for a token took more than {limits.source_seconds:g} s") from None

    def _ended(self, command: Source, task: asyncio.Task[Given]) -> None:
        del self._running[command]
        if not task.cancelled():
            task.exception()  # nobody may be waiting for it


def _sources(account: schema.AccountSettings) -> Iterator[Source]:
    """The account's sources for which something has to be read or run."""
    for secret in (account.api_key, account.bearer, *account.headers.values()):
        if secret is not None and (source := parse_source(secret.get_secret_value())).kind in _TAKE_TIME:
            yield source


def _seal(account: schema.AccountSettings, dialect: str, values: Mapping[Source, Given]) -> Seal:
    def value_of(secret: SecretStr) -> str:
        return _value_of(parse_source(secret.get_secret_value()), values)

    beside = dict(pair for given in values.values() for pair in given.headers)
    headers = {**beside, **{name: value_of(value) for name, value in account.headers.items()}}
    if account.api_key is not None:
        headers[DIALECTS[dialect].credentials.headers[0]] = value_of(account.api_key)
    if account.bearer is not None:
        headers["authorization"] = "Bearer " + value_of(account.bearer)
    for name, value in headers.items():
        if len(value) > LONGEST_CREDENTIAL:
            raise CredentialError(f"what is for {name} is longer than {LONGEST_CREDENTIAL:,} characters")
    lists = flag_headers()
    flags = tuple((name.lower(), value) for name, value in headers.items() if name.lower().encode() in lists)
    return Seal(tuple(pair for pair in headers.items() if pair[0].lower().encode() not in lists), flags=flags)


def _value_of(source: Source, values: Mapping[Source, Given]) -> str:
    match source.kind:
        case "literal":
            return source.value
        case "env":
            value = os.environ.get(source.value, "").strip()
            if not value:
                raise CredentialError(f"the environment variable {source.value} is not set", lasting=True)
            if not value.isprintable():
                raise CredentialError("what env: gives is not one line of printable characters", lasting=True)
            return value
        case _:
            return values[source].value
