"""Which account a session gets: affinity, round robin, least used."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import body, credential, empty, error, read_stream, target
from tests.support import raw
from tests.upstream import Call, Upstream


@dataclass(frozen=True)
class Team:
    """A proxy whose accounts each test chooses."""

    proxy: Proxy
    upstream: Upstream

    def use(self, dialect: str, weights: Mapping[str, float], strategy: str, **more: object) -> None:
        """Take up a configuration with these accounts, which must have names that no other test uses."""
        told = sum("Configuration: " in line for line in self.proxy.lines)
        config = "".join(account(name, dialect, weight=weight, **more) for name, weight in weights.items())
        config += upstream(dialect, dialect, self.upstream.url) + f'[retry]\nstrategy = "{strategy}"\n'
        new = self.proxy.config_file.with_suffix(".new")
        new.write_text(config)
        os.replace(new, self.proxy.config_file)
        self.proxy.wait_for_log("Configuration: ", told + 1)

    def accounts(self) -> list[str]:
        """The accounts that the calls came from, in their order."""
        return [_account_of(call) for call in self.upstream.calls]


def _account_of(call: Call) -> str:
    return call.credential.partition("key-of-")[2].removesuffix("-0123456789")


@pytest.fixture(scope="module")
def shared_team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    with Upstream() as server, Proxy(tmp_path_factory.mktemp("team"), "") as proxy:
        yield Team(proxy, server)


@pytest.fixture
def team(shared_team: Team) -> Team:
    shared_team.upstream.reset()
    return shared_team


def send(team: Team, dialect: str, requests: list[tuple[Mapping[str, Any], Mapping[str, str]]]) -> None:
    """Send requests (fields of the body, headers) one after another on one connection."""
    url = team.proxy.url + target(dialect, "m")
    connection = raw.RawConnection(url)
    try:
        for more, headers in requests:
            connection.send("POST", url, body(dialect, "m") | dict(more), {**credential(dialect), **headers})
            read_stream(dialect, connection.read("POST").body)
    finally:
        connection.close()


def messages(*texts: str) -> dict[str, Any]:
    """A conversation that has come so far."""
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]}


def test_sessions_are_spread_by_weight_and_each_stays_on_its_account(team: Team) -> None:
    team.use("anthropic", {"a-heavy": 3, "a-light": 1}, "affinity")
    sessions = [{"x-claude-code-session-id": f"session-{number}"} for number in range(60)]
    send(team, "anthropic", [(messages("hi"), session) for session in sessions])
    first = team.accounts()
    share = Counter(first)["a-heavy"] / len(first)
    assert 0.65 <= share <= 0.85
    team.upstream.reset()
    send(team, "anthropic", [(messages("hi", "hello", "again"), session) for session in sessions[:20]])
    assert team.accounts() == first[:20]


@pytest.mark.parametrize("key", ["header", "user_id", "first message", "Gemini's first content"])
def test_what_names_a_session_keeps_its_turns_together(team: Team, key: str) -> None:
    dialect = "gemini" if key.startswith("Gemini") else "anthropic"
    team.use(dialect, {f"{key[:3]}-{number}": 1 for number in range(3)}, "affinity")
    count = 8
    turns: list[tuple[Mapping[str, Any], Mapping[str, str]]] = []
    for turn in range(3):
        for session in range(count):
            # What is not the key differs from turn to turn, so that it can't be what keeps them together.
            texts = [
                f"hi {session}" if key == "first message" else f"turn {turn} of {session}",
                "hello",
                f"turn {turn}",
            ]
            match key:
                case "header":
                    turns.append((messages(*texts), {"x-claude-code-session-id": f"s{session}"}))
                case "user_id":
                    turns.append(({**messages(*texts), "metadata": {"user_id": f"u{session}"}}, {}))
                case "first message":
                    turns.append(({**messages(*texts), "system": "be kind"}, {}))
                case _:
                    contents = [
                        {"role": "user", "parts": [{"text": text}]} for text in (f"hi {session}", f"turn {turn}")
                    ]
                    turns.append(({"contents": contents, "systemInstruction": {"parts": [{"text": "be kind"}]}}, {}))
    send(team, dialect, turns)
    got = team.accounts()
    assert got[:count] == got[count : 2 * count] == got[2 * count :]
    assert len(set(got)) == 3


def test_a_session_that_had_to_move_comes_back(team: Team) -> None:
    team.use("anthropic", {"back-one": 1, "back-two": 1}, "affinity")
    session = {"x-claude-code-session-id": "the one"}
    send(team, "anthropic", [(messages("hi"), session)])
    [home] = team.accounts()
    team.upstream.play(empty("anthropic"))
    send(team, "anthropic", [(messages("hi", "hello", "again"), session)] * 2)
    [other] = {"back-one", "back-two"} - {home}
    assert team.accounts() == [home, home, other, home]


def test_an_edited_weight_or_email_forgets_no_quota(team: Team) -> None:
    weights = {"kept-one": 1.0, "kept-two": 1.0}
    team.use("anthropic", weights, "affinity")
    session = {"x-claude-code-session-id": "the one"}
    team.upstream.play(error("anthropic", 429, "Limit reached.", {"retry-after": "3600"}))
    send(team, "anthropic", [(messages("hi"), session)])
    [home, other] = team.accounts()
    # Ten times the weight would be reason enough to go back.
    team.use("anthropic", {**weights, home: 10.0}, "affinity", email="new@accounts.example")
    send(team, "anthropic", [(messages("hi", "hello", "again"), session)])
    assert team.accounts() == [home, other, other]


def test_least_used_gives_a_new_account_its_share_and_not_everything(team: Team) -> None:
    team.use("anthropic", {"old-one": 1, "old-two": 1}, "least_used")
    send(team, "anthropic", [(messages("hi"), {})] * 10)
    team.use("anthropic", {"old-one": 1, "old-two": 1, "new-one": 1}, "least_used")
    team.upstream.reset()
    send(team, "anthropic", [(messages("hi"), {})] * 15)
    assert Counter(team.accounts()) == {"old-one": 5, "old-two": 5, "new-one": 5}


@pytest.mark.parametrize("strategy", ["round_robin", "least_used"])
def test_accounts_take_turns_by_weight_whatever_the_session(team: Team, strategy: str) -> None:
    team.use("anthropic", {f"{strategy}-heavy": 3, f"{strategy}-light": 1}, strategy)
    send(team, "anthropic", [(messages("hi"), {"x-claude-code-session-id": "one"})] * 20)
    got = team.accounts()
    assert Counter(got) == {f"{strategy}-heavy": 15, f"{strategy}-light": 5}
    # Not fifteen of one and then five of the other.
    assert all(f"{strategy}-light" in got[start : start + 5] for start in range(0, 16, 5))
