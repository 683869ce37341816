"""Secrets in a request's body, kept away from flows: masked there, put back at the wire."""

import hashlib
import re
from dataclasses import dataclass
from itertools import count

from mitmproxy.proxy.utils import ReceiveBuffer

from antigravity_healing.proxy.secrets.redaction import SHORTEST_SECRET
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.http.encoding import DecodingError, Decompressor, TooLongError
from antigravity_healing.wire.requests.body_secrets import may_have_secrets, secret_spans

# A mask is as long as what it stands for, so that lengths hold, and the same for the same secret, so that who asks the
# same again is known.
_SAYS = b"masked-"
_MASK = re.compile(rb'"masked-[0-9a-f]{8}')

type Masks = tuple[tuple[bytes, bytes], ...]


@dataclass
class Masking:
    """The masking of one body, which may take time.

    come: the body as it came, in this content-coding; it is emptied. dialect: which it speaks.
    key: whoever does not have it can't find out by trying which secret a mask stands for.
    longest: how many bytes it may decode to.
    body: the same in one piece. masked: plain and without secrets, None where it has none.
    masks: what stands in that for which of them.
    """

    come: ReceiveBuffer
    coding: str
    dialect: Dialect
    key: bytes
    longest: int
    body: bytes = b""
    masked: bytes | None = None
    masks: Masks = ()

    def run(self) -> None:
        """Do it. What can't be read is left to those who tell the client so."""
        body = self.body = bytes(self.come)
        self.come.clear()
        if self.coding:
            try:
                body = Decompressor(self.coding).decode(body, self.longest)
            except (ValueError, DecodingError, TooLongError):
                return
        if not may_have_secrets(body, self.dialect):
            return
        masks: dict[bytes, bytes] = {}
        pieces, at = [], 0
        for start, end in secret_spans(body):
            secret = body[start:end]
            if len(secret) < SHORTEST_SECRET or is_masked(b'"' + secret):
                continue
            # A mask that stands elsewhere would be taken for the secret there, too.
            mask = next(mask for number in count() if (mask := self._mask_of(secret, number)) not in body)
            masks[mask] = secret
            pieces += [body[at:start], mask]
            at = end
        if masks:
            self.masked, self.masks = b"".join((*pieces, body[at:])), tuple(masks.items())

    def _mask_of(self, secret: bytes, number: int) -> bytes:
        digest = hashlib.shake_256(b"%b:%d:%b" % (self.key, number, secret)).hexdigest(len(secret)).encode()
        says = _SAYS if len(secret) >= len(_SAYS) + SHORTEST_SECRET else b""
        return (says + digest)[: len(secret)]


def is_masked(body: bytes) -> bool:
    """Whether a body has masks in it: then it is one from a flow, and what they stand for is kept nowhere."""
    return _MASK.search(body) is not None
