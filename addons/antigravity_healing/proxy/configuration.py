"""The configuration's life: where its file is, when it has changed, and what is in the way of taking it up."""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from antigravity_healing import APP_NAME
from antigravity_healing.policy.settings import file as config_file
from antigravity_healing.policy.settings.schema import Config

logger = logging.getLogger(__name__)

WATCH_EVERY_S = 0.5

type _Stamp = tuple[int, ...]


class Configuration:
    """The file that the configuration is read from.

    path: where it is, None where there is none.
    """

    def __init__(
        self,
        option: Callable[[], str],
        in_use: Callable[[], Config | None],
        use: Callable[[Config], None],
        trouble: Callable[[str], None],
    ) -> None:
        """
        option: gives the file that the user named, "" for none. in_use: gives the configuration of now.
        use: takes up another. trouble: is told why the file as it is now is not used, "" once it is.
        """
        self.path: Path | None = None
        self._option = option
        self._in_use = in_use
        self._use = use
        self._tell_trouble = trouble
        self._seen: _Stamp | None = None
        self._changing: _Stamp | None = None

    def read(self) -> None:
        """Read it, or take what holds without one. Raises ConfigError."""
        try:
            self.path = find(self._option())
            self._seen = _stamp(self.path)
            settings = self._load(self.path) if self.path else Config()
        except config_file.ConfigError as error:
            self._tell_trouble(str(error))
            raise
        self._take_up(settings)

    def reload(self) -> str:
        """Read it now. Says what is in the way, "" where nothing is."""
        try:
            if (path := find(self._option())) is None:
                return f"there is no configuration: {looked_for()}"
            settings = self._load(path)
        except config_file.ConfigError as error:
            self._tell_trouble(str(error))
            return str(error)
        self.path, self._seen = path, _stamp(path)
        self._take_up(settings)
        return ""

    async def watch(self) -> None:
        """Take up what changes, as long as it runs; also a file that was not there at the start."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if (path := self.path or self._found_since()) is not None:
                self._look_at(path)

    def _take_up(self, settings: Config) -> None:
        self._use(settings)
        self._tell_trouble("")

    def _load(self, path: Path) -> Config:
        return config_file.load(path, self._in_use())

    def _found_since(self) -> Path | None:
        try:
            return find(self._option())
        except config_file.ConfigError:
            return None  # it is told when it can be looked at

    def _look_at(self, path: Path) -> None:
        """Take up a change of the file, once it has stayed the same for two looks: it may still be written."""
        stamp = _stamp(path)
        settled, self._changing = stamp == self._changing, stamp
        if stamp == self._seen or not settled:
            return
        try:
            settings = self._load(path)
        except config_file.ConfigError as error:
            self._seen = stamp
            self._tell_trouble(str(error))
            logger.error("The changed configuration can't be used, the old one stays.\n%s", error)
            return
        if _stamp(path) == stamp:
            self.path, self._seen = path, stamp
            self._take_up(settings)


def find(option: str, named_by: str = config_file.OPTION) -> Path | None:
    """The configuration file to use, None where there is none. option: what the user named, "" for nothing.

    named_by: what he named it with, in words. Raises ConfigError, as `file.find` does.
    """
    return config_file.find(option, *_folders(), named_by)


def looked_for() -> str:
    """Where one was looked for, in words."""
    return "looked for in " + " and ".join(map(str, config_file.places(*_folders())))


def user_folder() -> Path:
    """The user's configuration folder."""
    return platformdirs.user_config_path(APP_NAME)


def _folders() -> tuple[Path, Path]:
    """Where a configuration file is looked for."""
    return Path.cwd(), user_folder()


def _stamp(path: Path | None) -> _Stamp | None:
    """What changes when the file does; None where there is no file."""
    if path is None:
        return None
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino
