"""The log in words: what each step of an exchange is called in its lines."""

from antigravity_healing.policy.journal.records import AttemptFacts, Finding, Record
from antigravity_healing.policy.judging.failures import FailureClass, one_line
from antigravity_healing.wire.dialects import DIALECTS

LONGEST_LINE = 2000
"""Characters. Clients and upstreams have their words in it."""


def line_of(record: Record) -> str:
    """One line for a record. It has the words that users of older proxies search for, where the thing happened.

    A client names its model as it likes: nothing in it can break the line.
    """
    line = one_line(_text_of(record))
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"


def _text_of(record: Record) -> str:
    attempt, facts = record.attempt, record.exchange
    head = f"[{facts.exchange}]"
    on = f"attempt {attempt.attempt} on {attempt.account}" if attempt else ""
    detail = attempt.detail if attempt and attempt.failure else record.text
    match record.step:
        case "received":
            return f"{head} {DIALECTS[facts.dialect].label}: {record.text}"
        case "refused":
            return f"{head} refused: {record.text}"
        case "attempt" if attempt:
            return f"{head} {on}: {attempt.mapped_model or 'no model'} at {record.text}"
        case "retry" if attempt:
            after = f" in {record.wait_s:.1f} s" if record.wait_s else ""
            return f"{head} {on}: {_words(facts.dialect, attempt)} {record.text}{after}"
        case "repair":
            return f"{head} {on}: Unexpected thinking signature error: {detail}. {record.text} ({record.wait_s:.1f} s)"
        case "wait":
            return f"{head} {record.text}; waiting {record.wait_s:.1f} s"
        case "hold":
            return f"{head} {on}: {record.text}; keeping the client waiting with keep-alives"
        case "commit":
            return f"{head} {on}: the answer begins{f' ({record.text})' if record.text else ''}"
        case "continued":
            return f"{head} {on}: upstream has more to say; going on with its token"
        case "attempt_over" if attempt:
            return f"{head} {on}: {_measured(attempt)}"
        case "delivered":
            return f"{head} {on}: delivered, {record.text}"
        case "gave_up":
            kind = f" ({attempt.failure})" if attempt and attempt.failure else ""
            why = f" ({record.text})" if kind and record.text else ""
            return f"{head} {on + ': ' if on else ''}{detail}{kind}; no other try, the client gets this{why}"
        case "broke":
            return f"{head} {on}: {detail}; the client has been told"
        case "over" if record.end:
            return f"{head} {record.end.outcome}: {told(record.end.finding)}"
        case _:
            return f"{head} {on + ': ' if on else ''}the client left"


def told(finding: Finding) -> str:
    """A finding in one line."""
    parts = (finding.what, finding.done, f"to do: {finding.do}" if finding.do else "")
    return "; ".join(part for part in parts if part)


def _measured(attempt: AttemptFacts) -> str:
    """What came of it, in figures."""
    told = [f"over after {attempt.over_s or 0:.2f} s", f"{attempt.bytes:,} bytes"]
    if attempt.status is not None:
        told.insert(0, f"status {attempt.status}")
    if attempt.first_content_s is not None:
        told.append(f"first content after {attempt.first_content_s:.2f} s")
    if (usage := attempt.usage) is not None:
        told.append(f"{usage.input:,} tokens in ({usage.cache_read:,} from the cache), {usage.output:,} out")
    return ", ".join(told) + (f": {attempt.verdict}" if attempt.verdict else "")


def _words(dialect: str, attempt: AttemptFacts) -> str:
    if attempt.failure is FailureClass.EMPTY and not attempt.detail.startswith("Stream"):
        known = DIALECTS[dialect]
        if known.logged_empty:
            return f"[{known.label}] {known.logged_empty}, retrying... {attempt.detail};"
    return f"{attempt.detail} ({attempt.failure}), retrying..."
