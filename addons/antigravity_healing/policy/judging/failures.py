"""Why an attempt did not serve: an outcome becomes a failure class.

What an outcome means is read from the parsed error first (codes, reasons, text, at any depth) and from the status
second: an invalid key comes as 400, a signature error as 429, an overload inside a 200.
"""

import errno
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from antigravity_healing.policy.judging.upstream_hints import (
    header_wait_s,
    input_tokens,
    rejected_plan,
    until_pacific_midnight_s,
    upstreams_clock_s,
)
from antigravity_healing.policy.settings.schema import Limits
from antigravity_healing.wire.errors.parsing import UpstreamError
from antigravity_healing.wire.errors.signature_refusals import Position, SignatureFault, named_position
from antigravity_healing.wire.http.headers import Headers


class FailureClass(StrEnum):
    """The classes of failures; what each leads to stands in `antigravity_healing.policy.exchange.retry_table`."""

    SIGNATURE = "signature"
    LOCAL = "local"
    TRANSPORT = "transport"
    TRANSIENT = "transient"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    BILLING = "billing"
    AUTH = "auth"
    FORBIDDEN = "forbidden"
    NOT_THEIRS = "not_theirs"
    NO_MODEL = "no_model"
    EMPTY = "empty"
    STALLED = "stalled"
    CUT = "cut"
    MALFORMED = "malformed"
    CALLER = "caller"


def steady(text: str) -> str:
    """The text with whatever is not printable, and could steer a terminal, as spaces; its own spaces stay."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def one_line(text: str) -> str:
    """The text with whatever is not printable, line ends above all, as single spaces."""
    return " ".join(steady(text).split())


def counted(number: int, noun: str) -> str:
    """So many of these, in words."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shortened(text: str, longest: int = 160) -> str:
    """The text as one line of at most so many characters."""
    line = one_line(text[: 4 * longest])
    return line if len(line) <= longest and len(text) <= 4 * longest else line[: longest - 1] + "…"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not serve.

    kind: the failure class.
    detail: one line for people; holds no secret.
    status: the HTTP status that tells this to a client when upstream's own answer can't.
    wait_s: seconds to wait as upstream says, None where it doesn't.
    whole_account: whether a quota is the account's own and not one model's.
    quota_named: whether upstream named the quota that the wait is about: those last for days.
    again: whether another try may end otherwise.
    stay: whether the next try belongs on the same account although others may be free.
    most_waits: how often it is worth waiting for its end, None: as long as there is time.
    blameless: whether it says nothing of the account, however often it comes.
    input_tokens: how many input tokens upstream takes at most in a while, where more than that was asked.
    fault: what is wrong with the request's signatures, for the signature class.
    position: the block of the request that upstream named, None where it named none.
    """

    kind: FailureClass
    detail: str
    status: int = 502
    wait_s: float | None = None
    whole_account: bool = False
    quota_named: bool = False
    again: bool = True
    stay: bool = False
    most_waits: int | None = None
    blameless: bool = False
    input_tokens: int | None = None
    fault: SignatureFault | None = None
    position: Position | None = None

    def __post_init__(self) -> None:
        # Much of it is what an upstream said: nothing in it may break a log line or steer a terminal.
        object.__setattr__(self, "detail", one_line(self.detail))


_AUTH_REASONS = {"API_KEY_INVALID", "API_KEY_EXPIRED", "ACCESS_TOKEN_EXPIRED", "CREDENTIALS_MISSING"}
_BAD_KEY = ("api key not valid", "api key expired")
_SPEND_LIMITS = {"enforced_spend_limit_reached", "contract_spend_limit_reached"}
_NO_LIMIT = re.compile(r"\blimit: 0(?!\d|\.\d)")
_LONG_WORD = re.compile(r"[A-Za-z0-9+/_=-]{40,}")
_NO_CREDIT = "credit balance is too low"
# More credit than the account has is needed for this model, or for how it is asked; for others it may have enough.
_MODEL_CREDIT = "credits_required"
# What a project of Vertex AI is told whose owner has not enabled the model.
_NOT_ALLOWED_MODEL = "is not allowed to use publisher model"
_TOO_LARGE = re.compile(r"\brequest too large\b")
# Things that lie with one account, as refusals call them, and the ids of some.
_THING_ID = (
    r"\b(?:(?:file|msgbatch|container|skill)_[a-z0-9]{8,}|(?:files|cachedcontents|batches|filesearchstores)/[\w-]+)"
)
_THING = (
    rf"(?:{_THING_ID}|\b(?:files?|cached ?contents?|batch(?:es)?|containers?|skills?|corpus|interactions?"
    r"|search ?stores?|specified resource)\b)"
)
_GONE = (
    r"(?:not found|not exist|could not be found|no (?:such|access)|not have (?:permission|access)|not accessible"
    r"|permission denied)"
)
_ABOUT_A_THING = re.compile(rf"{_THING}[^\n]{{0,200}}{_GONE}|{_GONE}[^\n]{{0,200}}{_THING}")
_ABOUT_THIS_THING = re.compile(rf"{_THING_ID}[^\n]{{0,200}}{_GONE}|{_GONE}[^\n]{{0,200}}{_THING_ID}")
_ABOUT_AN_ACCOUNT = re.compile(
    r"\b(?:api[_ -]?keys?|keys?|accounts?|organi[sz]ations?|projects?|workspaces?|consumer|credentials?|tokens?|oauth"
    r"|billing|subscription|suspended|disabled|blocked)\b"
)
# What this machine has run out of, or lacks, when a connection can't be made.
_LOCAL_ERRNOS = frozenset(
    number
    for name in ("EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ENETDOWN", "ENETUNREACH", "EADDRNOTAVAIL", "EAGAIN")
    if (number := getattr(errno, name, None)) is not None
) | frozenset(
    number for name in ("EAI_AGAIN", "EAI_SYSTEM", "EAI_MEMORY") if (number := getattr(socket, name, None)) is not None
)
_OS_ERRORS = re.compile(r"(?:Multiple exceptions: )?\[Errno -?\d+\]")
_ERRNO = re.compile(r"\[Errno (-?\d+)\]")


def classify(status: int | None, headers: Headers, error: UpstreamError, *, grace_s: float, wall_s: float) -> Failure:
    """The failure that an error answer means.

    status: of the response; None for an error inside a stream.
    grace_s: up to this many seconds a rate limit is waited for where it was met.
    wall_s: now, in seconds since 1970, for hints that are dates. The answer's own date goes before it.
    """
    wall_s = upstreams_clock_s(headers, wall_s)
    meant = error.status or status
    if status is not None and 400 <= status < 500 and error.vague:
        meant = status
    detail = _detail(status, error)
    text = error.text.casefold()
    status_shown = status if status is not None and status >= 400 else meant or 502

    def failure(kind: FailureClass, wait_s: float | None = None) -> Failure:
        return Failure(kind, detail, status_shown, wait_s)

    if fault := error.signature_fault:
        # Google quotes what it can't decode, and that is somebody's signature.
        detail = _LONG_WORD.sub("[signature]", detail)
        return Failure(FailureClass.SIGNATURE, detail, status_shown, fault=fault, position=named_position(error.text))
    if _AUTH_REASONS.intersection(error.reasons) or any(words in text for words in _BAD_KEY):
        return failure(FailureClass.AUTH)
    if _MODEL_CREDIT in error.reasons:
        return failure(FailureClass.QUOTA, header_wait_s(headers, wall_s) or error.delay_s)
    if status == 402 or meant == 402 or _SPEND_LIMITS.intersection(error.reasons) or _NO_CREDIT in text:
        return failure(FailureClass.BILLING)
    match meant:
        case 429:
            return _limited(headers, error, detail, status_shown, grace_s, wall_s)
        case 503 | 529:
            return failure(FailureClass.OVERLOADED, header_wait_s(headers, wall_s) or error.delay_s)
        case 401:
            return failure(FailureClass.AUTH)
        case 400 if _NOT_ALLOWED_MODEL in text:
            return failure(FailureClass.NO_MODEL)
        case 400 if _ABOUT_THIS_THING.search(text):
            return replace(failure(FailureClass.NOT_THEIRS), blameless=True)
        case 403 | 404 if not error.reasons and _ABOUT_A_THING.search(text):
            return replace(failure(FailureClass.NOT_THEIRS), blameless=True)
        case 403:
            of_account = error.reasons or _ABOUT_AN_ACCOUNT.search(text)
            return failure(FailureClass.FORBIDDEN if of_account else FailureClass.NOT_THEIRS)
        case 404 if "model" in text:
            return failure(FailureClass.NO_MODEL)
        case 408 | 499 | None:
            return failure(FailureClass.TRANSIENT)
        case code if code >= 500 and code != 501:
            return failure(FailureClass.TRANSIENT)
    return failure(FailureClass.CALLER)


NEVER_RESOLVED = "and never has been since the start"
"""How words of a connection end that could not be made as nobody knows its name, and nobody has known it so far."""
_MOST_WAITS_FOR_A_NAME = 3


def connection_failure(why: str, host: str = "", setting: str = "") -> Failure:
    """The failure that a connection which could not be made, or ended before an answer, means. why: in words.

    host: the upstream's. setting: where a person has written that, "" where nobody has.
    """
    if setting and host in why and why.endswith(NEVER_RESOLVED):
        # Most likely it is misspelt.
        told = f"{why}: check the name in {setting}"
        return Failure(FailureClass.TRANSPORT, told, most_waits=_MOST_WAITS_FOR_A_NAME)
    numbers = _ERRNO.findall(why) if _OS_ERRORS.match(why) else []
    if numbers and all(int(number) in _LOCAL_ERRNOS for number in numbers):
        return Failure(FailureClass.LOCAL, f"this machine could not connect: {why}")
    return Failure(FailureClass.TRANSPORT, why)


def bounded(failure: Failure, limits: Limits) -> Failure:
    """The failure, with a wait that is no longer than what an upstream may ask for."""
    most_s = limits.quota_hint_seconds if failure.quota_named else limits.hint_seconds
    if failure.wait_s is None or failure.wait_s <= most_s:
        return failure
    return replace(failure, wait_s=most_s)


def about_things(failure: Failure) -> Failure:
    """The failure of a request that names things which lie with one account: what is not found may lie with another."""
    unsaid = failure.kind is FailureClass.NOT_THEIRS or (failure.kind is FailureClass.CALLER and failure.status == 404)
    return replace(failure, kind=FailureClass.NOT_THEIRS, blameless=True) if unsaid else failure


def outgrown(failure: Failure, tokens: Callable[[], int]) -> Failure:
    """The failure; the caller's where its request alone is more than upstream takes. tokens: gives about how many."""
    if failure.input_tokens is None or tokens() <= failure.input_tokens:
        return failure
    detail = f"{failure.detail} (the request alone is more than {failure.input_tokens} tokens)"
    return Failure(FailureClass.CALLER, detail, failure.status)


def _limited(
    headers: Headers, error: UpstreamError, detail: str, status: int, grace_s: float, wall_s: float
) -> Failure:
    if _TOO_LARGE.search(error.text.casefold()):
        return Failure(FailureClass.CALLER, detail, status)
    if rejected_plan(headers, wall_s) is not None:
        return _limited_for(headers, error, detail, status, grace_s, wall_s)
    allowed = input_tokens(headers)
    if allowed is None:
        allowed = error.input_tokens
    return replace(_limited_for(headers, error, detail, status, grace_s, wall_s), input_tokens=allowed)


def _limited_for(
    headers: Headers, error: UpstreamError, detail: str, status: int, grace_s: float, wall_s: float
) -> Failure:
    wait_s = header_wait_s(headers, wall_s)
    if wait_s is None:
        wait_s = error.delay_s
    if "ramp_limit_exceeded" in error.reasons:
        return Failure(FailureClass.RATE_LIMITED, detail, status, wait_s, stay=True)
    if _NO_LIMIT.search(error.text):
        return Failure(FailureClass.QUOTA, f"{detail} (this model is not in the account's tier)", status)
    if error.resets_s is not None:
        return Failure(FailureClass.QUOTA, detail, status, max(error.resets_s, wait_s or 0.0), quota_named=True)
    if any("PerDay" in quota for quota in error.quota_ids):
        # The RetryInfo that comes with a daily quota is short and misleading.
        return Failure(FailureClass.QUOTA, detail, status, until_pacific_midnight_s(wall_s), quota_named=True)
    if (plan := rejected_plan(headers, wall_s)) is not None:
        wait_s = plan.wait_s if plan.wait_s is not None else wait_s
        detail = f"{detail} (quota {plan.name or 'unknown'})"
        return Failure(FailureClass.QUOTA, detail, status, wait_s, plan.whole_account, quota_named=True)
    if "QUOTA_EXHAUSTED" in error.reasons:
        return Failure(FailureClass.QUOTA, detail, status, wait_s, quota_named=True)
    if wait_s is None:
        return Failure(FailureClass.RATE_LIMITED, detail, status)
    if wait_s <= grace_s:
        return Failure(FailureClass.RATE_LIMITED, detail, status, wait_s, stay=True)
    return Failure(FailureClass.QUOTA, detail, status, wait_s, quota_named=bool(error.quota_ids))


def _detail(status: int | None, error: UpstreamError) -> str:
    return " ".join(part for part in (str(status or ""), error.summary) if part) or "an error without a message"
