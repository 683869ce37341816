"""All attacks, in the order of the table."""

from tests.attack.attacks.accounts import ACCOUNTS
from tests.attack.attacks.bodies import BODIES
from tests.attack.attacks.entry import ENTRY
from tests.attack.attacks.heads import HEADS
from tests.attack.attacks.http2 import HTTP2
from tests.attack.attacks.long_texts import LONG_TEXTS
from tests.attack.attacks.secrets import SECRETS
from tests.attack.attacks.upstreams import UPSTREAMS
from tests.attack.table import Attack

ATTACKS: list[Attack] = sorted(
    (*ENTRY, *HEADS, *BODIES, *UPSTREAMS, *LONG_TEXTS, *ACCOUNTS, *HTTP2, *SECRETS), key=lambda attack: attack.row
)
