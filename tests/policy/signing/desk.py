"""Repairing without a proxy: one request after the other of a conversation, each refused as the test says."""

import json
from dataclasses import dataclass, field
from typing import Any

from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import Owner
from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.signing.repairs import Prepared, Repairs
from antigravity_healing.policy.signing.store import SignatureStore
from antigravity_healing.wire.errors.parsing import parse_error
from antigravity_healing.wire.errors.signature_refusals import Position, SignatureFault

NOW = 1_795_000_000.0


def account(name: str = "work", dialect: str = "anthropic") -> Account:
    return Account(name, name, dialect, schema.BUILT_IN[dialect])


def refused(fault: SignatureFault, message: int | None = None, block: int | None = None) -> Failure:
    """A refusal that names a block, or none."""
    position = None if message is None else Position(message, block)
    return Failure(FailureClass.SIGNATURE, f"400 {fault}", 400, fault=fault, position=position)


def other_refusal(detail: str = "400 max_tokens: Field required") -> Failure:
    return Failure(FailureClass.CALLER, detail, 400)


@dataclass
class Desk:
    """The repairs of one conversation."""

    dialect: str = "anthropic"
    model: str = "claude-sonnet-5-5"
    style: str = "auto"
    note: str = "(a note)"
    client: str = "a client"
    session: str = ""
    store: SignatureStore = field(default_factory=lambda: SignatureStore(None, schema.Signatures()))

    def request(self, body: dict[str, Any]) -> "Request":
        """A request of the client."""
        settings = schema.Repair.model_validate({"style": self.style, "note": self.note})
        text = json.dumps(body).encode()
        value = json.loads(text)
        owner = Owner(self.client, self.session)
        return Request(
            Repairs(self.dialect, text, value, self.model, owner, "session", self.store, settings), self.dialect
        )


@dataclass
class Request:
    """One request, and what is sent for it."""

    repairs: Repairs
    dialect: str
    names: list[str] = field(default_factory=list)
    """The rules that were tried."""

    def prepared(self) -> Prepared:
        return self.repairs.prepare(account(dialect=self.dialect), NOW)

    def sent(self) -> Any:
        """What an attempt would send now."""
        return json.loads(self.prepared().body)

    def refuse(self, failure: Failure, answer: bytes = b"") -> bool:
        """Upstream refuses what is sent now; gives whether there is another way."""
        self.prepared()
        rule = self.repairs.after(account(dialect=self.dialect), failure, parse_error(answer).text, NOW)
        if rule is not None:
            self.names.append(rule.name)
        return rule is not None

    def accept(self, *content: dict[str, Any]) -> Any:
        """Upstream accepts what is sent now and answers with these blocks or parts."""
        sent = self.sent()
        self.repairs.served(NOW)
        self.repairs.capture(account(dialect=self.dialect), list(content), NOW)
        return sent
