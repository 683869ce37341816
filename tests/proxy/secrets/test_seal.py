from urllib.parse import quote_plus

import pytest
from antigravity_healing.proxy.secrets.seal import LONGEST_CREDENTIAL, Seal, take_off
from hypothesis import given, settings
from hypothesis import strategies as st
from mitmproxy import http

steady = settings(deadline=None, derandomize=True)
SECRET = "sk-ant-0123456789"


def request(path: str = "/v1/messages", **headers: str) -> http.Request:
    made = http.Request.make("POST", "http://proxy.example:8080", b"{}")
    made.path = path
    for name, value in headers.items():
        made.headers[name.replace("_", "-")] = value
    return made


def everything(made: http.Request) -> bytes:
    """All that a flow would keep of it."""
    return repr((made.path, made.headers.fields, made.content, made.authority)).encode()


@pytest.mark.parametrize(
    ("path", "headers", "left"),
    [
        ("/v1/messages", {"x_api_key": SECRET}, "/v1/messages"),
        ("/v1/messages?beta=true", {"Authorization": f"Bearer {SECRET}"}, "/v1/messages?beta=true"),
        ("/v1beta/models", {"X_Goog_Api_Key": SECRET}, "/v1beta/models"),
        (f"/v1beta/m?key={SECRET}", {}, "/v1beta/m"),
        (f"/v1beta/m?key={SECRET}&alt=sse", {}, "/v1beta/m?alt=sse"),
        (f"/v1beta/m?alt=sse&key={SECRET}", {}, "/v1beta/m?alt=sse"),
        (f"/v1beta/m?a=%20b&key={SECRET}&&c", {}, "/v1beta/m?a=%20b&&c"),
        (f"/v1beta/m?access_token={SECRET}&key={SECRET}", {}, "/v1beta/m"),
        (f"/v1beta/m?alt=sse&key={SECRET}", {"x_api_key": SECRET, "x_goog_api_key": SECRET}, "/v1beta/m?alt=sse"),
        (f"/v1beta/m?alt=sse&k%65y={SECRET}", {}, "/v1beta/m?alt=sse"),
    ],
)
def test_every_credential_is_taken_off(path: str, headers: dict[str, str], left: str) -> None:
    made = request(path, **headers)
    seal = take_off(made)
    assert made.path == left
    assert SECRET.encode() not in everything(made)
    assert set(seal.secrets) == {SECRET}


@pytest.mark.parametrize(
    "path", ["/v1/messages", "/v1/messages?", "/v1/messages?beta=true&monkey=1", "/a?keys=1&akey=2"]
)
def test_what_is_no_credential_stays_as_it_is(path: str) -> None:
    made = request(path, anthropic_beta="x", x_claude_code_session_id="s")
    before = everything(made)
    assert take_off(made) == Seal()
    assert everything(made) == before


def test_several_values_of_a_header_are_all_taken_off() -> None:
    made = request()
    made.headers.set_all("x-api-key", ["one-secret", "two-secret"])
    assert take_off(made).secrets == ("one-secret", "two-secret")
    assert "x-api-key" not in made.headers


def test_an_empty_key_header_is_taken_off_and_is_no_credential() -> None:
    made = request(x_goog_api_key="")
    assert take_off(made) == Seal()
    assert "x-goog-api-key" not in made.headers


names = st.sampled_from(["x-api-key", "authorization", "x-goog-api-key"])
secrets = st.text("abcXYZ019-_.", min_size=8, max_size=20)
plain = st.lists(st.sampled_from(["alt=sse", "beta=true", "x", "a=b%20c"]), max_size=3)


@steady
@given(st.dictionaries(names, secrets), plain, st.lists(secrets, max_size=1))
def test_what_was_taken_off_can_be_put_on_again(headers: dict[str, str], params: list[str], keys: list[str]) -> None:
    query = "&".join([*params, *(f"key={key}" for key in keys)])
    made = request("/v1/m" + (f"?{query}" if query else ""))
    for name, value in headers.items():
        made.headers[name] = value
    original = made.copy()
    seal = take_off(made)
    stripped = everything(made)
    again = seal.on(made)
    assert everything(made) == stripped
    assert again.path == original.path
    assert sorted(again.headers.fields) == sorted(original.headers.fields)
    assert take_off(again) == seal
    assert everything(again) == stripped


def test_a_seal_is_put_on_a_copy_only() -> None:
    made = request("/v1/m?alt=sse")
    sealed = Seal((("x-api-key", SECRET), ("x-team", "a")), ("key=k1",)).on(made)
    assert (sealed.headers["x-api-key"], sealed.headers["x-team"], sealed.path) == (SECRET, "a", "/v1/m?alt=sse&key=k1")
    assert "x-api-key" not in made.headers
    assert made.path == "/v1/m?alt=sse"
    assert Seal((), ("key=k1",)).on(request("/v1/m")).path == "/v1/m?key=k1"


def test_an_accounts_header_replaces_the_clients() -> None:
    assert Seal((("X-Team", "a"),)).on(request(x_team="b")).headers.get_all("x-team") == ["a"]


def test_an_accounts_flags_join_the_clients_and_each_comes_once() -> None:
    seal = Seal(flags=(("anthropic-beta", "c, b,d,c"),))
    made = request()
    made.headers = http.Headers(((b"Anthropic-Beta", b"a"), (b"anthropic-beta", b"b , e")))
    assert seal.on(made).headers.get_all("anthropic-beta") == ["a", "b , e,c,d"]
    assert seal.on(seal.on(made)).headers.fields == seal.on(made).headers.fields
    assert seal.on(request()).headers.get_all("anthropic-beta") == ["c,b,d"]
    assert "anthropic-beta" not in Seal(flags=(("anthropic-beta", " , "),)).on(request()).headers


def test_flags_are_no_secret() -> None:
    assert Seal((("x-api-key", SECRET),), flags=(("anthropic-beta", "beta-1"),)).redact_text("beta-1") == "beta-1"


def test_the_text_of_a_seal_holds_no_secret() -> None:
    assert SECRET not in repr(Seal((("x-api-key", SECRET),), (f"key={SECRET}",)))
    assert SECRET not in str(Seal((("x-api-key", SECRET),)))


@pytest.mark.parametrize(
    "seal",
    [
        Seal((("x-api-key", SECRET),)),
        Seal((("authorization", f"Bearer {SECRET}"),)),
        Seal((("authorization", f"bearer  {SECRET}"),)),
        Seal((), (f"key={SECRET}",)),
    ],
)
def test_what_upstream_repeats_is_redacted(seal: Seal) -> None:
    message = b"Permission denied: Consumer 'api_key:%s' has been suspended (%s)."
    redacted = seal.redact(message % (SECRET.encode(), SECRET.encode()))
    assert redacted == message % (b"[redacted]", b"[redacted]")


def test_a_key_is_redacted_in_the_form_in_which_the_url_has_it_too() -> None:
    secret = "AIza/secret+key=="
    seal = Seal((), (f"key={quote_plus(secret)}",))
    assert secret not in seal.redact(f"bad key {secret}".encode()).decode()
    assert quote_plus(secret) not in seal.redact(f"GET /v1?key={quote_plus(secret)}".encode()).decode()


def test_a_secret_that_begins_with_another_is_redacted_whole() -> None:
    seal = Seal((("x-api-key", "sk-12345678"), ("x-other", "sk-12345678-and-more")))
    assert seal.redact(b"<sk-12345678-and-more> <sk-12345678>") == b"<[redacted]> <[redacted]>"


def test_short_values_are_not_redacted_out_of_ordinary_words() -> None:
    assert Seal((("x-team", "a"), ("x-api-key", ""))).redact(b"a banana") == b"a banana"


@steady
@given(st.lists(secrets, min_size=1, max_size=3), st.lists(st.text(max_size=5), max_size=5))
def test_no_secret_survives_redaction(values: list[str], texts: list[str]) -> None:
    seal = Seal(tuple(("x-h", value) for value in values))
    data = "|".join([*texts, *values, *texts, *values]).encode("utf-8", "surrogatepass")
    redacted = seal.redact(data)
    assert not any(value.encode() in redacted for value in values)


def test_some_of_the_credentials_can_be_taken_out_of_a_seal() -> None:
    seal = Seal((("x-api-key", "gateway-key"), ("authorization", "Bearer own-token")), ("key=gateway%2Dkey", "key=own"))
    kept = seal.without(["gateway-key"])
    assert kept == Seal((("authorization", "Bearer own-token"),), ("key=own",))
    assert seal.without([]) == seal


@steady
@given(st.lists(st.text("ab", min_size=8, max_size=12), min_size=1, max_size=3), st.text("abc", max_size=30))
def test_how_much_at_the_end_may_be_the_beginning_of_a_secret(values: list[str], text: str) -> None:
    seal = Seal(tuple(("x-h", value) for value in values))
    heads = [value[:length] for value in values for length in range(len(value))]
    assert seal.unfinished(text.encode()) == max(len(head) for head in heads if text.endswith(head))


def test_response_headers_are_redacted_too() -> None:
    headers = http.Headers(((b"x-error", f"bad key {SECRET}".encode()), (b"x-a", b"b")))
    redacted = Seal((("x-api-key", SECRET),)).redact_headers(headers)
    assert redacted.fields == ((b"x-error", b"bad key [redacted]"), (b"x-a", b"b"))


def test_a_credential_that_is_too_long_is_a_flaw() -> None:
    name = "x-api-key"
    assert Seal(((name, "k" * LONGEST_CREDENTIAL),)).flaw == ""
    assert name in Seal(((name, "k" * (LONGEST_CREDENTIAL + 1)),)).flaw
    assert "cookie" in Seal(more=(("cookie", "k" * (LONGEST_CREDENTIAL + 1)),)).flaw
