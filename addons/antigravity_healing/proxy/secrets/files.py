"""Files that hold credentials: what is none, or has no end, holds up nobody and fills no memory."""

import os
import stat

from antigravity_healing.proxy.secrets.given import SourceError


def read_file(path: str, most: int) -> bytes:
    """What is in a regular file of at most so many bytes. Raises SourceError."""
    try:
        # No open of a pipe or a device may block.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                what = "a folder" if stat.S_ISDIR(mode) else "a pipe" if stat.S_ISFIFO(mode) else "a device"
                raise SourceError(f"{path} is {what}; it has to be a regular file")
            data = b""
            while len(data) <= most and (piece := os.read(descriptor, most + 1 - len(data))):
                data += piece
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SourceError(f"the file {path} cannot be read: {error.strerror}") from None
    if len(data) > most:
        raise SourceError(f"the file {path} has more than {most} bytes")
    return data
