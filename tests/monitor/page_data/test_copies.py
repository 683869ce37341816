"""A request as a curl command: a shell makes the same request of it, and no secret is in it."""

import shlex

from antigravity_healing.monitor.page_data.copies import LONGEST_BODY, as_curl
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http

SECRET = "sk-very-secret"


def request(body: bytes, path: str = "/v1/messages", **headers: str) -> http.HTTPFlow:
    # It is what a client sent; no connection of it is looked at.
    flow = http.HTTPFlow.__new__(http.HTTPFlow)
    flow.request = http.Request.make(
        "POST",
        f"http://127.0.0.1:8080{path}",
        body,
        http.Headers([(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]),
    )
    return flow


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_shell_reads_the_body_as_it_was(text: str) -> None:
    words = shlex.split(as_curl(request(text.encode()), "anthropic"))
    assert words[:3] == ["curl", "-N", "-X"]
    assert words[4] == "http://127.0.0.1:8080/v1/messages"
    assert words[words.index("-H") + 1] == "x-api-key: $API_KEY"
    assert (words[-1] == text) if text else ("--data-binary" not in words)


def test_no_secret_is_in_it_and_all_else_is() -> None:
    headers = {"x_api_key": SECRET, "authorization": SECRET, "cookie": SECRET, "x_my_token": SECRET, "x_own": "it's"}
    told = as_curl(request(b"{}", f"/v1beta/models/g:generateContent?key={SECRET}&alt=sse", **headers), "gemini")
    assert SECRET not in told
    assert "x-goog-api-key: $API_KEY" in told
    assert "alt=sse" in told
    assert "x-own: it's" in shlex.split(told)


def test_what_is_too_long_to_be_copied_is_a_file() -> None:
    assert as_curl(request(b"x" * (LONGEST_BODY + 1)), "anthropic").endswith("--data-binary @request.json")
    assert as_curl(request(b"\xff"), "anthropic").encode()
