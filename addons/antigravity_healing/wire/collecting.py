"""Putting streams together, in any dialect: how much is kept, and what is said of more."""

LONGEST = 2 * 1024 * 1024
"""Bytes of an answer up to which it is collected where only its signatures are wanted."""
LONGEST_WHOLE = 64 * 1024 * 1024
"""Bytes of an answer up to which it is collected for a client that wants it whole."""

NOT_WHOLE = "the stream is no whole answer"
"""Why a stream that has come to its end is no answer, where nothing better is known."""


def too_long(longest: int) -> str:
    """What is wrong with an answer that is longer than this."""
    return f"it has more than {longest:,} bytes"
