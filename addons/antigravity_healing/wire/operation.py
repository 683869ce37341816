"""What a request asks of an API, as far as its method and path tell."""

from dataclasses import dataclass
from typing import Literal

OperationKind = Literal["generate", "count_tokens", "list_models", "get_model", "other"]


@dataclass(frozen=True, slots=True)
class Operation:
    """What a request asks for, as far as its method and path tell.

    model: the model in the path, "" where the path has none.
    streams: whether the path asks for a stream; None where the body decides.
    sse: whether a stream is sent as server-sent events (Gemini sends one JSON array without `alt=sse`).
    opaque: whether an answer comes in a form that is not read.
    """

    kind: OperationKind
    model: str = ""
    streams: bool | None = False
    sse: bool = True
    opaque: bool = False
