"""Two users who share a proxy, its store, a model and an account, and say the same at the same time."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.e2e.conversations import Talker
from tests.upstream import Call, Talking
from tests.upstream.saying import Words, is_said

PROMPTS = ("Look. [steps:2][parallel:2]", "Go on. [steps:1][silent]", "Go on. [steps:1][redacted]", "Thanks. [steps:0]")
CALLS = 3 + 2 + 2 + 1
USERS = ("one", "two")


@dataclass(frozen=True)
class Kind:
    """How the two differ. same_key: not by their credentials. marked: by a word that each says first.

    words: whether their thoughts can be told apart.
    """

    same_key: bool = False
    marked: bool = False
    words: Words = "few"

    def talking(self, *, call_ids: bool = True) -> Talking:
        """An upstream that knows them apart."""
        return Talking(call_ids=call_ids, words=self.words, whose=marker_of if self.marked else None)

    def key(self, user: str, test: str) -> str:
        """A user's credential. test: what no other test has."""
        return f"client-of-{test}" if self.same_key else f"client-{user}-of-{test}"

    def prompts(self, user: str, prompts: Sequence[str] = PROMPTS) -> list[str]:
        """What a user says."""
        return [f"I am {user}. {prompts[0]}", *prompts[1:]] if self.marked else [*prompts]


KINDS = {
    "two users": Kind(words="own thoughts"),
    "one user with two conversations": Kind(same_key=True, marked=True),
    "one user who says the same twice": Kind(same_key=True, words="own thoughts"),
}


def marker_of(call: Call) -> str:
    """Which user's words stand in a call."""
    found = re.search(rb"I am (\w+)\.", call.body)
    assert found
    return found[1].decode()


def side_by_side(talking: Talking, talks: dict[str, tuple[Talker, Sequence[str]]]) -> None:
    """Have each say its prompts, a request of one and a request of the other in turn."""

    def all_steps(client: Talker, prompts: Sequence[str]) -> Iterator[str]:
        for prompt in prompts:
            said = ""
            for said in client.steps(prompt):
                yield said
            assert is_said(said)

    left = {user: all_steps(client, prompts) for user, (client, prompts) in talks.items()}
    while left:
        for user, steps in list(left.items()):
            talking.user = user
            if next(steps, None) is None:
                del left[user]
