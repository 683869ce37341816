"""All targets by their names."""

from tests.fuzz.exchanges import EXCHANGES
from tests.fuzz.repeats import REPEATS
from tests.fuzz.requests import REQUESTS
from tests.fuzz.streams import STREAMS
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {target.name: target for target in (*STREAMS, *REQUESTS, *EXCHANGES, *REPEATS)}
