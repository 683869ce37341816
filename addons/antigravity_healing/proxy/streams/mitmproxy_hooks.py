"""Running mitmproxy's hooks where they arise.

A stock hook is an asyncio task, two walks over all of mitmproxy's addons and a turn of the event loop, a quarter of a
millisecond in all; an exchange has eight of them, four before its first content. Here the addons that listen are looked
up once and called at once. They are the same, in the same order, with the same flow; one that has to be awaited, and a
flow that a person intercepts, are waited for as ever.
"""

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any

from mitmproxy import exceptions, flow
from mitmproxy.addonmanager import safecall
from mitmproxy.addons import (
    anticache,
    anticomp,
    disable_h2c,
    modifybody,
    modifyheaders,
    onboarding,
    proxyauth,
    stickyauth,
    stickycookie,
    update_alt_svc,
)
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import HttpStream, SendHttp

from antigravity_healing.proxy.internals.http_layer import (
    ErrorCode,
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
    ResponseProtocolError,
)
from antigravity_healing.proxy.internals.listeners import EVERYBODY, Listeners
from antigravity_healing.proxy.streams.own_hooks import AntigravityAwaitHook, AntigravityResumeHook
from antigravity_healing.wire.http.fields import wrong_fields, wrong_status, wrong_target

_CHANGING = (
    anticache.AntiCache,
    anticomp.AntiComp,
    disable_h2c.DisableH2C,
    modifybody.ModifyBody,
    modifyheaders.ModifyHeaders,
    onboarding.Onboarding,
    proxyauth.ProxyAuth,
    stickyauth.StickyAuth,
    stickycookie.StickyCookie,
    update_alt_svc.UpdateAltSvc,
)
"""What of mitmproxy changes messages or asks who sends them: it does so once, with the client's flow."""
_OF_REQUESTS = (HttpRequestHeadersHook.name, HttpRequestHook.name)
_IN_PLACE = (HttpRequestHeadersHook, HttpRequestHook, HttpResponseHeadersHook, HttpResponseHook, HttpErrorHook)


def meets_attempts(addon: Any, hook: str) -> bool:
    """Whether an addon's hook is called for attempts, beside the client's flow that they are made from.

    Not what changes a message, else it would be changed twice. A script may change requests, and looks at answers:
    an attempt's is judged as it came, whatever becomes of its flow.
    """
    if isinstance(addon, _CHANGING):
        return False
    return hook not in _OF_REQUESTS or type(addon).__module__.startswith(("mitmproxy.", "antigravity_healing."))


_of_attempts = Listeners(meets_attempts)


class InPlaceHooks(HttpStream):
    """A stream whose hooks run in place, as long as `hooks_in_place` says so."""

    hooks_in_place = True
    is_attempt = False

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        handling = self.handle(event)
        reply: Any = None
        while True:
            try:
                command = handling.send(reply)
            except StopIteration:
                return
            if self.hooks_in_place and isinstance(command, _IN_PLACE):
                self.in_hook(True)
                if isinstance(command, HttpResponseHook | HttpErrorHook):
                    self.tell_story()
                yield from _run(command.name, command.flow, attempts=self.is_attempt)
                self.in_hook(False)
                reply = None
            else:
                reply = yield command

    def tell_story(self) -> None:
        """Put what is known of it on the flow, whose end is about to be told."""

    def in_hook(self, on: bool) -> None:
        """A hook begins or is over. An addon or a person may take its time there."""

    def check_invalid(self, request: bool) -> CommandGenerator[bool]:
        """Refuse a message whose head is none, on either side."""
        if (yield from super().check_invalid(request)):
            return True
        flaw = self.flaw_of(request)
        return bool(flaw) and (yield from self.refuse(request, flaw))

    def flaw_of(self, request: bool) -> str:
        """What is wrong with the head of the request or of the answer, in words; "" if nothing is."""
        if request:
            # Here an odd path is the server's matter, as long as all see the same one.
            return wrong_target(self.flow.request.data.path) or wrong_fields(self.flow.request.headers.fields)
        assert self.flow.response is not None
        status = str(self.flow.response.status_code).encode()
        return wrong_status(status) or wrong_fields(self.flow.response.headers.fields)

    def refuse(self, request: bool, flaw: str) -> CommandGenerator[bool]:
        """End the stream as mitmproxy does for what it finds invalid itself. flaw: why, in words."""
        self.flow.error = flow.Error(flaw)
        if request:
            yield HttpRequestHeadersHook(self.flow)
        else:
            yield commands.CloseConnection(self.flow.server_conn)
        yield HttpErrorHook(self.flow)
        code = ErrorCode.REQUEST_VALIDATION_FAILED if request else ErrorCode.RESPONSE_VALIDATION_FAILED
        yield SendHttp(ResponseProtocolError(self.stream_id, flaw, code), self.context.client)
        self.flow.live = False
        self.client_state = self.server_state = self.state_errored
        return True

    def handle(self, event: events.Event) -> CommandGenerator[None]:
        """Handle an event, giving commands, hooks among them."""
        yield from super()._handle_event(event)


def _run(name: str, about: flow.Flow, *, attempts: bool) -> CommandGenerator[None]:
    """Call all who listen to this hook, and then those who want to know of changed flows."""
    listeners = _of_attempts if attempts else EVERYBODY
    for hook, argument in ((name, about), ("update", [about])):
        for listener in listeners.of(hook):
            result: Awaitable[Any] | None = None
            try:
                with safecall():
                    result = _begun(listener(argument))
            except exceptions.AddonHalt:
                break
            if result is not None:
                yield AntigravityAwaitHook(result)
    if about.intercepted:
        yield AntigravityResumeHook(about)


def _begun(result: Any) -> Awaitable[Any] | None:
    """What of an addon's hook has to be awaited, None if it is done: most that are asynchronous wait for nothing."""
    if not inspect.iscoroutine(result):
        return result if inspect.isawaitable(result) else None
    task = asyncio.Task(result, loop=asyncio.get_running_loop(), eager_start=True)
    if not task.done():
        return task
    task.result()
    return None
