"""One attempt again, exactly as it was sent, with its account's credential put on anew at the wire."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import HttpLayer, HttpStream

from antigravity_healing.policy.judging.body_form import Form, form_of, labelled
from antigravity_healing.policy.judging.failures import Failure
from antigravity_healing.policy.judging.gate import Gate
from antigravity_healing.policy.judging.whole_answers import judge_whole
from antigravity_healing.policy.settings import schema
from antigravity_healing.proxy.claiming.claims import understand
from antigravity_healing.proxy.claiming.governor import Governor
from antigravity_healing.proxy.guarding.destinations import Destination, relative_path
from antigravity_healing.proxy.replaying.handler import QuietReplayHandler
from antigravity_healing.proxy.secrets.at_the_wire import at_the_wire, without_secrets
from antigravity_healing.proxy.secrets.credentials import CredentialError
from antigravity_healing.proxy.secrets.seal import Seal
from antigravity_healing.proxy.streams.flow_story import body_of, role_of, story_of
from antigravity_healing.proxy.streams.redacting_stream import RedactingStream
from antigravity_healing.wire.http.paths import PathError, resolved
from antigravity_healing.wire.json.value import parse

LONGEST_S = 900.0
"""Nothing else is replayed meanwhile, and no clock of an exchange runs here."""


class NotReplayedError(Exception):
    """An attempt can't be replayed; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent an attempt: the account, and its upstream, as they are configured now."""

    account: schema.AccountSettings
    upstream: schema.Upstream


def sender_of(flow: http.HTTPFlow, settings: schema.Config) -> Sender:
    """Who can send an attempt again. Raises NotReplayedError."""
    if role_of(flow) != "attempt":
        raise NotReplayedError("this is no attempt: choose one of the flows that antigravity sent upstream")
    name = str(story_of(flow).get("account"))
    if name == schema.RESERVED_ACCOUNT:
        raise NotReplayedError(
            "it was sent with the client's own credential, which is kept nowhere: replay its exchange on an account"
        )
    account = next((account for account in settings.accounts if account.name == name), None)
    if account is None:
        raise NotReplayedError(f"account {name} is not in the configuration any more: replay its exchange instead")
    upstream = settings.upstream_of(account)
    request = flow.request
    # A credential goes where the configuration says, not where a file says that it once went.
    if (request.scheme, request.host, request.port) != (upstream.scheme, upstream.host, upstream.port):
        went_to = f"{request.scheme}://{request.host}:{request.port}"
        raise NotReplayedError(
            f"it went to {went_to}, and account {name} is for {upstream.url} now: replay its exchange instead"
        )
    try:
        inside = relative_path(
            Destination("upstream", account.upstream, upstream), resolved(request.path.partition("?")[0])
        )
    except PathError:
        inside = None
    if inside is None:
        raise NotReplayedError(f"it went to a path that is not one of {upstream.url}: replay its exchange instead")
    return Sender(account, upstream)


async def replay_attempt(flow: http.HTTPFlow, governor: Governor) -> Failure | None:
    """Send an attempt again and put the answer on its flow; gives what is wrong with it. Raises NotReplayedError."""
    sender = sender_of(flow, governor.config)
    try:
        seal = await governor.credentials.fetch(sender.account, sender.upstream.dialect)
    except CredentialError as error:
        raise NotReplayedError(f"no credential for account {sender.account.name}: {error}") from None
    copy = flow.copy()
    copy.is_replay = "request"
    handler = QuietReplayHandler(copy, ctx.options)
    SealedLayer.adopt(handler.layer, seal)
    try:
        await asyncio.wait_for(handler.replay(), LONGEST_S)
    except TimeoutError:
        raise NotReplayedError(f"{sender.upstream.url} gave no whole answer in {LONGEST_S:.0f} s") from None
    finally:
        await handler.close()
    if copy.response is None:
        reason = seal.redact_text(copy.error.msg if copy.error else "no answer came")
        raise NotReplayedError(f"{sender.upstream.url} gave no answer: {reason}")
    flow.response = copy.response
    return _judge(flow.request, copy.response, sender, governor.config.retry.grace)


class SealedLayer(HttpLayer):
    """mitmproxy's HTTP layer, with a credential that is on the wire and in no flow."""

    seal: Seal

    @classmethod
    def adopt(cls, plain: HttpLayer, seal: Seal) -> None:
        """Make a plain layer that has not begun yet a sealed one."""
        plain.__class__ = cls
        assert isinstance(plain, SealedLayer)
        plain.seal = seal

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        """A sealed stream for each request."""
        stream = self.streams[stream_id] = SealedStream(self.context.fork(), stream_id, self.seal)
        yield from self.event_to_child(stream, events.Start())

    def event_to_child(self, child: layer.Layer | HttpStream, event: events.Event) -> CommandGenerator[None]:
        """Put the credential on where the request goes to a connection."""
        seals = dict.fromkeys(self.streams, self.seal)
        for command in super().event_to_child(child, at_the_wire(event, child, seals)):
            yield without_secrets(command, seals) if isinstance(command, commands.Log) else command


class SealedStream(RedactingStream):
    """The stream of one request, whose answer is wanted whole and without the credential."""

    hooks_in_place = False

    def __init__(self, context: Context, stream_id: int, seal: Seal) -> None:
        super().__init__(context, stream_id)
        self.passing = seal

    def check_body_size(self, request: bool) -> CommandGenerator[bool]:
        """Nothing is streamed."""
        yield from ()
        return False


def _judge(request: http.Request, response: http.Response, sender: Sender, grace_s: float) -> Failure | None:
    """What is wrong with an answer, None if it would have served."""
    asked = understand(request, [Destination("upstream", sender.account.upstream, sender.upstream)])
    if asked is None:
        return None
    body = body_of(response)
    _, _, dialect, operation = asked
    value = _json_of(request)
    streams = operation.streams
    if streams is None:
        streams = isinstance(value, dict) and value.get("stream") is True
    label = labelled(response.headers.get("content-type", ""), Form.EVENTS)
    form = form_of(body, label, whole=True, arrays=dialect.arrays)
    if streams and response.status_code < 300:
        if operation.opaque:
            return None
        if form is not Form.JSON:
            gate = Gate(dialect, "first_content", grace_s=grace_s, wall_s=time.time(), asked=value)
            if form is Form.ARRAY:
                gate.take_array()
            gate.feed(body)
            gate.end_stream()
            return gate.failure or gate.no_answer
    return judge_whole(
        dialect,
        operation.kind,
        response.status_code,
        response.headers.fields,
        body,
        grace_s=grace_s,
        wall_s=time.time(),
    )


def _json_of(request: http.Request) -> Any:
    """What the request's body says, None if it is no JSON."""
    try:
        return parse(body_of(request))
    except ValueError:
        return None
