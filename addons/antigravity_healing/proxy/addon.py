"""The addon: options and hooks."""

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Awaitable
from functools import partial
from typing import Any

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader, traverse
from mitmproxy.connection import Address, Client
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import HttpLayer
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.mode_specs import DnsMode, UpstreamMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.utils import asyncio_utils, human

from antigravity_healing import data_folder
from antigravity_healing.policy.exchange.retry_table import LOCAL_WAITS_S
from antigravity_healing.policy.journal.records import Journal
from antigravity_healing.policy.judging.failures import counted
from antigravity_healing.policy.settings import file as config_file
from antigravity_healing.policy.settings import schema
from antigravity_healing.proxy.claiming.governor import Governor
from antigravity_healing.proxy.claiming.local_answers import Health
from antigravity_healing.proxy.configuration import Configuration, looked_for
from antigravity_healing.proxy.connections.listening import Listening
from antigravity_healing.proxy.connections.transports import close_transport, handler_of
from antigravity_healing.proxy.connections.turns import Turns, TurnTaking
from antigravity_healing.proxy.guarding.reach import (
    ReachRequest,
    is_configured,
    is_upstreams,
    out_of_reach,
    refuse_connected,
    refuse_connecting,
)
from antigravity_healing.proxy.internals.content_decoding import bound_decoding
from antigravity_healing.proxy.internals.listeners import spare_log_events
from antigravity_healing.proxy.own_pages.layer import Served
from antigravity_healing.proxy.own_pages.opening import Opening
from antigravity_healing.proxy.own_pages.pages import Pages
from antigravity_healing.proxy.own_pages.taking_over import TakingOver
from antigravity_healing.proxy.secrets.credentials import CredentialError
from antigravity_healing.proxy.shutdown import Shutdown
from antigravity_healing.proxy.streams.layer import HealingLayer
from antigravity_healing.proxy.streams.own_hooks import CredentialRequest, UnderstandRequest

logger = logging.getLogger(__name__)

_OPTIONS = ("antigravity_config", "antigravity_home")
_SWITCH_S = 0.001


class Antigravity:
    """Puts the healing layer into each connection."""

    def __init__(self, journal: Journal, health: Health, pages: Pages) -> None:
        """health: what tells how the proxy is. pages: what is served on its own port beside."""
        self.journal = journal
        self._health = health
        self.pages = pages
        self._taking_over: TakingOver | None = None
        self.governor: Governor | None = None
        self.configuration = Configuration(
            lambda: ctx.options.antigravity_config, self._in_use, self._use, self._know_trouble
        )
        self._running = self._misread = False
        self.taken_up_at = 0.0
        """Since when the configuration in use is, in seconds since 1970."""
        self._listening: Listening | None = None
        self._watch: asyncio.Task[None] | None = None
        self._turns = Turns()
        self._resolved: set[str] = set()
        self._shutdown = Shutdown(lambda: self.governor)

    def load(self, loader: Loader) -> None:
        """Declare the options. A dead upstream has to be met by an attempt, not before it: connect lazily."""
        # A full collection walks all of mitmproxy's modules, 80 ms in the middle of somebody's stream. Here and not in
        # `running`: by then a first client may be there, and what is its would be kept for ever.
        gc.collect()
        gc.freeze()
        # While a thread is at work the event loop gets its turn back only after so long, after each read and write.
        sys.setswitchinterval(_SWITCH_S)
        bound_decoding()
        spare_log_events()
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
        self._listening = Listening(ctx.master.addons.get("proxyserver"))
        self._listening.begin(ctx.options)
        try:
            ctx.options.process_deferred()
        except exceptions.OptionsError as error:
            # mitmproxy goes on without an addon whose options it can't read, and says nothing.
            logger.error("The configuration can't be used.\nAn option can't be read: %s", error)
            self._misread = True
            for name in _OPTIONS:
                ctx.options.deferred.pop(name, None)

    def configure(self, updated: set[str]) -> None:
        """Read the configuration. At the start a broken one ends the process; later the old one stays."""
        if "body_size_limit" in updated and self.governor is not None:
            self._take_limit(self.governor)
        if self._misread or ("antigravity_config" not in updated and self.governor is not None):
            return
        try:
            self.configuration.read()
        except config_file.ConfigError as error:
            if self._running:
                raise exceptions.OptionsError(str(error)) from None
            # An error in the log during startup makes mitmproxy end with status 1, without a traceback.
            logger.error("The configuration can't be used.\n%s", error)

    def running(self) -> Awaitable[object] | None:
        """Everything is up: watch the configuration file, and listen. Without a configuration nobody is served."""
        if not self._is_at_work():
            self._refuse_to_run()
            return None
        self._running = True
        logger.info("The healing proxy is at work. Configuration: %s", self._origin())
        self._shutdown.running()
        if self._watch is None:
            self._watch = asyncio_utils.create_task(
                self.configuration.watch(), name="antigravity configuration", keep_ref=True
            )
        return self._listening.finish() if self._listening is not None else None

    def _is_at_work(self) -> bool:
        """Whether there is a configuration, and mitmproxy asks this addon for the layers of its connections."""
        at_work = any(addon is self for addon in traverse(ctx.master.addons.chain))
        needed = ("proxyserver", "nextlayer")
        return self.governor is not None and at_work and all(map(ctx.master.addons.get, needed))

    def _origin(self) -> str:
        """Where the configuration is from, or where one was looked for."""
        path = self.configuration.path
        if path is not None:
            assert self.governor is not None
            return f"from {path}; {counted(len(self.governor.config.accounts), 'account')}"
        return f"none, the client's own credentials are used; {looked_for()}, and taken up when one appears there"

    def _refuse_to_run(self) -> None:
        """At the start nobody is served then. In a mitmproxy that serves already, a person can see it and mend it."""
        if self._listening is not None and self._listening.is_held_back:
            logger.error("The healing proxy is not at work, so the port is not opened.")
            ctx.master.shutdown()
        else:
            logger.error("The healing proxy is not at work: mitmproxy goes on without it.")

    def done(self) -> None:
        """mitmproxy ends, or the addon is unloaded."""
        self._shutdown.done()
        if self.governor is not None:
            self.governor.close()
            self.governor.credentials.close()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def next_layer(self, data: layer.NextLayer) -> None:
        """Take mitmproxy's own decision, and make its HTTP layers healing ones."""
        if self.governor is None:
            return
        if data.layer is None and self._taking_over is not None:
            match self._taking_over.decide(data):
                case Opening.UNDECIDED:
                    raise exceptions.AddonHalt  # else mitmproxy would decide
                case Opening.OWN:
                    return
        if data.layer is None:
            ctx.master.addons.get("nextlayer").next_layer(data)
        for inner in data.context.layers:
            if type(inner) is HttpLayer:
                HealingLayer.adopt(inner, self.governor)

    async def antigravity_await(self, awaitable: Awaitable[object]) -> None:
        """Await what another addon's hook gave (see `antigravity_healing.proxy.streams.mitmproxy_hooks`)."""
        await awaitable

    async def client_connected(self, client: Client) -> None:
        """Turn away at once who is from elsewhere where nobody is asked for a key and no connection need be made."""
        await self._turns.take()
        if isinstance(handler := handler_of(client), ProxyConnectionHandler):
            TurnTaking.adopt(handler, self._turns, partial(self._is_counted, client), self._resolved)
        if self.governor is None:
            return
        self.governor.visits.arrived(client)
        if isinstance(client.proxy_mode, DnsMode) and not self.governor.visits.of(client).local:
            client.error = "the DNS server is for this machine only"

    async def server_connect(self, data: ServerConnectionHookData) -> None:
        """Judge a connection before it is made, whichever protocol it is for: by who asks, and by where it leads."""
        if self.governor is None or data.server.error is not None or handler_of(data.client) is None:
            return
        try:
            data.server.error = await self._refuse_connecting(self.governor, data)
        except Exception:
            logger.exception("a connection could not be judged; this is a bug")
            data.server.error = "internal error of the proxy"

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Judge it again by where it really leads, before a byte is sent on it; remember for whom it was made."""
        if self.governor is None or (handler := handler_of(data.client)) is None:
            return
        refused = None
        if not is_configured(data.client, data.server, self.governor.config.upstreams):
            refused = refuse_connected(self.governor.visits.of(data.client), data.server, _own_ports())
        if refused is not None:
            logger.warning("A connection was closed: %s", refused)
            close_transport(handler, data.server)
            return
        writer = handler.transports[data.server].writer
        if isinstance(writer, asyncio.StreamWriter):
            self.governor.visits.made(data.client, data.server, writer)

    async def antigravity_reach(self, request: ReachRequest) -> None:
        """Look up whether a client from elsewhere may reach a place."""
        request.refusal = await out_of_reach(request.host)

    def client_disconnected(self, client: Client) -> None:
        """See that its socket is closed, for the same reason as that of an upstream, see below."""
        if (handler := handler_of(client)) is not None:
            close_transport(handler, client)

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """See that the socket is closed: mitmproxy leaves it open if two events end the connection at once.

        That is so when a client leaves and its attempt is aborted (`handle_connection` in mitmproxy/proxy/server.py is
        cancelled twice, and the second time skips the closing).
        """
        if self.governor is not None:
            self.governor.visits.ended(data.server)
        if (handler := handler_of(data.client)) is not None:
            close_transport(handler, data.server)

    async def antigravity_credential(self, request: CredentialRequest) -> None:
        """Fetch a credential that takes time."""
        assert self.governor is not None
        credentials = self.governor.credentials
        for wait_s in (0.0, *(LOCAL_WAITS_S if request.patient else ())):
            if wait_s:
                await asyncio.sleep(wait_s)
            try:
                request.seal = await credentials.fetch(request.account, request.dialect, refused=request.refused)
                self.governor.attempt_credentials.learn(request.account.name, "")
                return
            except CredentialError as error:
                request.error = str(error)
                self.governor.attempt_credentials.learn(request.account.name, request.error)
                request.lasting = error.lasting
                if request.lasting:
                    return

    async def antigravity_understand(self, request: UnderstandRequest[Any]) -> None:
        """Understand a long request in a thread: other streams go on meanwhile."""
        await asyncio.to_thread(request.run)

    @staticmethod
    async def _refuse_connecting(governor: Governor, data: ServerConnectionHookData) -> str | None:
        visitor = governor.visits.of(data.client)
        if not governor.door.is_open_to(visitor):
            return "this client has not been let in"
        if is_configured(data.client, data.server, governor.config.upstreams):
            return None
        return await refuse_connecting(visitor, data.server, _own_ports())

    def _is_counted(self, client: Client, address: Address) -> bool:
        """Whether this is the address of an upstream, or of the proxy through which a client's are reached."""
        mode = client.proxy_mode
        if isinstance(mode, UpstreamMode) and address == mode.address:
            return True
        return self.governor is not None and is_upstreams(address, self.governor.config.upstreams)

    def _use(self, settings: schema.Config) -> None:
        if self.governor is None:
            self.governor = Governor(settings, self.journal, self._health, data_folder(ctx.options.antigravity_home))
            self._take_limit(self.governor)
            self._taking_over = TakingOver(Served(self.pages, self.governor))
        else:
            self.governor.use(settings)
        self.taken_up_at = time.time()
        if self._running:
            logger.info("Configuration: %s", self._origin())
        path = self.configuration.path
        exposed = config_file.exposed(path, settings) if path else []
        for warning in exposed + config_file.misread(settings):
            logger.warning("%s", warning)
        asyncio_utils.create_task(self._say_who_is_usable(self.governor), name="antigravity accounts", keep_ref=True)

    @staticmethod
    def _take_limit(governor: Governor) -> None:
        try:
            governor.body_size_limit = human.parse_size(ctx.options.body_size_limit)
        except ValueError:
            governor.body_size_limit = None  # mitmproxy says so

    @staticmethod
    async def _say_who_is_usable(governor: Governor) -> None:
        """Say which credentials can be had. Some may hang: nothing waits for that."""
        config, credentials = governor.config, governor.attempt_credentials
        all_known = await credentials.look()
        if told := credentials.usable():
            logger.info("Accounts: %s", told)
        for warning in governor.admission.warnings():
            logger.warning("%s", warning)
        if not all_known:
            await credentials.look_again()
            if governor.config is config:
                logger.info("Accounts: %s", credentials.usable())

    def _know_trouble(self, why: str) -> None:
        if self.governor is not None:
            self.governor.config_trouble = why

    def _in_use(self) -> schema.Config | None:
        return self.governor.config if self.governor is not None else None


def _own_ports() -> set[int]:
    """The ports on which the proxy listens."""
    return {address[1] for address in ctx.master.addons.get("proxyserver").listen_addrs()}
