import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest
from antigravity_healing.wire.errors.parsing import UpstreamError, find_error, parse_error, read_error
from antigravity_healing.wire.errors.signature_refusals import SignatureFault
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.recorded import Exchange, recorded_params

steady = settings(deadline=None, derandomize=True)
INFO = "type.googleapis.com/google.rpc."


def anthropic(kind: str, message: str, **more: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "req_1"}


def google(code: int, status: str, message: str, *details: Any) -> dict[str, Any]:
    error = {"code": code, "message": message, "status": status}
    return {"error": {**error, "details": list(details)} if details else error}


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": INFO + "RetryInfo", "retryDelay": delay}


def quota_failure(quota_id: str) -> dict[str, Any]:
    return {"@type": INFO + "QuotaFailure", "violations": [{"quotaMetric": "m", "quotaId": quota_id}]}


def error_info(reason: str, **metadata: str) -> dict[str, Any]:
    return {"@type": INFO + "ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": metadata}


PER_MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
EXCEEDED = "You exceeded your current quota, please check your plan and billing details."

# Every body of the wire facts: what it is, and the status, reasons, quota ids and delay to be read from it.
BODIES: dict[str, tuple[dict[str, Any], int, tuple[str, ...], tuple[str, ...], float | None]] = {
    "overloaded": (anthropic("overloaded_error", "Overloaded"), 529, (), (), None),
    "rate": (anthropic("rate_limit_error", "This request would exceed your rate limit"), 429, (), (), None),
    "ramp": (
        anthropic("rate_limit_error", "Slow down", details={"error_code": "ramp_limit_exceeded"}),
        429,
        ("ramp_limit_exceeded",),
        (),
        None,
    ),
    "spend": (
        anthropic("rate_limit_error", "Spend", details={"error_code": "enforced_spend_limit_reached"}),
        429,
        ("enforced_spend_limit_reached",),
        (),
        None,
    ),
    "billing": (anthropic("billing_error", "Add credit"), 402, (), (), None),
    "timeout": (anthropic("timeout_error", "Timed out"), 504, (), (), None),
    "api": (anthropic("api_error", "Internal server error"), 500, (), (), None),
    "exhausted": (
        google(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."), 429, (), (), None,
    ),
    "per minute": (
        google(429, "RESOURCE_EXHAUSTED", EXCEEDED, quota_failure(PER_MINUTE), retry_info("45.837906927s")),
        429,
        (),
        (PER_MINUTE,),
        45.837906927,
    ),
    "in the text": (google(429, "RESOURCE_EXHAUSTED", f"{EXCEEDED} Please retry in 45.8s."), 429, (), (), 45.8),
    "days": (
        google(
            429,
            "RESOURCE_EXHAUSTED",
            "You have exhausted your capacity on this model.",
            error_info("QUOTA_EXHAUSTED", quotaResetDelay="108h48m20.795762633s"),
            retry_info("391609.795772632s"),
        ),
        429,
        ("QUOTA_EXHAUSTED",),
        (),
        391609.795772632,
    ),
    "days without RetryInfo": (
        google(429, "RESOURCE_EXHAUSTED", "x", error_info("QUOTA_EXHAUSTED", quotaResetDelay="108h48m20.795762633s")),
        429,
        ("QUOTA_EXHAUSTED",),
        (),
        108 * 3600 + 48 * 60 + 20.795762633,
    ),
    "unavailable": (google(503, "UNAVAILABLE", "The model is overloaded. Please try again later."), 503, (), (), None),
    "leaked": (google(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), 403, (), (), None),
    "bad key": (
        google(400, "INVALID_ARGUMENT", "API key not valid. Please pass one.", error_info("API_KEY_INVALID")),
        400,
        ("API_KEY_INVALID",),
        (),
        None,
    ),
    "no model": (google(404, "NOT_FOUND", "models/m is not found for API version v1beta"), 404, (), (), None),
    "cancelled": (google(499, "CANCELLED", "The operation was cancelled."), 499, (), (), None),
    "internal": (google(500, "INTERNAL", "An internal error has occurred."), 500, (), (), None),
    "deadline": (google(504, "DEADLINE_EXCEEDED", "Deadline expired."), 504, (), (), None),
}  # fmt: skip


def as_message(body: Any) -> Any:
    return google(400, "INVALID_ARGUMENT", json.dumps(body))


def as_message_behind_words(body: Any) -> Any:
    return google(500, "INTERNAL", "Upstream answered: " + json.dumps(body, indent=2) + " (end)")


def as_upstream_error(body: Any) -> Any:
    return {"error": {"message": "Upstream request failed", "code": 502, "upstream_error": body}}


def as_upstream_error_text(body: Any) -> Any:
    return {"error": {"message": "Upstream request failed", "upstream_error": json.dumps(body)}}


def as_array(body: Any) -> Any:
    return [body]


WRAPPINGS: dict[str, Callable[[Any], Any]] = {
    "bare": lambda body: body,
    "array": as_array,
    "message": as_message,
    "message behind words": as_message_behind_words,
    "upstream_error": as_upstream_error,
    "upstream_error as text": as_upstream_error_text,
    "message in an array": lambda body: as_array(as_message(body)),
    "array in a message": lambda body: as_message(as_array(body)),
    "message in a message": lambda body: as_message(as_message(body)),
    "upstream_error in a message": lambda body: as_message(as_upstream_error(body)),
    "message in upstream_error in an array": lambda body: as_array(as_upstream_error(as_message(body))),
    "three messages deep": lambda body: as_message(as_message(as_message(body))),
}


@pytest.mark.parametrize("name", BODIES)
def test_what_upstream_said_is_read_through_every_wrapping(name: str) -> None:
    body, status, reasons, quota_ids, delay_s = BODIES[name]
    for wrapping, wrap in WRAPPINGS.items():
        error = parse_error(json.dumps(wrap(body)).encode())
        assert error.status == status, wrapping
        assert error.reasons == reasons, wrapping
        assert error.quota_ids == quota_ids, wrapping
        assert error.delay_s == delay_s, wrapping
        assert body["error"]["message"] in error.text, wrapping
        assert not error.signature_fault, wrapping


@pytest.mark.parametrize("recorded", recorded_params(lambda exchange: exchange.status >= 400))
def test_a_recorded_error_means_its_own_status(recorded: Exchange) -> None:
    error = parse_error(recorded.response_body)
    assert error.status == recorded.status
    assert error.text
    assert not error.signature_fault


@pytest.mark.parametrize(
    "body", [b"", b"upstream connect error", b"<html>\xff</html>", b'{"error": {', b"\xef\xbb\xbf{}"]
)
def test_what_is_not_json_is_text(body: bytes) -> None:
    error = parse_error(body)
    assert error == UpstreamError(text=body.decode("utf-8", "replace"))
    assert error.status is None


@pytest.mark.parametrize("body", [b"null", b"[]", b"{}", b"0", b'"text"', b'{"error": null}', b'{"error": []}'])
def test_json_that_says_nothing_says_nothing(body: bytes) -> None:
    assert parse_error(body).status is None


def test_an_error_that_is_only_a_string_is_its_text() -> None:
    assert parse_error(b'{"error": "model is loading"}').text == "model is loading"


def test_the_summary_is_one_short_line() -> None:
    assert parse_error(json.dumps(anthropic("overloaded_error", "Overloaded")).encode()).summary == (
        "overloaded_error: Overloaded"
    )
    long = parse_error(json.dumps(anthropic("api_error", "x" * 1000 + "\nmore")).encode()).summary
    assert len(long) < 300
    assert "\n" not in long
    assert UpstreamError().summary == ""


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"error": {"code": 1}}, True),
        ({"type": "error", "error": {"type": "api_error"}}, True),
        ([{"error": {"code": 1}}], True),
        ([{"candidates": []}, {"error": {"code": 1}}], True),
        ({"type": "message", "content": []}, False),
        ({"candidates": []}, False),
        ({"error": None}, False),
        ([], False),
        (None, False),
        ("error", False),
    ],
)
def test_an_error_in_a_200_is_found(body: Any, found: bool) -> None:
    assert (find_error(body) is not None) is found


anything: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.just('{"error": {"message": "x"}}'),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "message", "type", "status", "retryDelay", "reason", "quotaId", "details", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@steady
@given(anything)
def test_no_json_makes_it_raise(value: Any) -> None:
    error = read_error(value)
    assert error.status is None or 400 <= error.status < 600
    assert error.signature_fault is None or error.signature_fault in SignatureFault
    find_error(value)
    assert isinstance(parse_error(json.dumps(value).encode()), UpstreamError)


@steady
@given(st.binary(max_size=100))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    assert isinstance(parse_error(body).summary, str)


@contextmanager
def soon() -> Iterator[None]:
    """Far more time than linear work on these sizes takes, far less than quadratic work does."""

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise AssertionError("this takes more than linear time")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 10)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


MANY = 1_000_000


def wrapped_deeply(value: Any, times: int) -> Any:
    for _ in range(times):
        value = {"error": [value]}
    return value


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * MANY, id="open brackets"),
        pytest.param(b'{"error":' * MANY, id="open objects"),
        pytest.param(b'{"error":{"message":"' + b"[" * MANY + b'"}}', id="brackets in a message"),
        pytest.param(b'{"error":{"message":"' + b'{\\"a\\":' * MANY + b'"}}', id="objects in a message"),
        pytest.param(b'{"error":{"message":"' + b"retry in 1" * (MANY // 10) + b'"}}', id="many hints"),
        pytest.param(b'{"error":{"message":"retry in ' + b"1" * MANY + b'"}}', id="a long hint"),
        pytest.param(b'{"error":{"message":"retry in ' + b"1s" * (MANY // 2) + b'x"}}', id="a hint of many terms"),
        pytest.param(b'{"error":{"retryDelay":"' + b"1" * MANY + b'"}}', id="a delay of digits"),
        pytest.param(b'{"error":{"retryDelay":"' + b"1s" * (MANY // 2) + b'"}}', id="a delay of many terms"),
        pytest.param(b'{"error":{"message":"' + b"invalid thought " * (MANY // 16) + b'"}}', id="nearly signatures"),
        pytest.param(b'{"error":{"message":"' + b"thought_signature " * (MANY // 18) + b'"}}', id="nearly missing"),
        pytest.param(b'{"error":[' + b'{"message":"x"},' * (MANY // 16) + b"0]}", id="many messages"),
        pytest.param(b'{"error":[' + b'{"message":"{\\"a\\":[]}"},' * (MANY // 26) + b"0]}", id="many JSON messages"),
    ],
)
def test_a_huge_body_is_read_in_linear_time(body: bytes) -> None:
    with soon():
        error = parse_error(body)
        assert error.signature_fault is None or error.signature_fault in SignatureFault
        assert len(error.summary) < 300


def test_a_deep_value_is_read_without_recursion() -> None:
    with soon():
        assert read_error(wrapped_deeply(anthropic("api_error", "x"), 100_000)).status is None
    assert read_error(wrapped_deeply(anthropic("api_error", "x"), 4)).status == 500
