import contextlib
import posixpath
from urllib.parse import quote, unquote_to_bytes

import pytest
from antigravity_healing.wire.http.paths import PathError, is_name, plain, resolved
from hypothesis import example, given
from hypothesis import strategies as st

HONEST = [
    "/v1/messages",
    "/v1/messages/",
    "/v1/messages/batches/msgbatch_01Hk/results",
    "/v1/files/file_011CNha8iCJcU1wXNR6q4V8w/content",
    "/v1/models/claude-opus-4-5%402025-11-01",
    "/v1/models/claude-opus-4-5@20251101",
    "/v1/models/anthropic%2Fclaude-opus-4-5",
    "/v1beta/models/gemini-3-pro:streamGenerateContent",
    "/v1beta/models/gemini-3-pro%3AgenerateContent",
    "/v1beta/models/%F0%9F%98%80:generateContent",
    "/v1beta/models/100%25:generateContent",
    "/v1beta/tunedModels/my-model-8a7:generateContent",
    "/v1/projects/p-1/locations/global/publishers/google/models/gemini-3-pro:generateContent",
    "/v1beta/files/abc-123..x",
    "/v1beta/corpora/a.b/documents/.hidden",
    "/upload/v1beta/files",
    "/",
    "",
]


@pytest.mark.parametrize("path", HONEST)
def test_what_clients_send_stays_to_the_byte(path: str) -> None:
    assert resolved(path) == path


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/./messages", "/v1/messages"),
        ("/v1/x/../messages", "/v1/messages"),
        ("/v1/x/%2e%2E/messages", "/v1/messages"),
        ("/v1/x/.%2e/%2e/messages%20", "/v1/messages%20"),
        ("/v1/messages/..", "/v1/"),
        ("/v1/messages/.", "/v1/messages/"),
        ("/v1/..", "/"),
        ("/a//../b", "/a/b"),
    ],
)
def test_dot_segments_are_resolved(path: str, expected: str) -> None:
    assert resolved(path) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/..",
        "/../v1/messages",
        "/v1/messages/../../../tenantB/v1/messages",
        "/v1/messages/%2e%2e/%2e%2e/%2e%2e/tenantB",
        "/v1/messages/.%2e/../%2E./tenantB",
    ],
)
def test_a_path_that_climbs_out_is_refused(path: str) -> None:
    with pytest.raises(PathError, match="climbs out"):
        resolved(path)


@pytest.mark.parametrize(
    "segment",
    [
        "..%2f..%2ftenantB",
        "a%2fb",
        "a%252fb",
        "%2f",
        "..\\..\\tenantB",
        "..%5ctenantB",
        "a%255Cb",
        "%252e%252e",
        "%25252e%2e",
        "..;",
        "..;x=1",
        "..%3bx",
        ".;",
        "..%00",
        "..%20",
        "..%3fx",
        "..%23",
        "%c0%ae%c0%ae",
        "%c0%af",
        "%ff%fe",
        "%",
        "%2",
        "%zz",
        "%u002e%u002e",
        "a#b",
        "%2525252525252e",
    ],
)
def test_a_segment_that_may_be_more_than_it_seems_is_refused(segment: str) -> None:
    for path in (f"/v1/files/{segment}", f"/v1/files/{segment}/x", f"/{segment}"):
        with pytest.raises(PathError):
            resolved(path)


@pytest.mark.parametrize("name", ["..%2fb", "a%2f..", "a%2f..%2fb", "%2fb", "a%2f", "a%2f%2fb", "a%5cb", "a%2f.%3b"])
def test_a_models_name_may_have_a_slash_but_hide_no_path(name: str) -> None:
    assert resolved("/v1/models/a%2fb") == "/v1/models/a%2fb"
    with pytest.raises(PathError):
        resolved(f"/v1/models/{name}")


@pytest.mark.parametrize(
    "path",
    ["/v1/messages", "//v1/messages", "/v1//messages", "/v1/%6dessages", "/v1/messages/", "/V1/Messages",
     "/v1/messages;a=b", "/v1;x/messages", "/v1/messages%20", "/v1/messages%00", "/v1/messages%3fx",
     "/v1/%256dessages"],
)  # fmt: skip
def test_all_ways_to_write_a_path_are_alike(path: str) -> None:
    assert plain(resolved(path)) == "/v1/messages"


# The oracle: servers that read a path more leniently than they should.


def as_served(path: str, decodings: int, *, parameters: bool, backslash: bool) -> str:
    for _ in range(decodings):
        path = unquote_to_bytes(path).decode("latin-1")
    path = path.replace("\0", "")
    if backslash:
        path = path.replace("\\", "/")
    if parameters:
        path = "/".join(segment.partition(";")[0] for segment in path.split("/"))
    return posixpath.normpath(path)


PIECES = st.sampled_from(
    ["/", "/", "..", ".", "%2e", "%2E", "%252e", "%2f", "%252F", "\\", "%5c", ";", "%3B", "%00", "%20", "%", "%25",
     "%c0%ae", "a", "v1", "models", "messages", ":generateContent", "é", "#", "?"]
)  # fmt: skip


@given(
    path=st.lists(PIECES, max_size=12).map(lambda pieces: "/" + "".join(pieces)),
    decodings=st.integers(0, 3),
    parameters=st.booleans(),
    backslash=st.booleans(),
)
@example(path="/v1/messages/..%2f..%2f..%2fb", decodings=1, parameters=False, backslash=False)
@example(path="/models/a%2f..%2f..%2f..", decodings=1, parameters=False, backslash=False)
@example(path="/a/..;/..;/b", decodings=0, parameters=True, backslash=False)
def test_no_server_finds_a_way_out_of_the_prefix(path: str, decodings: int, parameters: bool, backslash: bool) -> None:
    try:
        mine = resolved(path)
    except PathError:
        return
    assert resolved(mine) == mine
    served = as_served("/tenant/a" + mine, decodings, parameters=parameters, backslash=backslash)
    assert served == "/tenant/a" or served.startswith("/tenant/a/")


@given(st.text(max_size=40).map(lambda text: "/" + text))
def test_any_text_is_a_path_or_refused(path: str) -> None:
    with contextlib.suppress(PathError):
        assert plain(resolved(path)).startswith("/")


@given(st.text() | st.lists(st.sampled_from(["..", ".", "/", "%2e", "%2F", "\\", ";", "a", "%"])).map("".join))
def test_a_name_that_is_one_means_one_place_in_a_path(name: str) -> None:
    if is_name(name):
        path = f"/v1/models/{quote(name, safe='@')}"
        assert resolved(path) == path
        assert plain(path) == f"/v1/models/{name.casefold()}"


@pytest.mark.parametrize(
    "name", ["gemini-3-pro", "claude-vx@20250929", "anthropic/claude-opus-4-5", "a:b", "ü-1.5", "a..b"]
)
def test_names_of_models_are_names(name: str) -> None:
    assert is_name(name)
