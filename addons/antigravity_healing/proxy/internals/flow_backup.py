"""What mitmproxy keeps of a flow that it changes, to which a person may want to go back."""

import copy

from mitmproxy import http


def before_replay(about: http.HTTPFlow) -> http.HTTPFlow | None:
    """A flow that has been replayed, as it was before; None for one that has not."""
    backup = getattr(about, "_backup", None)
    # What reads a state takes it to pieces, and a person may want to revert to this one.
    recorded = http.HTTPFlow.from_state(copy.deepcopy(backup)) if backup else None
    return recorded if isinstance(recorded, http.HTTPFlow) else None
