"""The paths of the Gemini API, and of its Vertex form, that name a model."""

import re
from typing import NamedTuple

from antigravity_healing.wire.operation import OperationKind

METHODS: dict[str, OperationKind] = {
    "streamGenerateContent": "generate",
    "generateContent": "generate",
    "countTokens": "count_tokens",
}
"""The methods of a model that are healed."""

_MODELS = (
    r"(/(?:v1|v1beta|v1alpha)/models/|/(?:v1|v1beta1)/(?:projects/[^/]+/locations/[^/]+/)?publishers/google/models/)"
)
_MODEL_PATH = re.compile(_MODELS + r"([^/]+)")
_VERB = re.compile(r"(.+?)(:|%3[aA])(\w+)")
MODEL_PATH_LIKE = re.compile(_MODELS + r".+:(\w+)")
LIST_PATH = re.compile(r"/(?:v1|v1beta|v1alpha)/models|/(?:v1|v1beta1)/.*publishers/google/models")


class ModelPath(NamedTuple):
    """A path that names a model, in pieces: up to its name, the name as it is written, the method with its colon."""

    folder: str
    name: str
    colon: str = ""
    verb: str = ""


def model_path(path: str) -> ModelPath | None:
    """A path in its pieces, None for one that names no model."""
    match = _MODEL_PATH.fullmatch(path)
    if not match:
        return None
    folder, last = match.groups()
    method = _VERB.fullmatch(last)
    # A colon is as good when it is encoded; what is no method behind one belongs to the name.
    if method and (method[2] == ":" or method[3] in METHODS):
        return ModelPath(folder, *method.groups())
    return None if ":" in last else ModelPath(folder, last)
