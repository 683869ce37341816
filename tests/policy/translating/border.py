"""The border between two dialects without a proxy: what upstream is asked for a client, what the client gets."""

from dataclasses import dataclass, field
from typing import Any

from antigravity_healing.policy.judging.written import Framing, Rewriting
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import ClientRequest, Owner
from antigravity_healing.policy.routing.routes import Route
from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.signing.store import SignatureStore
from antigravity_healing.policy.translating.translation import Translation, translation_between
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.operation import Operation

from tests.policy.exchange.stage import DIALECTS, FakeClock

type Body = dict[str, Any]

GEMINI, OLD, NEW = "gemini-3-pro-preview", "claude-sonnet-4-5", "claude-opus-5-5"


@dataclass
class Border:
    """One client and one model of another dialect."""

    model: str
    client: str = "a client"
    session: str = ""
    store: SignatureStore = field(default_factory=lambda: SignatureStore(None, schema.Signatures()))
    answers: int = 0

    @property
    def upstream(self) -> str:
        return "gemini" if self.model.startswith("gemini") else "anthropic"

    def asked(self, body: Body) -> Body:
        """What upstream is asked, as it is sent, read exactly."""
        asked: Body = exact.parse(self._crossing(body).asked(frozenset()).body)
        return asked

    def answer(self, body: Body, own: list[Body]) -> list[Body]:
        """Upstream answers with these blocks or parts: those that the client gets."""
        crossing = self._crossing(body)
        sent = crossing.asked(frozenset()).value
        self.answers += 1
        client, upstream = DIALECTS["anthropic" if self.upstream == "gemini" else "gemini"], DIALECTS[self.upstream]
        translator = crossing.translator(f"answer {self.answers} of {self.client}")
        writer = Rewriting(client, translator, whole=True, framing=Framing(client), upstream=upstream)
        for event in upstream.events_of(exact.parse(dump(self._whole(own)))):
            writer.take_event(event)
        writer.end()
        crossing.keep(Account("work", "work", self.upstream, schema.BUILT_IN[self.upstream]), writer, sent)
        return writer.content

    def _whole(self, own: list[Body]) -> Body:
        if self.upstream == "gemini":
            return {"candidates": [{"content": {"role": "model", "parts": own}, "finishReason": "STOP", "index": 0}]}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "model": self.model, "content": own}
        return {**message, "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}

    def _crossing(self, body: Body) -> Translation:
        data = dump(body)
        client = DIALECTS["anthropic" if self.upstream == "gemini" else "gemini"]
        operation, route = Operation("generate", self.model), Route(None, self.model, self.upstream)
        request = ClientRequest(
            "e1", client, operation, "POST", "/", "", data, self.model, False, route, self.session,
            exact.parse(data), Owner(self.client, self.session),
        )  # fmt: skip
        upstream = schema.BUILT_IN[self.upstream]
        return translation_between(client.name, self.upstream)(
            request, upstream, schema.Translate(), self.store, FakeClock()
        )
