"""How the Gemini API names what lies with one account."""

import re

from healing.wire.dialect import ThingIds

_FOLDERS = "files|cachedContents|batches|batchPredictionJobs|fileSearchStores|corpora|interactions|operations"

THINGS = ThingIds(
    id=re.compile(
        r"(?:(?:https?://[^/]{1,200})?/(?:upload/|download/)?v1[a-z0-9]{0,10}/)?"
        r"(?:(?:projects|locations|publishers|models|tunedModels)/[^/]{1,200}/){0,4}"
        rf"((?:{_FOLDERS})/[A-Za-z0-9._-]{{1,200}})"
    ),
    request_signs=(b'ileUri"', b'file_uri"', b'achedContent"', b'ached_content"', b'StoreNames"', b'store_names"'),
    answer_signs=tuple(f"{folder}/".encode() for folder in _FOLDERS.split("|")),
)
