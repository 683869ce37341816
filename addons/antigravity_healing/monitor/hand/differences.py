"""What changed in the requests of an exchange: from the client's to each attempt, and from attempt to attempt."""

from collections.abc import Iterable, Iterator, Sequence

from mitmproxy import ctx, flow, http

from antigravity_healing.monitor.hand.diff import Sent, request_changes
from antigravity_healing.policy.judging.failures import shortened
from antigravity_healing.proxy.internals.flow_backup import before_replay
from antigravity_healing.proxy.streams.flow_story import body_of, role_of, story_of


def flows_at_hand(flows: Sequence[flow.Flow]) -> Iterator[http.HTTPFlow]:
    """These flows, and all others that mitmproxy shows; mitmdump keeps none."""
    in_view = ctx.master.commands.call("view.flows.resolve", "@all") if ctx.master.addons.get("view") else []
    known = {one.id: one for one in (*flows, *in_view) if isinstance(one, http.HTTPFlow)}
    yield from known.values()


def exchange_with(exchange: str, flows: Iterable[http.HTTPFlow]) -> http.HTTPFlow | None:
    """The client's flow of an exchange: one that has been replayed since was another exchange before."""
    earlier = None
    for one in flows:
        if role_of(one) == "exchange" and story_of(one).get("exchange") == exchange:
            return one
        if earlier is None and role_of(one) == "exchange" and (recorded := before_replay(one)) is not None:
            earlier = one if story_of(recorded).get("exchange") == exchange else None
    return earlier


def differences(exchange: str, at_hand: list[http.HTTPFlow]) -> Iterator[str]:
    """What changed in the course of one exchange, a heading before each pair of requests."""
    client = exchange_with(exchange, at_hand)
    flows = {int(story_of(one).get("attempt", 0)): one for one in reversed(at_hand) if _is_attempt_of(exchange, one)}
    listed = story_of(client).get("attempts", []) if client and story_of(client).get("exchange") == exchange else []
    stories = {number: dict(story) for number, story in enumerate(listed, 1)}
    stories.update((number, dict(story_of(one))) for number, one in flows.items())
    if client is None:
        yield f"[{exchange}] the client's own flow is not in the list of flows"
    for number, story in sorted(stories.items()):
        attempt = flows.get(number)
        heading = f"attempt {number} on {story.get('account')} ({_came_of(story)})"
        if attempt is None:
            yield f"[{exchange}] {heading}: model {story.get('mapped_model')}; its flow is not in the list of flows"
            continue
        befores = (("the client's request", client), (f"attempt {number - 1}", flows.get(number - 1)))
        for before, earlier in befores:
            if earlier is not None:
                yield f"[{exchange}] {before} → {heading}"
                yield from (f"    {line}" for line in _lines_between(earlier, attempt))


def _lines_between(before: http.HTTPFlow, after: http.HTTPFlow) -> list[str]:
    lines = request_changes(_sent(before), _sent(after))
    model, mapped = story_of(before).get("model"), story_of(after).get("mapped_model")
    if model and mapped and model != mapped and not any(line.startswith("model: ") for line in lines):
        lines.insert(0, f"model: {model} → {mapped}")
    return lines or ["nothing changed"]


def _sent(one: http.HTTPFlow) -> Sent:
    request = one.request
    origin = f"{request.scheme}://{request.host}:{request.port}"
    return Sent(request.method, origin, request.path, request.headers.fields, body_of(request))


def _is_attempt_of(exchange: str, one: http.HTTPFlow) -> bool:
    return role_of(one) == "attempt" and story_of(one).get("exchange") == exchange


def _came_of(story: dict[str, object]) -> str:
    return shortened(str(story.get("detail") or story.get("status") or "no answer"))
