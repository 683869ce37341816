"""Replaying: what mitmproxy replays of ours is healed, and what has come of it is told."""

import asyncio
import logging
import sys
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.addonmanager import Loader
from mitmproxy.log import ALERT

from antigravity_healing.policy.judging.failures import counted, shortened
from antigravity_healing.proxy.addon import Antigravity
from antigravity_healing.proxy.claiming.governor import Governor
from antigravity_healing.proxy.internals.flow_backup import before_replay
from antigravity_healing.proxy.replaying.attempt import NotReplayedError, replay_attempt
from antigravity_healing.proxy.replaying.exchange import keep_as_recorded, replay
from antigravity_healing.proxy.replaying.mitmproxy_addons import HealingServerPlayback, PatientKeepServing
from antigravity_healing.proxy.streams.flow_story import METADATA, name_of, outcome_of, role_of, story_of

logger = logging.getLogger(__name__)

TELL_AFTER_S = 0.05
_OF_THE_FIRST_TIME = ("time_to_first_byte_s", "time_to_first_content_s", "duration_s", "bytes", "verdict")


def tell(line: str) -> None:
    """Tell a person what came of a command: in the log, and in the console's status line.

    mitmweb's event log has no place for alerts: there it is said as all else is.
    """
    logger.log(logging.INFO if ctx.master.addons.get("webaddon") else ALERT, "%s", line)


class Replays:
    """Heals what is replayed, tells before and after, and lets mitmdump's exit status say whether all now succeeds."""

    def __init__(self, antigravity: Antigravity) -> None:
        self._antigravity = antigravity
        self._attempts: set[str] = set()
        self._begun = self._succeeded = self._failed = 0
        self._untold: list[str] = []

    def load(self, loader: Loader) -> None:
        """Teach those of mitmproxy's own addons that have to know exchanges and attempts apart."""
        if playback := ctx.master.addons.get("serverplayback"):
            HealingServerPlayback.adopt(playback)
        if keepserving := ctx.master.addons.get("keepserving"):
            PatientKeepServing.adopt(keepserving, self._is_under_way)

    def start(self, flows: Sequence[http.HTTPFlow]) -> None:
        """Replay these: exchanges healed, attempts exactly as they were sent."""
        ctx.master.commands.call("replay.client", flows)
        # What mitmproxy has refused still has its response, and is not to be sent by the next press of the button.
        self._attempts.update(one.id for one in flows if role_of(one) == "attempt" and one.response is None)

    def request(self, flow: http.HTTPFlow) -> Awaitable[None] | None:
        """A request is replayed: heal it like one that a client sends."""
        governor = self._antigravity.governor
        if flow.is_replay != "request" or governor is None or flow.response is not None:
            return None
        if role_of(flow) == "attempt":
            if flow.id in self._attempts:
                self._attempts.discard(flow.id)
                return self._replay_attempt(flow, governor)
            logger.info(
                "%s %s is an attempt: not replayed by itself", flow.request.method, shortened(flow.request.path)
            )
            keep_as_recorded(flow)
        elif role_of(flow) == "exchange" or governor.claiming.serves(flow.request):
            return self._replay(flow, governor)
        return None

    def done(self) -> None:
        """mitmproxy ends. After `-C`, mitmdump's exit status says whether all that was replayed succeeded."""
        self._tell_all()
        in_script = ctx.options.client_replay and ctx.master.addons.get("keepserving")
        if not in_script or not ctx.master.should_exit.is_set():
            return
        unfinished = self._begun - self._succeeded - self._failed
        more = f", {unfinished} not finished" if unfinished else ""
        tell(f"{counted(self._begun, 'exchange')} replayed: {self._succeeded} succeeded, {self._failed} failed{more}")
        if self._failed or unfinished or ctx.master.commands.call("replay.client.count"):
            # Not here and now: all other addons have to end as well, and this is mitmproxy's main task.
            task = asyncio.current_task()
            assert task is not None
            task.add_done_callback(lambda _: sys.exit(1))

    async def _replay(self, flow: http.HTTPFlow, governor: Governor) -> None:
        self._begun += 1
        recorded = before_replay(flow)
        name, before = name_of(flow), outcome_of(story_of(flow), recorded.response if recorded else None)
        await replay(flow, governor)
        story = story_of(flow)
        if _served(story, flow.response):
            self._succeeded += 1
        else:
            self._failed += 1
        name = name if name.startswith("[") else name_of(flow)
        self._tell_later(f"{name}: {before} → {outcome_of(story, flow.response)}")

    async def _replay_attempt(self, flow: http.HTTPFlow, governor: Governor) -> None:
        story = dict(story_of(flow))
        before = _attempt_outcome(story)
        try:
            failure = await replay_attempt(flow, governor)
        except NotReplayedError as error:
            self._tell_later(f"{name_of(flow)}: not replayed: {error}")
            keep_as_recorded(flow)
            return
        assert flow.response is not None
        for name in _OF_THE_FIRST_TIME:
            story.pop(name, None)
        story.update(
            status=flow.response.status_code,
            failure=str(failure.kind) if failure else None,
            detail=failure.detail if failure else None,
            replayed=True,
        )
        flow.metadata[METADATA] = story
        self._tell_later(f"{name_of(flow)}: {before} → {_attempt_outcome(story)}")

    def _is_under_way(self) -> bool:
        """Whether a replay runs, or what came of one has not been told yet."""
        return bool(self._untold or ctx.master.addons.get("clientplayback").replay_tasks)

    def _tell_later(self, line: str) -> None:
        """Tell what came of a replay, after its steps: the log writes those a moment later too."""
        self._untold.append(line)
        asyncio.get_running_loop().call_later(TELL_AFTER_S, self._tell_all)

    def _tell_all(self) -> None:
        untold, self._untold = self._untold, []
        for line in untold:
            tell(line)


def _served(story: Mapping[str, Any], response: http.Response | None) -> bool:
    """Whether an exchange ended well; one that the proxy answered by itself has no outcome of its own."""
    if "outcome" in story:
        return story["outcome"] in ("clean", "healed")
    return response is not None and response.status_code < 400


def _attempt_outcome(story: Mapping[str, Any]) -> str:
    if story.get("detail"):
        return f"failed ({shortened(str(story['detail']))})"
    return f"answered ({story['status']})" if story.get("status") else "no answer"
