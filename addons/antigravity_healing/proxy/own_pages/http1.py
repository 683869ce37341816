"""HTTP/1.1 with who asks for the proxy's own pages: bytes go in, requests come out, one at a time."""

import h11
from mitmproxy import http

from antigravity_healing.proxy.connections.bounds import Bounds
from antigravity_healing.proxy.connections.heads import HeadMeter, HeadRefusal
from antigravity_healing.proxy.own_pages.pages import PageAnswer
from antigravity_healing.wire.http.fields import wrong_request

MOST_BODY_BYTES = 64 * 1024
_LONGEST_REASON = 200
_TOO_LONG = HeadRefusal(413, f"The request body is longer than the {MOST_BODY_BYTES:,} bytes that are taken here.")
_SAFE = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


class OwnHttp1:
    """The requests of a connection, one after the other: after `take` has given one, `answer` comes before the next.

    closes: whether the connection ends with the answer that was made last. begun: whether any of a request has come
    that has not been taken.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._came = bytearray()
        self._body = bytearray()
        self._meter = HeadMeter(bounds.config.limits)
        self._h11: h11.Connection | None = None
        self._head: h11.Request | None = None
        self._asks_head = False
        self.closes = False

    @property
    def begun(self) -> bool:
        """See the class."""
        return bool(self._came) or self._head is not None

    def receive(self, data: bytes) -> None:
        """Something has come."""
        self._came += data

    def take(self) -> http.Request | HeadRefusal | None:
        """The next request, whole; why what has come is none, after which the connection ends; None for neither yet."""
        if self._h11 is None:
            blank = len(self._came) - len(self._came.lstrip(b"\r\n"))
            if blank and not self._meter.begun:
                del self._came[:blank]
            if not self._came:
                return None
            if refusal := self._meter.look(self._came):
                return self._ending(refusal)
            if not self._meter.complete:
                return None
            self._h11 = _connection(self._bounds.config.limits.head_bytes)
        if self._came:
            self._h11.receive_data(bytes(self._came))
            self._came.clear()
        try:
            return self._read(self._h11)
        except h11.RemoteProtocolError as error:
            told = str(error)[:_LONGEST_REASON]
            return self._ending(HeadRefusal(error.error_status_hint, f"This is no request that can be taken: {told}."))

    def continues(self) -> bytes:
        """What a client has to be told before it sends a body; b"" for nothing."""
        if self._h11 is None or not self._h11.they_are_waiting_for_100_continue:
            return b""
        return self._h11.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def answer(self, answer: PageAnswer, *, close: bool = False) -> bytes:
        """The bytes of an answer to what was taken last. close: whether the connection is to end with it.

        Raises h11.LocalProtocolError for a status or headers that can't be sent; then another one may be.
        """
        spoken = self._h11 or _connection(self._bounds.config.limits.head_bytes)
        fields = {**_SAFE, "content-type": answer.content_type, "content-length": str(len(answer.body))}
        fields |= {name.lower(): value for name, value in answer.headers.items()}
        bodiless = answer.status in (204, 304)
        if bodiless:
            del fields["content-length"], fields["content-type"]
        if close or self.closes:
            fields["connection"] = "close"
        events = (
            h11.Response(status_code=answer.status, headers=list(fields.items())),
            h11.Data(data=b"" if bodiless or self._asks_head else answer.body),
            h11.EndOfMessage(),
        )
        sent = b"".join(spoken.send(event) or b"" for event in events)
        self.closes = self.closes or spoken.our_state is not h11.DONE or spoken.their_state is not h11.DONE
        self._h11 = None
        self._asks_head = False
        return sent

    def _read(self, spoken: h11.Connection) -> http.Request | HeadRefusal | None:
        while True:
            match spoken.next_event():
                case h11.Request() as head:
                    if refusal := _refusal(head):
                        return self._ending(refusal)
                    self._head = head
                    self._asks_head = head.method == b"HEAD"
                case h11.Data(data=data):
                    self._body += data
                    if len(self._body) > MOST_BODY_BYTES:
                        return self._ending(_TOO_LONG)
                case h11.EndOfMessage():
                    assert self._head is not None
                    self._came[:] = spoken.trailing_data[0]
                    made = _request(self._head, bytes(self._body))
                    self._next()
                    return made
                case _:
                    return None

    def _ending(self, refusal: HeadRefusal) -> HeadRefusal:
        self.closes = True
        self._came.clear()
        self._next()
        return refusal

    def _next(self) -> None:
        self._head = None
        self._body.clear()
        self._meter = HeadMeter(self._bounds.config.limits)


def _refusal(head: h11.Request) -> HeadRefusal | None:
    """Why a head that can be read is not taken all the same."""
    fields = dict(head.headers)
    wrong = wrong_request(head.method, head.target, tuple(head.headers))
    if not wrong and b"content-length" in fields and b"transfer-encoding" in fields:
        wrong = "two statements of how long its body is"
    if wrong:
        return HeadRefusal(400, f"This is no request that can be taken: {wrong}.")
    return _TOO_LONG if int(fields.get(b"content-length", b"0")) > MOST_BODY_BYTES else None


def _connection(head_bytes: int) -> h11.Connection:
    # The head has been measured before; what h11 bounds beside it are the lines of chunks.
    return h11.Connection(h11.SERVER, max_incomplete_event_size=head_bytes + MOST_BODY_BYTES)


def _request(head: h11.Request, body: bytes) -> http.Request:
    scheme, authority, path = b"http", b"", head.target
    if not path.startswith(b"/"):
        scheme, _, rest = path.partition(b"://")
        authority, slash, below = rest.partition(b"/")
        path = slash + below
    return http.Request(
        host=authority.decode("latin-1").rpartition("@")[2],
        port=80,
        method=head.method,
        scheme=scheme.lower(),
        authority=authority,
        path=path,
        http_version=b"HTTP/" + head.http_version,
        headers=http.Headers(tuple(head.headers)),
        content=body,
        trailers=None,
        timestamp_start=0,
        timestamp_end=0,
    )
