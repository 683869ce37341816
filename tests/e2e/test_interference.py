"""Users who say the same to a real proxy at the same time, over a restart: each is served as if alone."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from antigravity_healing.policy.routing.request import Owner
from antigravity_healing.policy.settings.schema import Signatures
from antigravity_healing.policy.signing.store import SignatureStore

from tests.e2e.conversations import lose_signatures
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import DIALECTS
from tests.policy.translating.through import GEMINI, NEW, OLD, Kind, Through
from tests.support import raw
from tests.upstream import Call, Reply, Talking, Upstream
from tests.upstream.histories import Send, Sent, Talk, side_by_side

PROMPTS = ("hi", "Look. [steps:2][parallel:2]", "[interleaved] Look.", "[cited][floats] hi")
FEW_PROMPTS = ("Look. [parallel:2]", "[interleaved][cited][floats] hi")
type Prompts = Sequence[str]

KINDS = (
    Kind("anthropic", OLD), Kind("anthropic", NEW), Kind("gemini", GEMINI),
    Kind("anthropic", "claude-on-gemini", "gemini", GEMINI), Kind("gemini", "gemini-on-old", "anthropic", OLD),
    Kind("gemini", "gemini-on-new", "anthropic", NEW),
)  # fmt: skip
CONFIG = f"""
[retry]
upgrade = false
spare_retries = 1000000

[models]
"claude-on-gemini" = "gemini/{GEMINI}"
"gemini-on-old" = "anthropic/{OLD}"
"gemini-on-new" = "anthropic/{NEW}"
"""
USERS = ("who keeps everything", "who loses signatures", "who says the same once more")


def conversation(kind: Kind, user: str) -> Talk:
    """A user's conversation, and an API of its own: it gives the same answers whoever else there is."""
    key = f"key-of-{user}-of-{kind.named}".replace(" ", "-")
    talk = Talk(kind.dialect, kind.named, Talking(seed=key, call_ids=True), key=key)
    if user == "who loses signatures":
        talk.spoil = lose_signatures
    return talk


def alone(kind: Kind, user: str, prompts: Prompts) -> list[bytes]:
    """What goes upstream for a conversation with which no other shares a store."""
    talk = conversation(kind, user)
    store = SignatureStore(None, Signatures())
    through = Through(store, key=key_of(kind.spoken or kind.dialect))
    talk.through = through.proxy(Owner("a client"), spoken=kind.spoken, model=kind.model)
    for prompt in prompts:
        talk.turn(prompt)
    store.close()
    return [sent.body for sent in talk.came]


def go_through(talk: Talk, proxy: Proxy, server: Upstream) -> None:
    """From now on a real proxy stands between the conversation and its API."""

    def through(sent: Sent, send: Send) -> Reply:
        def answer(call: Call) -> Reply:
            return send(Sent(call.path.partition("?")[0], call.body, call.headers))

        server.default = answer
        response = raw.request("POST", proxy.url + sent.path, sent.body, sent.headers)
        return Reply(status=response.status, body=response.body)

    talk.through = through


def say(talks: Sequence[Talk], prompts: Prompts, proxy: Proxy, server: Upstream) -> None:
    """Have all say these prompts, one request of each in turn."""
    for talk in talks:
        go_through(talk, proxy, server)
    side_by_side([(talk, prompts) for talk in talks])


@pytest.mark.parametrize(
    "prompts", [FEW_PROMPTS, pytest.param(PROMPTS, marks=pytest.mark.long)], ids=["few turns", "more turns"]
)
def test_what_goes_upstream_for_each_is_the_same_as_if_it_were_alone(tmp_path: Path, prompts: Prompts) -> None:
    half = len(prompts) // 2
    with Upstream() as server:
        config = "".join(account(dialect, dialect) + upstream(dialect, dialect, server.url) for dialect in DIALECTS)
        talks = {(kind, user): conversation(kind, user) for kind in KINDS for user in USERS}
        for some in (prompts[:half], prompts[half:]):
            with Proxy(tmp_path, config + CONFIG) as proxy:
                say([*talks.values()], some, proxy, server)
    for (kind, user), talk in talks.items():
        assert [sent.body for sent in talk.came] == alone(kind, user, prompts), (kind, user)
        assert talk.talking.refused == []
