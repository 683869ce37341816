"""What a layer of mitmproxy's waits for."""

from antigravity_healing.proxy.internals.paused import paused_by, queued_in
from mitmproxy.options import Options
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.test import tflow


class Connecting(layer.Layer):
    """Wants its server for each event but the first."""

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if not isinstance(event, events.Start):
            yield commands.OpenConnection(self.context.server)


def test_a_layer_that_waits_says_for_what_and_what_has_come_meanwhile() -> None:
    waiting = Connecting(Context(tflow.tclient_conn(), Options()))
    client = waiting.context.client
    list(waiting.handle_event(events.Start()))
    assert paused_by(waiting) is None
    assert list(queued_in(waiting)) == []

    [command] = waiting.handle_event(events.DataReceived(client, b"one"))
    assert isinstance(command, commands.OpenConnection)
    assert paused_by(waiting) is command

    came = events.DataReceived(client, b"two")
    assert list(waiting.handle_event(came)) == []
    assert list(queued_in(waiting)) == [came]

    [command_of_the_next] = waiting.handle_event(events.OpenConnectionCompleted(command, None))
    assert paused_by(waiting) is command_of_the_next
    assert list(queued_in(waiting)) == []
