"""How the Anthropic API names what lies with one account."""

import re

from healing.wire.dialect import ThingIds

_PREFIXES = "file|msgbatch|container|skill|agent|sesn|env|vlt|memstore"

THINGS = ThingIds(
    id=re.compile(rf"((?:{_PREFIXES})_[A-Za-z0-9]{{8,200}})\Z"),
    in_segments=True,
    request_signs=(b'"file_id"', b'"container"', b'"skill_id"'),
    answer_signs=tuple(f'"{prefix}_'.encode() for prefix in _PREFIXES.split("|")),
    event_signs=(b'"container_', b'"file_'),
    # What a model writes stands there within a string, where its quotes are escaped.
    in_event=re.compile(rb'"(?:id|file_id)":\s*"((?:file|container)_[A-Za-z0-9]{8,200})"'),
)
