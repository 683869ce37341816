import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from antigravity_healing.proxy.internals.listeners import Listeners, spare_log_events
from mitmproxy import exceptions, hooks
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client
from mitmproxy.log import LegacyLogEvents, LogEntry
from mitmproxy.proxy.server_hooks import ClientConnectedHook
from mitmproxy.test import taddons


class Hears:
    def __init__(self, heard: list[str], name: str, then: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self._heard, self._then = heard, then

    def client_connected(self, client: Client) -> None:
        self._heard.append(f"{self.name} {client.id}")
        self._then()


class HearsLater(Hears):
    async def client_connected(self, client: Client) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().client_connected(client)


class Holds:
    """Has addons of its own, as a script has."""

    def __init__(self, name: str, *addons: Any) -> None:
        self.name = name
        self.addons = addons


def fail() -> None:
    raise RuntimeError("this addon is broken")


def halt() -> None:
    raise exceptions.AddonHalt


def in_mitmproxy(test: Callable[[taddons.context], Awaitable[None]]) -> None:
    """Run it in mitmproxy's event loop, with no addons but its own."""

    async def run() -> None:
        with taddons.context(loadcore=False) as context:
            await test(context)

    asyncio.run(run())


@pytest.mark.parametrize(
    "then",
    [lambda: None, pytest.param(fail, id="which fails"), pytest.param(halt, id="which ends it")],
)
@pytest.mark.parametrize("kind", [Hears, HearsLater])
def test_those_are_called_that_mitmproxy_calls(kind: type[Hears], then: Callable[[], None]) -> None:
    async def test(context: taddons.context) -> None:
        heard: list[str] = []
        context.master.addons.add(
            Hears(heard, "first"), Holds("holder", kind(heard, "held", then)), object(), Hears(heard, "last")
        )
        client = Client(peername=("127.0.0.1", 1), sockname=("127.0.0.1", 2))
        await context.master.addons.handle_lifecycle(ClientConnectedHook(client))
        by_mitmproxy, heard[:] = list(heard), []
        assert by_mitmproxy
        await Listeners().call("client_connected", client)
        assert heard == by_mitmproxy

    in_mitmproxy(test)


def test_an_addon_listens_from_when_it_is_there_until_it_is_gone() -> None:
    async def test(context: taddons.context) -> None:
        heard: list[str] = []
        listeners = Listeners()
        seen_while_loading: list[int] = []

        class Late(Hears):
            def load(self, loader: Loader) -> None:
                seen_while_loading.append(len(listeners.of("client_connected")))

        late = Late(heard, "late")
        assert listeners.of("client_connected") == []
        context.master.addons.add(late)
        assert seen_while_loading == [0]
        assert listeners.of("client_connected") == [late.client_connected]
        context.master.addons.remove(late)
        assert listeners.of("client_connected") == []

    in_mitmproxy(test)


def test_who_is_not_meant_is_left_out() -> None:
    async def test(context: taddons.context) -> None:
        heard: list[str] = []
        mine, other = Hears(heard, "mine"), Hears(heard, "other")
        context.master.addons.add(mine, other)
        assert Listeners(lambda addon, hook: addon is mine).of("client_connected") == [mine.client_connected]

    in_mitmproxy(test)


def test_the_old_event_for_a_logged_line_is_made_where_an_addon_listens() -> None:
    async def test(context: taddons.context) -> None:
        class HearsLog:
            def __init__(self) -> None:
                self.lines: list[str] = []

            def add_log(self, entry: LogEntry) -> None:
                self.lines.append(entry.msg)

        made: list[str] = []
        trigger = context.master.addons.trigger

        def count(event: hooks.Hook) -> None:
            made.append(event.name)
            trigger(event)

        context.master.addons.trigger = count  # type: ignore[method-assign]
        maker = LegacyLogEvents(context.master)
        maker.install()
        try:
            spare_log_events()
            logging.getLogger("test").warning("nobody listens")
            await asyncio.sleep(0)
            assert "add_log" not in made
            hears = HearsLog()
            context.master.addons.add(hears)
            logging.getLogger("test").warning("somebody does")
            await asyncio.sleep(0)
            assert [line for line in hears.lines if line.endswith("somebody does")]
        finally:
            maker.uninstall()

    in_mitmproxy(test)
