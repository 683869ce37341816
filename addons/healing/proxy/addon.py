"""The addon: options, hooks, and the configuration's life."""

import asyncio
import gc
import logging
import os
from collections.abc import Awaitable
from pathlib import Path

import platformdirs
from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HttpLayer
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.utils import asyncio_utils

from healing import APP_NAME, data_folder
from healing.policy import config, config_file
from healing.policy.journal import Journal
from healing.proxy.credentials import CredentialError
from healing.proxy.governor import Governor
from healing.proxy.layer import HealingLayer
from healing.proxy.replay import close_transport
from healing.proxy.waits import CredentialRequest, UnderstandRequest

logger = logging.getLogger(__name__)

WATCH_EVERY_S = 1.0


class Healing:
    """Puts the healing layer into each connection."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.governor: Governor | None = None
        self._file: Path | None = None
        self._seen: tuple[int, int] | None = None
        self._running = False
        self._watch: asyncio.Task[None] | None = None

    def load(self, loader: Loader) -> None:
        """Declare the options. A dead upstream has to be met by an attempt, not before it: connect lazily."""
        # A full collection walks all of mitmproxy's modules, 80 ms in the middle of somebody's stream. Here and not in
        # `running`: by then a first client may be there, and what is its would be kept for ever.
        gc.collect()
        gc.freeze()
        loader.add_option(
            "antigravity_config",
            str,
            "",
            "The healing proxy's configuration file. Without it ./antigravity.toml is used, or the one in the user's "
            "configuration folder, if there is one.",
        )
        loader.add_option(
            "antigravity_home",
            str,
            "",
            "The healing proxy's data folder: logs, signatures. Default: the platform's folder for user data.",
        )
        if not ctx.options.has_changed("connection_strategy"):
            ctx.options.update(connection_strategy="lazy")

    def configure(self, updated: set[str]) -> None:
        """Read the configuration. At the start a broken one ends the process; later the old one stays."""
        if "antigravity_config" not in updated and self.governor is not None:
            return
        try:
            self._file = config_file.find(
                ctx.options.antigravity_config, Path.cwd(), platformdirs.user_config_path(APP_NAME)
            )
            self._seen = _stamp(self._file)
            settings = config_file.load(self._file) if self._file else config.Config()
        except config_file.ConfigError as error:
            if self._running:
                raise exceptions.OptionsError(str(error)) from None
            # An error in the log during startup makes mitmproxy end with status 1, without a traceback.
            logger.error("The configuration can't be used.\n%s", error)
            return
        self._use(settings)

    def running(self) -> None:
        """Everything is up: watch the configuration file."""
        self._running = True
        if self._watch is None:
            self._watch = asyncio_utils.create_task(self._watch_file(), name="antigravity configuration", keep_ref=True)

    def done(self) -> None:
        """mitmproxy ends, or the addon is unloaded."""
        if self.governor is not None:
            self.governor.close()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def next_layer(self, data: layer.NextLayer) -> None:
        """Take mitmproxy's own decision, and make its HTTP layers healing ones."""
        if self.governor is None:
            return
        if data.layer is None:
            ctx.master.addons.get("nextlayer").next_layer(data)
        for inner in data.context.layers:
            if type(inner) is HttpLayer:
                HealingLayer.adopt(inner, self.governor)

    async def antigravity_await(self, awaitable: Awaitable[object]) -> None:
        """Await what another addon's hook gave (see `healing.proxy.hooks`)."""
        await awaitable

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """See that the socket is closed: mitmproxy leaves it open if two events end the connection at once.

        That is so when a client leaves and its attempt is aborted (`handle_connection` in mitmproxy/proxy/server.py is
        cancelled twice, and the second time skips the closing).
        """
        handler = ctx.master.addons.get("proxyserver").connections.get(data.client.id)
        if handler is not None:
            close_transport(handler, data.server)

    async def antigravity_credential(self, request: CredentialRequest) -> None:
        """Fetch a credential that takes time."""
        assert self.governor is not None
        try:
            credentials = self.governor.credentials
            request.seal = await credentials.fetch(request.account, request.dialect, renew=request.renew)
        except CredentialError as error:
            request.error = str(error)

    async def antigravity_understand(self, request: UnderstandRequest) -> None:
        """Understand a long request in a thread: other streams go on meanwhile."""
        await asyncio.to_thread(request.run)

    def _use(self, settings: config.Config) -> None:
        if self.governor is None:
            self.governor = Governor(settings, self.journal, data_folder(ctx.options.antigravity_home))
        else:
            self.governor.use(settings)
        origin = f"from {self._file}" if self._file else "none, the client's own credentials are used"
        logger.info("Configuration: %s; %d accounts", origin, len(settings.accounts))
        exposed = config_file.exposed(self._file, settings) if self._file else []
        for warning in (*exposed, *self.governor.warnings()):
            logger.warning("%s", warning)

    async def _watch_file(self) -> None:
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            if self._file is None or (stamp := _stamp(self._file)) == self._seen:
                continue
            self._seen = stamp
            try:
                self._use(config_file.load(self._file))
            except config_file.ConfigError as error:
                logger.error("The changed configuration can't be used, the old one stays.\n%s", error)


def _stamp(file: Path | None) -> tuple[int, int] | None:
    """What changes when the file does; None where there is no file."""
    if file is None:
        return None
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
