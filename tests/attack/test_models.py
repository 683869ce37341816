"""An account's `models` can't be sidestepped: what names no model for certain is not sent with its key."""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.attack.heads import carries, error_of, send
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.support.raw import RawResponse
from tests.upstream import Call, Upstream, anthropic_stream

GOOD, BAD = "claude-haiku-4-5", "claude-opus-4-5"
FLASH, PRO = "gemini-flash", "gemini-pro"
LONG = "m" * 257
HEADERS = {
    "anthropic": {"anthropic-version": "2023-06-01", "content-type": "application/json"},
    "gemini": {"x-goog-api-client": "google-genai-sdk/3.4", "content-type": "application/json"},
}


@dataclass(frozen=True)
class Place:
    """A proxy, and the server that is both of its upstreams."""

    proxy: Proxy
    server: Upstream

    def ask(
        self, dialect: str, path: str, body: bytes, headers: Mapping[str, str] | None = None, *, method: str = "POST"
    ) -> tuple[RawResponse, list[Call]]:
        """Send a body to a path of the proxy itself, and give the answer and the calls that carried a key of ours."""
        self.server.reset()
        said = {**HEADERS[dialect], **(headers or {})}
        response = send(self.proxy.url, self.server.url, "", method, path, headers=said, body=body)
        return response, [call for call in self.server.calls if any(carries(key_of(n))(call) for n in ("few", "flash"))]

    def refused(self, dialect: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Ask what must be refused here, and give the error."""
        response, _ = self.ask(dialect, path, body, headers)
        assert response.status in (400, 404), response.body
        assert self.server.calls == []
        return error_of(response)


def made(tmp_path_factory: pytest.TempPathFactory, name: str, config: str) -> Iterator[Place]:
    with Upstream() as server:
        config += "".join(upstream(dialect, dialect, server.url) for dialect in ("anthropic", "gemini"))
        with Proxy(tmp_path_factory.mktemp(name), config) as proxy:
            yield Place(proxy, server)


@pytest.fixture(scope="module")
def choosy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Each account may serve one family of models only."""
    config = account("few", "anthropic", models=["claude-haiku-*"])
    config += account("flash", "gemini", models=["gemini-flash*", "tunedModels/ours"])
    yield from made(tmp_path_factory, "choosy", config + f'[models]\n"quick" = "{GOOD}"\n"slow" = "{BAD}"\n')


@pytest.fixture(scope="module")
def generous(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The accounts may serve every model."""
    yield from made(tmp_path_factory, "generous", account("few", "anthropic") + account("flash", "gemini"))


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """There is no account."""
    yield from made(tmp_path_factory, "without", "")


def message(model: object, **more: Any) -> dict[str, Any]:
    """A Messages request."""
    return {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **more}


def text(model: object, **more: Any) -> str:
    """The same as JSON."""
    return json.dumps(message(model, **more))


UNCERTAIN: dict[str, bytes] = {
    "a BOM": b"\xef\xbb\xbf" + text(BAD).encode(),
    "UTF-16": text(BAD).encode("utf-16"),
    "UTF-16 without a BOM": text(BAD).encode("utf-16-be"),
    "UTF-32": text(BAD).encode("utf-32"),
    "not UTF-8": text(BAD, system="?").encode().replace(b'"?"', b'"\xff"'),
    "an overlong letter": text(GOOD).encode().replace(b"haiku", b"h\xc1\xa1iku"),
    "model twice, the good one last": b'{"model": "%b", %b' % (BAD.encode(), text(GOOD).encode()[1:]),
    "model twice, the good one first": b'%b, "model": "%b"}' % (text(GOOD).encode()[:-1], BAD.encode()),
    "model twice, once with escapes": b'{"\\u006dodel": "%b", %b' % (BAD.encode(), text(GOOD).encode()[1:]),
    "model in other letters": b'{"Model": "%b", %b' % (BAD.encode(), text(GOOD).encode()[1:]),
    "two values": text(GOOD).encode() + text(BAD).encode(),
    "a comment": b'{/* "model": "x", */ ' + text(BAD).encode()[1:],
    "no JSON": b"model=" + BAD.encode(),
}
ENDPOINTS = ["/v1/messages", "/v1/messages/count_tokens"]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("kind", UNCERTAIN)
@pytest.mark.parametrize("place", ["choosy", "generous"])
def test_what_is_not_certain_is_refused_whatever_the_accounts_may_serve(
    request: pytest.FixtureRequest, place: str, kind: str, path: str
) -> None:
    where: Place = request.getfixturevalue(place)
    error = where.refused("anthropic", path, UNCERTAIN[kind])
    assert error["type"] == "invalid_request_error"
    assert "the body" in error["message"]
    packed = gzip.compress(UNCERTAIN[kind])
    where.refused("anthropic", path, packed, {"content-encoding": "gzip"})


@pytest.mark.parametrize("kind", ["a BOM", "UTF-16", "not UTF-8", "no JSON"])
def test_the_same_holds_for_the_other_dialect(generous: Place, kind: str) -> None:
    error = generous.refused("gemini", f"/v1beta/models/{FLASH}:generateContent", UNCERTAIN[kind])
    assert error["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("kind", UNCERTAIN)
def test_with_its_own_credential_a_client_may_say_what_it_likes(without: Place, kind: str) -> None:
    own = {"x-api-key": "the-clients-own-key"}
    without.ask("anthropic", "/v1/messages", UNCERTAIN[kind], own)
    [call] = without.server.calls
    assert call.headers["x-api-key"] == own["x-api-key"]
    assert call.body == UNCERTAIN[kind] or json.loads(call.body)["stream"] is True


NAMELESS = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b'"model"',
    *(text(odd).encode() for odd in (None, 3, [GOOD], {"id": GOOD}, "")),
]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("body", NAMELESS)
def test_a_request_that_names_no_model_is_for_an_account_that_may_serve_all(
    choosy: Place, generous: Place, path: str, body: bytes
) -> None:
    choosy.refused("anthropic", path, body)
    _, keyed = generous.ask("anthropic", path, body)
    assert len(keyed) >= 1


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    "body",
    [
        message(BAD),
        message("slow"),
        message(GOOD, fallbacks=[{"model": BAD}]),
        message(GOOD, models=[GOOD, BAD]),
        message(GOOD, tools=[{"type": "advisor_20260301", "name": "advisor", "model": BAD}]),
    ],
    ids=["asked for", "by a route", "as a fallback", "in a list", "by a tool"],
)
def test_a_model_that_an_account_may_not_serve_is_refused_wherever_it_is_named(
    choosy: Place, path: str, body: dict[str, Any]
) -> None:
    error = choosy.refused("anthropic", path, json.dumps(body).encode())
    assert "few" in error["message"]


SCHEMA = {
    "type": "object",
    "properties": {"model": {"type": "string"}, "Model": {"enum": [BAD]}},
    "required": ["model"],
}
HISTORY = [
    {"role": "user", "content": f'say "model": "{BAD}"'},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "buy", "input": {"model": BAD}}]},
]
HONEST = [
    text(GOOD),
    text("quick"),
    text(GOOD, tools=[{"name": "buy", "input_schema": SCHEMA}], messages=HISTORY),
    text(GOOD, metadata={"model": BAD}, system=[{"type": "text", "text": '"model"'}]),
    text(GOOD).replace("model", "m\\u006fdel", 1),
    "\r\n\t" + text(GOOD) + " \n",
]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("body", HONEST)
def test_a_model_that_an_account_may_serve_is_served_to_the_byte(choosy: Place, path: str, body: str) -> None:
    plain = body.replace('"quick"', f'"{GOOD}"').encode()
    choosy.server.play(anthropic_stream("fine"))
    said = body.replace("{", '{"stream": true, ', 1).encode() if path == "/v1/messages" else body.encode()
    response, keyed = choosy.ask("anthropic", path, said)
    assert response.status == 200, response.body
    [call] = keyed
    assert call.body in (plain, plain.replace(b"{", b'{"stream": true, ', 1))


def batch(*models: str) -> bytes:
    """A batch of messages."""
    return json.dumps(
        {"requests": [{"custom_id": str(at), "params": message(model)} for at, model in enumerate(models)]}
    ).encode()  # fmt: skip


def inlined(*models: str) -> bytes:
    """A batch of Gemini requests."""
    requests = [{"request": {"model": f"models/{model}", "contents": []}} for model in models]
    return json.dumps({"batch": {"displayName": "b", "inputConfig": {"requests": {"requests": requests}}}}).encode()


def named(model: str, **more: Any) -> bytes:
    """Whatever names a model at its top."""
    return json.dumps({"model": model, **more}).encode()


EMBED = json.dumps({"content": {"parts": [{"text": "hi"}]}}).encode()
PASSED: list[tuple[str, str, bytes, bytes]] = [
    ("anthropic", "/v1/messages/batches", batch(GOOD, GOOD), batch(GOOD, BAD, GOOD)),
    ("anthropic", "/v1/complete", named(GOOD, prompt="hi"), named(BAD, prompt="hi")),
    ("anthropic", "/v1/agents", named(GOOD, name="a"), json.dumps({"model": {"id": BAD, "speed": "fast"}}).encode()),
    ("gemini", "/v1beta/interactions", named(FLASH, input="hi"), named(PRO, input="hi")),
    ("gemini", "/v1beta/cachedContents", named(f"models/{FLASH}"), named(f"models/{PRO}")),
    ("gemini", "/v1beta/openai/chat/completions", named(FLASH, messages=[]), named(PRO, messages=[])),
    ("gemini", f"/v1beta/models/{FLASH}:batchGenerateContent", inlined(FLASH, FLASH), inlined(FLASH, PRO)),
    (
        "gemini",
        f"/v1beta/models/{FLASH}:batchEmbedContents",
        json.dumps({"requests": [{"model": f"models/{FLASH}"}]}).encode(),
        json.dumps({"requests": [{"model": f"models/{FLASH}"}, {"model": f"models/{PRO}"}]}).encode(),
    ),
    ("gemini", f"/v1beta/models/{FLASH}:embedContent", EMBED, named(f"models/{PRO}")),
]


@pytest.mark.parametrize(("dialect", "path", "good", "bad"), PASSED, ids=[f"{one[0]} {one[1]}" for one in PASSED])
def test_what_is_passed_on_may_name_only_models_of_the_account(
    choosy: Place, generous: Place, dialect: str, path: str, good: bytes, bad: bytes
) -> None:
    choosy.refused(dialect, path, bad)
    for body in (b"\xef\xbb\xbf" + good, good.decode().encode("utf-16"), good[:-1], b"model=x"):
        choosy.refused(dialect, path, body)
    _, keyed = choosy.ask(dialect, path, good)
    assert [call.body for call in keyed] == [good]
    _, keyed = generous.ask(dialect, path, bad)
    assert [call.body for call in keyed] == [bad]


def test_each_of_several_members_of_the_same_name_counts_in_a_batch(choosy: Place) -> None:
    twice = b"%b, %b" % (batch(BAD)[:-1], batch(GOOD)[1:])
    choosy.refused("anthropic", "/v1/messages/batches", twice)
    choosy.refused("anthropic", "/v1/messages/batches", batch(GOOD).replace(b'"model"', b'"Model": "x", "model"'))


@pytest.mark.parametrize(
    "path",
    [
        f"/v1beta/models/{PRO}:embedContent",
        f"/v1beta/models/{PRO}%3AembedContent",
        f"/v1beta/models/{FLASH}%2F..%2F{PRO}:embedContent",
        f"/v1beta/Models/{PRO}:embedContent",
        f"/v1beta//models//{PRO}:embedContent",
        "/v1beta/tunedModels/theirs:generateContent",
        "/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4-5:rawPredict",
        "/v1beta/models:embedContent?model=models/" + PRO,
    ],
)
def test_a_model_in_an_unhealed_path_has_to_be_one_of_the_accounts(choosy: Place, path: str) -> None:
    choosy.refused("gemini", path, EMBED)


@pytest.mark.parametrize(
    ("dialect", "method", "path", "headers"),
    [
        ("gemini", "POST", "/v1beta/tunedModels/ours:generateContent", {}),
        ("gemini", "GET", f"/v1beta/models/{FLASH}/operations/op-1", {}),
        ("gemini", "POST", "/upload/v1beta/files", {"content-type": "image/png"}),
        ("anthropic", "POST", "/v1/files", {"content-type": "multipart/form-data; boundary=x"}),
        ("anthropic", "GET", "/v1/messages/batches/msgbatch_1/results", {}),
        ("anthropic", "POST", "/v1/messages/batches/msgbatch_1/cancel", {}),
    ],
)
def test_what_names_no_model_passes_with_the_key(
    choosy: Place, dialect: str, method: str, path: str, headers: dict[str, str]
) -> None:
    body = b"\x89PNG\x00\xff" if headers else b""
    _, keyed = choosy.ask(dialect, path, body, headers, method=method)
    assert [(call.path, call.body) for call in keyed] == [(path, body)]


@pytest.mark.parametrize("place", ["choosy", "generous", "without"])
@pytest.mark.parametrize(
    ("dialect", "path", "model"),
    [
        ("anthropic", "/v1/messages", LONG),
        ("anthropic", "/v1/messages/count_tokens", "m" * 200_000),
        ("anthropic", "/v1/messages", "ü" * 129),
        ("gemini", f"/v1beta/models/{LONG}:streamGenerateContent?alt=sse", ""),
        ("gemini", f"/v1beta/models/{LONG}:countTokens", ""),
        ("gemini", "/v1beta/models/" + "%C3%BC" * 129 + ":generateContent", ""),
    ],
)
def test_a_models_name_is_bounded(
    request: pytest.FixtureRequest, place: str, dialect: str, path: str, model: str
) -> None:
    where: Place = request.getfixturevalue(place)
    error = where.refused(dialect, path, text(model).encode() if model else b"{}")
    assert "256" in error["message"]
    assert len(error["message"]) < 200
    assert "m" * 60 not in where.proxy.log


def test_a_models_name_of_just_so_many_bytes_is_served(generous: Place) -> None:
    for body in (text("m" * 256), text("ü" * 128)):
        _, keyed = generous.ask("anthropic", "/v1/messages/count_tokens", body.encode())
        assert [call.body for call in keyed] == [body.encode()]
