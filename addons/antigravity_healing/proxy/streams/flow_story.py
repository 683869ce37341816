"""What a flow tells of itself: the story that exchanges and attempts leave in its metadata."""

from collections.abc import Mapping
from typing import Any

from mitmproxy import flow, http

from antigravity_healing.policy.journal.written import TAGS, exchange_story, tags
from antigravity_healing.policy.judging.failures import counted, one_line, shortened
from antigravity_healing.proxy.guarding.refusals import Refusal, facts_of
from antigravity_healing.wire.errors.parsing import parse_error
from antigravity_healing.wire.http.encoding import readable

METADATA = "antigravity"
"""The key under which both an exchange's and an attempt's flow carry what was done."""

_MOST_READ_BYTES = 128 * 1024 * 1024


def story_of(about: flow.Flow) -> Mapping[str, Any]:
    """The story, {} for a flow that is none of ours."""
    story = about.metadata.get(METADATA)
    return story if isinstance(story, dict) else {}


def tell(about: flow.Flow, comment: str, mark: str = "") -> None:
    """Say in a flow list what became of a flow: in its comment, by a mark, and in what people filter by."""
    about.comment, about.marked = comment, mark
    about.metadata[TAGS] = tags(story_of(about))


def tell_refusal(about: flow.Flow, refusal: Refusal, at: float) -> None:
    """Say that a flow was refused, and why. at: when, in seconds since 1970."""
    facts, end = facts_of(refusal, at)
    story = about.metadata.get(METADATA)
    # An exchange that has ended has told what became of it.
    if isinstance(story, dict) and "outcome" not in story:
        story.update(exchange_story(facts, end), attempts=[])
    tell(about, f"refused: {refusal.status} · {refusal.why}", about.marked)


def role_of(about: flow.Flow) -> str:
    """`exchange`, `attempt`, or "" for a flow that is none of ours."""
    return str(story_of(about).get("role", ""))


def name_of(about: http.HTTPFlow) -> str:
    """What an exchange or an attempt is called in a line: the exchange's id, then the model or the attempt."""
    story = story_of(about)
    if role_of(about) == "attempt":
        what = f"attempt {story.get('attempt')} on {story.get('account')}"
    else:
        what = str(story.get("model") or f"{about.request.method} {about.request.path.partition('?')[0]}")
    what = shortened(what)
    return one_line(f"[{story['exchange']}] {what}" if "exchange" in story else what)


def outcome_of(story: Mapping[str, Any], response: http.Response | None) -> str:
    """What became of an exchange, in a few words: `clean`, `healed (2 attempts)`, `failed (429 …)`."""
    attempts = story.get("attempts") or []
    match story.get("outcome"):
        case "clean":
            return "clean"
        case "healed":
            return f"healed ({counted(len(attempts), 'attempt')})"
        case "client_left":
            return "the client left"
        case None if response is None:
            return "no answer"
        case None if response is not None and response.status_code < 400:
            return f"answered ({response.status_code})"
    reason = _last_failure(attempts) or _answered(response)
    tried = f", {counted(len(attempts), 'attempt')}" if len(attempts) > 1 else ""
    return f"failed ({shortened(reason)}{tried})"


def _last_failure(attempts: list[dict[str, Any]]) -> str:
    return next((str(attempt["detail"]) for attempt in reversed(attempts) if attempt.get("detail")), "")


def _answered(response: http.Response | None) -> str:
    if response is None:
        return "no answer"
    summary = parse_error(body_of(response)).summary
    return f"{response.status_code} {summary}".strip()


def body_of(message: http.Message) -> bytes:
    """What a request or a response says; as it came where it does not decode to anything of a bearable length."""
    return readable(message.raw_content or b"", message.headers.get("content-encoding", ""), _MOST_READ_BYTES)
