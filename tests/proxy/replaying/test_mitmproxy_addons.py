"""Recorded answers, where a client's request looks like its own first attempt."""

from collections.abc import Iterator

import pytest
from antigravity_healing.proxy.replaying.mitmproxy_addons import HealingServerPlayback
from antigravity_healing.proxy.streams.flow_story import METADATA, role_of
from mitmproxy import http
from mitmproxy.addons.serverplayback import ServerPlayback
from mitmproxy.test import taddons, tflow, tutils


def flow(role: str, answer: bytes | None = None) -> http.HTTPFlow:
    """Always the same request, of an exchange, an attempt, or of nobody of ours."""
    made = tflow.tflow(resp=tutils.tresp(content=answer) if answer is not None else False)
    if role:
        made.metadata[METADATA] = {"role": role}
    assert role_of(made) == role
    return made


@pytest.fixture
def playback() -> Iterator[ServerPlayback]:
    """mitmproxy's own addon, which kills what was not recorded. It has its recording before it is made ours."""
    addon = ServerPlayback()
    with taddons.context(addon) as mitmproxy:
        mitmproxy.configure(addon, server_replay_extra="kill")
        yield addon


def asked(playback: ServerPlayback, role: str) -> http.HTTPFlow:
    made = flow(role)
    playback.request(made)
    return made


def test_an_attempt_and_its_exchange_each_get_what_was_recorded_for_them(playback: ServerPlayback) -> None:
    playback.load_flows([flow("exchange", b"exchange"), flow("attempt", b"attempt")])
    HealingServerPlayback.adopt(playback)
    for role in ("attempt", "exchange"):
        got = asked(playback, role)
        assert got.response is not None
        assert got.response.content == role.encode()


def test_without_an_answer_of_its_own_a_client_is_healed_and_a_stranger_is_killed(playback: ServerPlayback) -> None:
    playback.load_flows([flow("attempt", b"attempt")])
    HealingServerPlayback.adopt(playback)
    client, stranger = asked(playback, "exchange"), asked(playback, "")
    assert client.response is None
    assert client.error is None
    assert stranger.response is None
    assert stranger.error is not None
