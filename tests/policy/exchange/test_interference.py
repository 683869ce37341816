"""Conversations do not touch each other: what goes upstream for one is the same as if no other had ever been there."""

import contextlib
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from antigravity_healing.policy.routing.request import Owner
from antigravity_healing.policy.settings.schema import Signatures
from antigravity_healing.policy.signing.store import SignatureStore
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.e2e.conversations import edit_last_thinking, lose_signatures, store_aborted_answer
from tests.policy.translating.through import GEMINI, NEW, OLD, Kind, Through
from tests.support.examples import examples
from tests.upstream import Talking
from tests.upstream.histories import RefusedTalkError, Sent, Talk

type History = list[dict[str, Any]]

steady = settings(deadline=None, derandomize=True, max_examples=examples(25))
PROMPTS = (
    "hi", "Go on.", "Look. [steps:1]", "Look. [steps:2][parallel:2]", "Hm. [silent]", "[redacted] hi", "[code] x",
    "[blank] Look.", "[cited] hi", "[interleaved] Look.", "[image] hi", "[floats] Look.", "[lines] hi",
)  # fmt: skip


KINDS = (
    Kind("anthropic", OLD), Kind("anthropic", NEW), Kind("gemini", GEMINI), Kind("anthropic", OLD, "gemini", GEMINI),
    Kind("gemini", GEMINI, "anthropic", OLD), Kind("gemini", GEMINI, "anthropic", NEW),
)  # fmt: skip


def nothing(history: History) -> None:
    """The client is a good one."""


def mangle_texts(history: History) -> None:
    """The client strips the texts that it was given, and merges those that stand side by side."""
    for message in history:
        pieces = message.get("content", message.get("parts"))
        for piece in pieces if isinstance(pieces, list) and message["role"] in ("assistant", "model") else ():
            if isinstance(piece.get("text"), str) and piece["text"].strip() and not piece.get("thought"):
                piece["text"] = piece["text"].strip()


def tolerant(mishap: Any) -> Any:
    """A mishap that does nothing where there is nothing to do."""

    def spoil(history: History) -> None:
        with contextlib.suppress(AssertionError):
            mishap(history)

    return spoil


MISHAPS = {
    "nothing": nothing,
    "loses signatures": lose_signatures,
    "edits thinking": tolerant(edit_last_thinking),
    "stores an aborted answer": tolerant(store_aborted_answer),
    "mangles texts": mangle_texts,
}


@dataclass(frozen=True)
class Plan:
    """One conversation.

    apart: what tells it from the others. mishaps: what the client does after each of its turns.
    system_from: before which turn the client changes its system prompt.
    forked_at: after how many turns of the first conversation this one goes on with its history, as its fork.
    """

    kind: Kind
    apart: str
    prompts: tuple[str, ...]
    mishaps: tuple[str, ...]
    system_from: int
    forked_at: int = 0


def told_apart(plan: Plan) -> Plan:
    """The plan, unless a client changes the only thing that tells its conversations apart: then they are one."""
    if plan.apart != "system":
        return plan
    mishaps = tuple("nothing" if mishap == "mangles texts" else mishap for mishap in plan.mishaps)
    return replace(plan, mishaps=mishaps, system_from=len(plan.prompts) + 1)


plans = st.builds(
    Plan,
    kind=st.sampled_from(KINDS),
    apart=st.sampled_from(["client", "session", "system"]),
    prompts=st.lists(st.sampled_from(PROMPTS), min_size=1, max_size=4).map(tuple),
    mishaps=st.lists(st.sampled_from(["nothing", "nothing", *MISHAPS]), min_size=4, max_size=4).map(tuple),
    system_from=st.integers(1, 6),
).map(told_apart)


@dataclass
class Running:
    """A conversation that is under way, through exchanges that share a store with others."""

    number: int
    plan: Plan
    parent: "Running | None" = None
    turns: int = 0
    owner: Owner = field(init=False)
    talk: Talk = field(init=False)

    def __post_init__(self) -> None:
        plan, number = self.plan, self.number
        # A fork is the same client's, in a session of its own.
        owner = self.parent.owner if self.parent is not None else Owner()
        if plan.apart == "client" and self.parent is None:
            owner = Owner(f"client {number}")
        elif plan.apart == "session" or self.parent is not None:
            owner = Owner(owner.client or "a client", f"session {number}")
        self.owner = owner if owner.client else Owner("a client")
        system = f"Be brief, {number}." if plan.apart == "system" else "Be brief."
        if self.parent is not None:
            system = self.parent.talk.system
        self.talk = Talk(plan.kind.dialect, plan.kind.named, Talking(seed=f"conversation {number}"), system=system)
        if self.parent is not None:
            self.talk.history = deepcopy(self.parent.talk.history)

    @property
    def is_over(self) -> bool:
        return self.turns == len(self.plan.prompts)

    def turn(self, through: Through) -> None:
        """Say the next prompt, and do what is asked for until the answer is whole."""
        if self.turns + 1 == self.plan.system_from:
            self.talk.system += " Very."
        kind = self.plan.kind
        self.talk.through = through.proxy(self.owner, spoken=kind.spoken, model=kind.model)
        try:
            self.talk.turn(self.plan.prompts[self.turns])
        except RefusedTalkError:
            self.turns = len(self.plan.prompts)
            return
        MISHAPS[self.plan.mishaps[self.turns]](self.talk.history)
        self.turns += 1


@dataclass
class House:
    """The proxy: the store that all share, and each conversation's exchanges."""

    file: Path
    store: SignatureStore = field(init=False)
    throughs: dict[int, Through] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = SignatureStore(self.file, Signatures())

    def restart(self) -> None:
        """The proxy is started anew."""
        self.store.close()
        self.store = SignatureStore(self.file, Signatures())
        for through in self.throughs.values():
            through.store = self.store

    def turn(self, running: Running) -> None:
        """One turn of a conversation."""
        through = self.throughs.setdefault(running.number, Through(self.store, f"c{running.number}-"))
        running.turn(through)


def alone(number: int, plan: Plan, parent: Plan | None) -> list[Sent]:
    """What goes upstream for a conversation when no other is there, but for what it was forked from."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder) / "store.sqlite3")
        root = None
        if parent is not None:
            root = Running(0, parent)
            while root.turns < plan.forked_at:
                house.turn(root)
        running = Running(number, plan, root)
        while not running.is_over:
            house.turn(running)
        house.store.close()
        return running.talk.came


def together(plans: Sequence[Plan], order: Sequence[int], restarts: frozenset[int]) -> list[list[Sent]]:
    """What goes upstream for each of these when they talk side by side."""
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder) / "store.sqlite3")
        running = [Running(number, plan) for number, plan in enumerate(plans) if not plan.forked_at]
        forks = [(number, plan) for number, plan in enumerate(plans) if plan.forked_at]
        step = 0
        while True:
            for number, plan in [fork for fork in forks if running[0].turns >= fork[1].forked_at]:
                forks.remove((number, plan))
                running.append(Running(number, plan, running[0]))
            left = [each for each in running if not each.is_over]
            if not left:
                break
            if step in restarts:
                house.restart()
            house.turn(left[order[step % len(order)] % len(left)])
            step += 1
        house.store.close()
        by_number = {each.number: each.talk.came for each in running}
        return [by_number.get(number, []) for number in range(len(plans))]


def check(plans: list[Plan], order: list[int], restarts: frozenset[int]) -> None:
    """Each conversation goes on among the others as it does alone."""
    for number, came in enumerate(together(plans, order, restarts)):
        plan = plans[number]
        assert came == alone(number, plan, plans[0] if plan.forked_at else None), plan


orders = st.lists(st.integers(0, 5), min_size=4, max_size=12)
moments = st.frozensets(st.integers(0, 12), max_size=3)


@steady
@given(
    st.lists(plans, min_size=2, max_size=4),
    orders,
    moments,
)
def test_what_goes_upstream_for_a_conversation_is_the_same_alone_and_among_others(
    plans: list[Plan], order: list[int], restarts: frozenset[int]
) -> None:
    check(plans, order, restarts)


@steady
@given(plans, st.lists(plans, min_size=1, max_size=2), st.integers(1, 3), orders, moments)
def test_a_fork_of_a_conversation_goes_on_as_if_the_other_branch_did_not(
    first: Plan, others: list[Plan], forked_at: int, order: list[int], restarts: frozenset[int]
) -> None:
    at = min(forked_at, len(first.prompts))
    # What was broken before the fork is broken in both, and repaired in both by what nobody can guess.
    mishaps = (*first.mishaps[: at - 1], "nothing", *first.mishaps[at:])
    # Two branches of one client, of which one has no name, are the same wherever they say the same.
    first = replace(first, mishaps=mishaps, apart="session")
    # A fork that changes its system prompt in the same way is where the other branch is.
    fork = replace(others[0], kind=first.kind, forked_at=at, system_from=6)
    check([first, fork, *others[1:]], order, restarts)
