"""What a layer of mitmproxy's waits for: it is paused by a command, and what happens meanwhile is queued."""

from collections.abc import Iterable

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import Layer


def paused_by(layer: Layer) -> commands.Command | None:
    """The command whose completion a layer waits for; None for one that does not wait."""
    return layer._paused.command if layer._paused is not None else None


def queued_in(layer: Layer) -> Iterable[events.Event]:
    """What has happened since, in order, of which the layer knows nothing yet."""
    return layer._paused_event_queue
