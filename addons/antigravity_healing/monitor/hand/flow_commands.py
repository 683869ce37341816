"""Commands for the command bars of mitmweb and mitmproxy: replay, compare, and look into what has been captured."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from mitmproxy import command, ctx, exceptions, flow, http, types
from mitmproxy.addons.view import View

from antigravity_healing.monitor.captures.capture import Capture
from antigravity_healing.monitor.captures.files import CapturedFiles
from antigravity_healing.monitor.captures.replays import Replays, tell
from antigravity_healing.monitor.hand.differences import differences, exchange_with, flows_at_hand
from antigravity_healing.policy.judging.failures import counted, steady
from antigravity_healing.policy.settings.schema import Config
from antigravity_healing.proxy.addon import Antigravity
from antigravity_healing.proxy.replaying.attempt import NotReplayedError, sender_of
from antigravity_healing.proxy.streams.flow_story import name_of, outcome_of, role_of, story_of

ALL = "all"


class Commands:
    """The commands. What they find out is what they return, and it is told in the log as well."""

    def __init__(self, antigravity: Antigravity, capture: Capture, replays: Replays) -> None:
        self._antigravity = antigravity
        self._capture = capture
        self._replays = replays

    @command.command("antigravity.replay")
    def replay(self, flows: Sequence[flow.Flow]) -> Sequence[str]:
        """Send these exchanges again, through the configuration as it is now, and say whether they work now."""
        exchanges, problems = self._exchanges_of(flows)
        if not exchanges:
            raise exceptions.CommandError("; ".join(problems) or "there is no flow like that")
        self._replays.start(exchanges)
        lines = [
            f"{name_of(exchange)}: being replayed; the log will say whether it works now" for exchange in exchanges
        ]
        return [*lines, *problems]

    @command.command("antigravity.replay.attempt")
    def replay_attempt(self, flows: Sequence[flow.Flow]) -> Sequence[str]:
        """Send these attempts again exactly as they were sent, each with its account's credential put on anew."""
        attempts: list[http.HTTPFlow] = []
        for one in flows:
            if not isinstance(one, http.HTTPFlow):
                raise exceptions.CommandError("only HTTP flows can be replayed")
            try:
                sender_of(one, self._settings())
            except NotReplayedError as error:
                raise exceptions.CommandError(f"{name_of(one)}: {error}") from None
            if one.live:
                raise exceptions.CommandError(f"{name_of(one)}: it is still running")
            attempts.append(one)
        if not attempts:
            raise exceptions.CommandError("there is no flow like that")
        self._replays.start(attempts)
        return [f"{name_of(attempt)}: being sent again; the log will say what came of it" for attempt in attempts]

    @command.command("antigravity.diff")
    def diff(self, flows: Sequence[flow.Flow]) -> Sequence[str]:
        """Tell what changed from the client's request to each attempt, and from attempt to attempt."""
        wanted = dict.fromkeys(str(story_of(one)["exchange"]) for one in flows if "exchange" in story_of(one))
        if not wanted:
            raise exceptions.CommandError("neither an exchange nor an attempt of antigravity is among these flows")
        at_hand = list(flows_at_hand(flows))
        return tell_lines(line for exchange in wanted for line in differences(exchange, at_hand))

    @command.command("antigravity.signatures")
    def signatures(self, flows: Sequence[flow.Flow]) -> Sequence[str]:
        """Tell what the conversations of these flows got signed lately, and when. Signatures are not shown."""
        keys = dict.fromkeys(str(story["conversation"]) for one in flows if "conversation" in (story := story_of(one)))
        governor = self._antigravity.governor
        if not keys or governor is None or governor.signatures is None:
            raise exceptions.CommandError("no exchange of antigravity is among these flows")
        lines = [
            f"{datetime.fromtimestamp(minted.at):%Y-%m-%d %H:%M:%S} {minted.what} of {minted.model} on {minted.account}"
            for key in keys
            for minted in governor.signatures.conversation(key, governor.clock.wall())
        ]
        lines = lines or ["nothing signed is known of it"]
        for line in lines:
            tell(line)
        return lines

    @command.command("antigravity.capture.list")
    def capture_list(self) -> Sequence[str]:
        """List the captured exchanges, by their files: when, which, and why they failed."""
        captures = self._capture.captures()
        lines = [line for name in captures.names() for line in _listed(captures, name)]
        return tell_lines(lines or [f"nothing has been captured in {captures.folder}"])

    @command.command("antigravity.capture.names")
    def capture_names(self) -> Sequence[str]:
        """What `antigravity.capture.load` can load: "all", a day, or the name of a file."""
        names = self._capture.captures().names()
        return [ALL, *(name.removesuffix(".flow") for name in names), *names]

    @command.command("antigravity.capture.load")
    @command.argument("what", type=types.Choice("antigravity.capture.names"))
    def capture_load(self, what: str) -> Sequence[str]:
        """Load captured exchanges into the list of flows: those of a day, of a file, or "all"."""
        view = ctx.master.addons.get("view")
        if view is None:
            raise exceptions.CommandError(
                "mitmdump has no list of flows: use mitmweb or mitmproxy, or replay with -C FILE"
            )
        captures = self._capture.captures()
        if what not in self.capture_names():
            raise exceptions.CommandError(f"there is no captured {what}: see antigravity.capture.list")
        names = [name for name in captures.names() if what in (ALL, name, name.removesuffix(".flow"))]
        lines = [_load(captures, name, view) for name in names]
        return tell_lines(lines or [f"nothing has been captured in {captures.folder}"])

    def _settings(self) -> Config:
        governor = self._antigravity.governor
        if governor is None:
            raise exceptions.CommandError("there is no configuration that can be used")
        return governor.config

    def _exchanges_of(self, flows: Sequence[flow.Flow]) -> tuple[list[http.HTTPFlow], list[str]]:
        """The flows that can be replayed in place of these, once each; and what stands in the way of the others."""
        found: dict[str, http.HTTPFlow] = {}
        problems: list[str] = []
        for one in flows:
            exchange = self._exchange_of(one)
            if isinstance(exchange, str):
                problems.append(exchange)
            elif exchange.live:
                problems.append(f"{name_of(exchange)}: it is still running")
            else:
                found[exchange.id] = exchange
        return list(found.values()), list(dict.fromkeys(problems))

    def _exchange_of(self, one: flow.Flow) -> http.HTTPFlow | str:
        governor = self._antigravity.governor
        if not isinstance(one, http.HTTPFlow) or governor is None:
            return "only HTTP flows can be replayed"
        if role_of(one) == "exchange" or (not role_of(one) and governor.claiming.serves(one.request)):
            return one
        if role_of(one) != "attempt":
            return f"{name_of(one)}: this is not for an API that antigravity heals; replay.client replays it as it is"
        exchange = exchange_with(str(story_of(one).get("exchange")), flows_at_hand([one]))
        return exchange or (
            f"{name_of(one)}: its exchange's own flow is not in the list of flows: load the file that has it, or send "
            "this attempt again by antigravity.replay.attempt"
        )


def tell_lines(lines: Iterable[str]) -> list[str]:
    """Tell these lines, and give them. Some of what is in them comes from files: it must not steer a terminal."""
    safe = list(map(steady, lines))
    for line in safe:
        tell(line)
    return safe


def _listed(captures: CapturedFiles, name: str) -> Iterator[str]:
    """The lines about one file."""
    flows = _read(captures, name)
    exchanges = [one for one in flows if role_of(one) != "attempt"]
    yield f"{name}: {counted(len(exchanges), 'exchange')}, {counted(len(flows) - len(exchanges), 'attempt')}"
    for one in exchanges:
        at = datetime.fromtimestamp(one.request.timestamp_start).strftime("%H:%M:%S")
        dialect = story_of(one).get("dialect", "unknown dialect")
        times = story_of(one).get("times", 1)
        again = f", {times} times within a minute" if times > 1 else ""
        yield f"    {at} {name_of(one)} ({dialect}): {outcome_of(story_of(one), one.response)}{again}"


def _load(captures: CapturedFiles, name: str, view: View) -> str:
    flows = _read(captures, name)
    new = [one for one in flows if view.get_by_id(one.id) is None]
    view.add(new)
    there = len(flows) - len(new)
    return f"{name}: {counted(len(new), 'flow')} loaded" + (f", {there} there already" if there else "")


def _read(captures: CapturedFiles, name: str) -> list[http.HTTPFlow]:
    try:
        return captures.read(name)
    except OSError as error:
        raise exceptions.CommandError(f"{captures.folder / name} can't be read: {error.strerror}") from None
