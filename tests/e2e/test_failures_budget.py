"""The budget of the whole process: when everything fails for everybody, retries must not double the storm."""

from pathlib import Path

from tests.e2e.conftest import Lane
from tests.e2e.failures import answer, ask, empty
from tests.e2e.harness import Proxy, account, upstream
from tests.upstream import Upstream

REQUESTS = 20


def test_retries_are_at_most_half_of_the_requests_and_what_is_spare(tmp_path: Path) -> None:
    config = "[retry]\nspare_retries = 5\n"
    with Upstream() as server:
        for place in ("first", "second"):
            config += account(place, "gemini")
        config += upstream("gemini", "gemini", server.url)
        with Proxy(tmp_path, config) as proxy:
            lane = Lane(proxy, server, "gemini", "a-model", ("first", "second"))
            server.default = empty(lane, stream=False)
            for _ in range(REQUESTS):
                asked = ask(lane, stream=False)
                # Without a retry left, upstream's own answer is what the client gets.
                assert asked.status == 200
                assert asked.body == empty(lane, stream=False).whole
            retries = len(lane.calls) - REQUESTS
            assert REQUESTS // 4 <= retries <= REQUESTS // 2 + 5
            # A stream is not held when nothing could be done for it, and the next good answer is served as ever.
            served = ask(lane, answer(lane, "healthy again"))
            assert served.report().text == "healthy again"
