"""What an Anthropic answer tells of itself: which tokens it has cost, its id, why it stopped."""

from typing import Any

from antigravity_healing.wire.usage import Counts, Usage, short_text

_NAMES = frozenset(("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens"))
_DETAILS = frozenset(("thinking_tokens",))


class AnthropicUsage:
    """The usage of one message: in `message_start`, then running totals in each `message_delta`."""

    def __init__(self) -> None:
        self._counts = Counts()

    @property
    def usage(self) -> Usage | None:
        """`input_tokens` are those that no cache has had to do with."""
        if not self._counts:
            return None
        counts = self._counts
        output = counts["output_tokens"]
        return Usage(
            uncached=counts["input_tokens"],
            cache_read=counts["cache_read_input_tokens"],
            cache_write=counts["cache_creation_input_tokens"],
            output=output,
            reasoning=min(counts["thinking_tokens"], output),
        )

    def take(self, body: Any) -> None:
        """Take what an event or a whole message tells."""
        if not isinstance(body, dict):
            return
        message = body.get("message")
        for carrier in (message, body):
            usage = carrier.get("usage") if isinstance(carrier, dict) else None
            if isinstance(usage, dict):
                self._counts.take(usage, _NAMES)
                self._counts.take(usage.get("output_tokens_details"), _DETAILS)


class AnthropicTally(AnthropicUsage):
    """What one message tells of itself: its id in `message_start`, its stop reason in `message_delta`."""

    def __init__(self) -> None:
        super().__init__()
        self.response_id = self._stop = ""

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        """One at most."""
        return (self._stop,) if self._stop else ()

    def take(self, body: Any) -> None:
        """Take what an event or a whole message tells."""
        super().take(body)
        if not isinstance(body, dict):
            return
        match body.get("type"):
            case "message_start" if isinstance(message := body.get("message"), dict):
                self.response_id = short_text(message.get("id"))
            case "message_delta" if isinstance(delta := body.get("delta"), dict):
                self._stop = short_text(delta.get("stop_reason")) or self._stop
            case "message" | None:
                self.response_id, self._stop = short_text(body.get("id")), short_text(body.get("stop_reason"))
