"""Things that lie with one account (files, cached contents, containers, batches): who names one is served there."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.h2_client import H2Client
from tests.e2e.harness import Proxy, account, upstream
from tests.support import raw
from tests.upstream import (
    Call,
    Reply,
    Upstream,
    anthropic_error,
    anthropic_event,
    anthropic_json,
    anthropic_stream,
    gemini_error,
    gemini_json,
    gemini_stream,
)

NAMES = {dialect: [f"{dialect}-{place}" for place in ("one", "two", "three")] for dialect in ("anthropic", "gemini")}
KEYS = ("first-clients-key-0123", "second-clients-key-0123")
JSON = {"content-type": "application/json"}
both_dialects = pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
streamed_and_whole = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@dataclass
class Shelf:
    """What each account has, and an upstream that knows nothing of it to the others."""

    things: dict[str, str] = field(default_factory=dict)
    refusals: dict[str, Reply] = field(default_factory=dict)
    """What an account is told whatever it asks."""
    bodies: dict[str, Reply] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, call: Call) -> Reply:
        """The answer to a call: a 403 or 404 for what lies elsewhere."""
        name, dialect = account_of(call), "gemini" if "beta" in call.path else "anthropic"
        said = call.path + call.body.decode("latin-1")
        named = [thing for thing in self.things if thing in said]
        if any(self.things[thing] != name for thing in named):
            return missing(dialect, named[0])
        if name in self.refusals and not call.path.endswith("/files"):
            return self.refusals[name]
        if call.path.endswith(("/files", "/cachedContents")) and call.method == "POST":
            return self.make(dialect, call, name)
        if named and named[0] in call.path:
            return self.bodies.get(named[0]) or Reply(200, JSON, orjson.dumps({"id": named[0], "name": named[0]}))
        if dialect == "anthropic":
            return anthropic_stream("Hello") if call.json.get("stream") else anthropic_json("Hello")
        return gemini_stream("Hello") if "stream" in call.path else gemini_json("Hello")

    def make(self, dialect: str, call: Call, name: str) -> Reply:
        """Something new lies with this account."""
        with self._lock:
            number = len(self.things)
            if dialect == "anthropic":
                made = f"file_011CNha8iCJcU{number:03}"
                body: dict[str, Any] = {"id": made, "type": "file", "filename": "a.pdf"}
            elif call.path.endswith("/cachedContents"):
                made = f"cachedContents/cache{number:03}"
                body = {"name": made, "model": "models/gemini-x"}
            else:
                made = f"files/abc-{number:03}"
                body = {"file": {"name": made, "uri": f"https://g.example/v1beta/{made}", "state": "ACTIVE"}}
            self.things[made] = name
        return Reply(200, JSON, orjson.dumps(body))


def missing(dialect: str, thing: str) -> Reply:
    if dialect == "anthropic":
        return anthropic_error(404, "not_found_error", f"File not found: {thing}")
    if thing.startswith("cachedContents"):
        return gemini_error(403, None, "CachedContent not found (or permission denied)")
    name = thing.partition("/")[2]
    return gemini_error(403, None, f"You do not have permission to access the File {name} or it may not exist.")


def account_of(call: Call) -> str:
    return call.credential.partition("key-of-")[2].removesuffix("-0123456789")


@dataclass
class House:
    """A proxy with three accounts of each dialect, and two clients that it knows by their keys."""

    proxy: Proxy
    upstream: Upstream
    shelf: Shelf

    def send(self, method: str, path: str, body: Any = None, *, client: int = 0) -> tuple[raw.RawResponse, list[str]]:
        """A request, and the accounts that it was sent with."""
        before = len(self.upstream.calls)
        headers = {"x-api-key": KEYS[client], "anthropic-version": "2023-06-01"}
        if "beta" in path:
            headers = {"x-goog-api-key": KEYS[client]}
        response = raw.request(method, self.proxy.url + path, body, headers)
        return response, [account_of(call) for call in self.upstream.calls[before:]]

    def make(self, dialect: str, *, cache: bool = False) -> tuple[str, str]:
        """Something is made through the proxy: its id and the account where it lies."""
        if dialect == "anthropic":
            response, [name] = self.send("POST", "/v1/files", b"content")
            return orjson.loads(response.body)["id"], name
        if cache:
            response, [name] = self.send("POST", "/v1beta/cachedContents", {"model": "models/gemini-x"})
            return orjson.loads(response.body)["name"], name
        response, [name] = self.send("POST", "/upload/v1beta/files", b"content")
        return orjson.loads(response.body)["file"]["name"], name

    def put(self, dialect: str, place: int) -> str:
        """Something lies with an account, and the proxy does not know."""
        number = len(self.shelf.things)
        thing = f"file_011CNha8iCJcX{number:03}" if dialect == "anthropic" else f"files/xyz-{number:03}"
        self.shelf.things[thing] = NAMES[dialect][place]
        return thing

    def use(
        self, thing: str, session: str, *, stream: bool = True, client: int = 0
    ) -> tuple[raw.RawResponse, list[str]]:
        """A conversation that names the thing."""
        return self.send("POST", *naming(thing, session, stream=stream), client=client)

    def stranger(self, name: str) -> str:
        """A session whose requests go to another account than this one."""
        for number in range(100):
            _, asked = self.send("POST", "/v1/messages", message(f"stranger {number}", "hi"))
            if asked != [name]:
                return f"stranger {number}"
        raise AssertionError("every session goes to the same account")

    def benches(self) -> list[Any]:
        """What keeps any account away."""
        return [bench for each in self.proxy.health()["accounts"] for bench in each["benches"]]


def naming(thing: str, session: str, *, stream: bool = True) -> tuple[str, dict[str, Any]]:
    """Path and body of a request in which something is named."""
    if thing.startswith("container_"):
        return "/v1/messages", message(session, "go on", stream=stream) | {"container": thing}
    if thing.startswith("file_"):
        document = {"type": "document", "source": {"type": "file", "file_id": thing}}
        return "/v1/messages", message(session, [document, {"type": "text", "text": session}], stream=stream)
    contents: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": session}]}]}
    if thing.startswith("cachedContents"):
        contents["cachedContent"] = thing
    else:
        uri = {"fileUri": f"https://g.example/v1beta/{thing}", "mimeType": "application/pdf"}
        contents["contents"][0]["parts"].append({"fileData": uri})
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return f"/v1beta/models/gemini-x:{verb}", contents


def message(session: str, content: Any, *, stream: bool = True) -> dict[str, Any]:
    said = [{"role": "user", "content": session}, {"role": "assistant", "content": "?"}]
    said.append({"role": "user", "content": content})
    return {"model": "claude-x", "max_tokens": 64, "stream": stream, "messages": said}


def config(server: Upstream) -> str:
    text = "".join(account(name, dialect) for dialect, names in NAMES.items() for name in names)
    text += "".join(upstream(dialect, dialect, server.url) for dialect in NAMES)
    return text + f"[clients]\nkeys = {orjson.dumps(KEYS).decode()}\n[retry]\nspare_retries = 1000000\n"


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with Upstream() as server, Proxy(tmp_path_factory.mktemp("things"), config(server)) as proxy:
        yield House(proxy, server, Shelf())


@pytest.fixture
def house(shared_house: House) -> Iterator[House]:
    shelf = shared_house.shelf = Shelf(things=dict(shared_house.shelf.things))
    shared_house.upstream.reset()
    shared_house.upstream.default = shelf.answer
    yield shared_house
    shared_house.upstream.reset()


@both_dialects
@streamed_and_whole
def test_every_session_that_uses_an_uploaded_file_is_served_at_once_where_it_lies(
    house: House, dialect: str, stream: bool
) -> None:
    file, home = house.make(dialect)
    for number in range(8):
        response, asked = house.use(file, f"session {number} {stream}", stream=stream)
        assert (response.status, asked) == (200, [home])
        assert response.header("x-healing-outcome") == "clean"


def test_a_cached_content_is_used_where_it_was_made(house: House) -> None:
    cache, home = house.make("gemini", cache=True)
    for number in range(8):
        response, asked = house.use(cache, f"cached {number}")
        assert (response.status, asked) == (200, [home])


@both_dialects
@streamed_and_whole
def test_a_thing_that_nobody_knows_of_is_sought_in_turn_without_a_bench_and_then_known(
    house: House, dialect: str, stream: bool
) -> None:
    for place in range(3):
        thing = house.put(dialect, place)
        response, asked = house.use(thing, "seeker", stream=stream)
        assert response.status == 200
        assert asked[-1] == NAMES[dialect][place]
        assert len(set(asked)) == len(asked)
        assert response.header("x-healing-outcome") == ("clean" if len(asked) == 1 else "healed")
        response, asked = house.use(thing, "another session", stream=stream)
        assert (response.status, asked) == (200, [NAMES[dialect][place]])
    assert house.benches() == []


@both_dialects
def test_what_no_account_has_is_told_in_upstreams_own_words_after_one_call_each(house: House, dialect: str) -> None:
    thing = house.put(dialect, 0)
    house.shelf.things[thing] = "nobody"
    for path, body in (naming(thing, "nobody's"), (f"/v1{'beta' * (dialect == 'gemini')}/{path_of(thing)}", None)):
        response, asked = house.send("POST" if body else "GET", path, body)
        assert sorted(asked) == sorted(NAMES[dialect])
        reply = missing(dialect, thing)
        assert (response.status, response.body) == (reply.status, reply.whole)
    assert house.benches() == []


def path_of(thing: str) -> str:
    return thing if "/" in thing else f"files/{thing}"


@both_dialects
def test_requests_about_a_thing_itself_go_where_it_lies(house: House, dialect: str) -> None:
    version = "/v1beta" if dialect == "gemini" else "/v1"
    thing, home = house.put(dialect, 2), NAMES[dialect][2]
    response, asked = house.send("GET", f"{version}/{path_of(thing)}")
    assert response.status == 200
    assert orjson.loads(response.body)["id"] == thing
    assert asked == [NAMES[dialect][0], NAMES[dialect][1], home]
    response, asked = house.send("DELETE", f"{version}/{path_of(thing)}")
    assert (response.status, asked) == (200, [home])
    assert house.use(thing, "after a look at it")[1] == [home]


def test_a_file_is_downloaded_byte_for_byte_from_where_it_lies(house: House) -> None:
    content = bytes(range(256)) * 4096
    for reply in (
        Reply(200, {"content-type": "application/pdf"}, content),
        Reply(200, {"content-type": "application/pdf"}, chunks=[content[:5], content[5:70000], content[70000:]]),
        Reply(204, {}),
        Reply(200, {"content-type": "text/plain"}, b""),
    ):
        thing = house.put("anthropic", 1)
        house.shelf.bodies[thing] = reply
        response, asked = house.send("GET", f"/v1/files/{thing}/content")
        assert (response.status, response.body, response.ended) == (reply.status, reply.whole, "complete")
        assert asked == NAMES["anthropic"][:2]


@both_dialects
def test_other_failures_of_what_is_not_healed_pass_as_they_came(house: House, dialect: str) -> None:
    thing = house.put(dialect, 1)
    version = "/v1beta" if dialect == "gemini" else "/v1"
    for status in (400, 429, 500, 503):
        reply = Reply(status, {**JSON, "retry-after": "3600"}, b'{"error": {"message": "no"}}')
        house.shelf.bodies[thing] = reply
        response, asked = house.send("GET", f"{version}/{path_of(thing)}")
        assert (response.status, response.body) == (status, reply.whole)
        assert asked == NAMES[dialect][:2]
    assert house.benches() == []


@both_dialects
def test_what_is_known_for_one_client_steers_no_other(house: House, dialect: str) -> None:
    for number in range(6):
        thing = house.put(dialect, 2)
        _, first = house.use(thing, f"session {number}", client=0)
        if len(first) > 1:
            break
    assert house.use(thing, f"session {number}", client=0)[1] == [first[-1]]
    response, asked = house.use(thing, f"session {number}", client=1)
    assert (response.status, asked) == (200, first)


@both_dialects
def test_what_a_conversation_only_speaks_of_does_not_steer_it(house: House, dialect: str) -> None:
    file, home = house.make(dialect)
    spoken: set[str] = set()
    for number in range(12):
        session = f"talk {number}"
        if dialect == "anthropic":
            call = {"type": "tool_use", "id": "toolu_01", "name": "look", "input": {"file_id": file}}
            result = {"type": "tool_result", "tool_use_id": "toolu_01", "content": orjson.dumps({"id": file}).decode()}
            body = message(session, [result])
            body["messages"][1]["content"] = [call]
            path = "/v1/messages"
        else:
            path, body = naming("cachedContents/x", session)
            del body["cachedContent"]
            args = {"functionCall": {"name": "look", "args": {"fileUri": f"https://g.example/v1beta/{file}"}}}
            body["contents"].append({"role": "model", "parts": [args]})
        house.shelf.things.pop(file, None)
        response, asked = house.send("POST", path, body)
        assert response.status == 200
        assert len(asked) == 1
        spoken |= set(asked)
    assert spoken > {home}


@both_dialects
def test_while_the_account_that_has_it_may_not_be_asked_no_other_is(house: House, dialect: str) -> None:
    file, home = house.make(dialect)
    reply = anthropic_error(429, "rate_limit_error", "Slow down.", headers={"retry-after": "600"})
    if dialect == "gemini":
        reply = gemini_error(429, None, "Quota.", headers={"retry-after": "600"})
    house.shelf.refusals[home] = reply
    path, body = naming(file, "limited")
    path, body = path.replace("gemini-x", "gemini-cools"), body | ({"model": "claude-cools"} if "model" in body else {})
    response, asked = house.send("POST", path, body)
    assert (response.status, response.body, asked) == (429, reply.whole, [home])
    response, asked = house.send("POST", path, body)
    assert (response.status, asked) == (429, [])
    assert 0 < int(response.header("retry-after") or 0) <= 600
    # The same account's other requests, and what names nothing, are not concerned.
    plain = naming("cachedContents/x", "limited")[1] if dialect == "gemini" else message("limited", "hi")
    plain.pop("cachedContent", None)
    served, asked = house.send("POST", path, plain | ({"model": "claude-cools"} if "model" in plain else {}))
    assert served.status == 200
    assert home not in asked


@pytest.mark.parametrize(("stream", "as_stream"), [(True, True), (False, True), (False, False)])
def test_a_container_that_an_answer_names_is_used_where_it_is(house: House, stream: bool, as_stream: bool) -> None:
    box = f"container_011CNha8iC{stream:d}{as_stream:d}"
    told = {"container": {"id": box, "expires_at": "2026-11-27T00:00:00Z"}}
    made = anthropic_json("Hello")
    reply = Reply(200, made.headers, orjson.dumps(orjson.loads(made.whole) | told))
    if as_stream:
        end = {"type": "message_delta", "delta": {"stop_reason": "end_turn", **told}, "usage": {"output_tokens": 2}}
        reply = anthropic_stream("Hello")
        reply = replace(reply, chunks=(*reply.chunks[:-2], anthropic_event(end), reply.chunks[-1]))
    house.upstream.play(reply)
    first, [home] = house.send("POST", "/v1/messages", message(f"{stream}{as_stream}", "hi", stream=stream))
    assert first.status == 200
    house.shelf.things[box] = home
    response, asked = house.use(box, house.stranger(home), stream=stream)
    assert (response.status, asked) == (200, [home])


@both_dialects
def test_where_things_lie_is_known_after_a_restart(tmp_path: Path, dialect: str) -> None:
    shelf = Shelf()
    with Upstream() as server:
        server.default = shelf.answer
        with Proxy(tmp_path, config(server)) as proxy:
            house = House(proxy, server, shelf)
            file, home = house.make(dialect)
            sought = house.put(dialect, 2)
            house.use(sought, "before")
        with Proxy(tmp_path, config(server)) as proxy:
            house = House(proxy, server, shelf)
            for number in range(4):
                assert house.use(file, f"after {number}")[1] == [home]
                assert house.use(sought, f"after {number}")[1] == [NAMES[dialect][2]]


def test_a_batch_over_http2_goes_where_the_file_lies_that_it_names(tmp_path: Path) -> None:
    shelf = Shelf(things={"file_011CNha8iCJcH2": NAMES["anthropic"][1]})
    with Upstream(tls=True, http2=True) as server:
        server.default = shelf.answer
        trusted = {"ssl_verify_upstream_trusted_ca": str(server.ca_file)}
        with Proxy(tmp_path, config(server), options=trusted) as proxy:
            ca = proxy.ca_file
            _, params = naming("file_011CNha8iCJcH2", "batch")
            batch = {"requests": [{"custom_id": "a", "params": params}]}
            with H2Client(server.url, proxy=proxy.url, ca=ca) as client:
                for asked in (NAMES["anthropic"][:2], [NAMES["anthropic"][1]]):
                    before = len(server.calls)
                    stream_id = client.post("/v1/messages/batches", batch)
                    answer = orjson.loads(client.whole(stream_id))
                    assert client.heads[stream_id][":status"] == "200"
                    assert answer["content"][0]["text"] == "Hello"
                    assert [account_of(call) for call in server.calls[before:]] == asked
                    assert {call.http_version for call in server.calls} == {"HTTP/2"}
