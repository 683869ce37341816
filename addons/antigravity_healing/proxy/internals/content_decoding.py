"""mitmproxy's decoding of bodies, for filters, views and scripts: bounded, as few bytes can stand for gigabytes."""

from collections.abc import Callable, Mapping
from functools import partial

from mitmproxy.net import encoding

from antigravity_healing.wire.http.encoding import DecodingError, Decompressor, TooLongError

ALWAYS_BYTES = 8 * 1024 * 1024
MOST_TIMES = 64
"""A body may become so many times as long as it came, or `ALWAYS_BYTES`."""
_CODINGS = {"gzip": "gzip", "deflate": "deflate", "deflateraw": "deflate", "br": "br", "zstd": "zstd"}
"""By the names that mitmproxy has for them."""

type _Decode = Callable[[bytes], bytes]


class _Bounded(dict[str, _Decode]):
    """What decodes each coding. What it lacks, mitmproxy takes for the name of one of Python's codecs."""

    def __init__(self, plain: Mapping[str, _Decode]) -> None:
        super().__init__(plain)
        self.update((name, partial(_decode, coding, plain[name])) for name, coding in _CODINGS.items())

    def __missing__(self, name: str) -> _Decode:
        try:
            b"any".decode(name)
        except LookupError:
            # No text: Python has more compressions by that way, without any bound.
            return partial(_refuse, name)
        except ValueError:
            pass  # text, if not this
        raise KeyError(name)


def bound_decoding() -> None:
    """Have mitmproxy decode no body to more than that: it is left as it came then."""
    if not isinstance(encoding.custom_decode, _Bounded):
        encoding.custom_decode = _Bounded(encoding.custom_decode)  # type: ignore[assignment]


def _decode(name: str, plain: _Decode, content: bytes) -> bytes:
    try:
        return Decompressor(name).decode(content, max(ALWAYS_BYTES, MOST_TIMES * len(content)))
    except TooLongError as error:
        raise ValueError(str(error)) from None
    except DecodingError:
        # It breaks within the bound, and mitmproxy may know something to do with it.
        return plain(content)


def _refuse(name: str, content: bytes) -> bytes:
    raise ValueError(f"{name} is no coding of contents")
