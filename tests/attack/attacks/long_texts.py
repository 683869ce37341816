"""Texts that are chosen to take long, or to be kept for ever: names, sessions, queries, keys, error messages."""

import json
from typing import Any

from tests.attack.arena import MB, MODEL, Arena, Setup, head, refused, says
from tests.attack.table import Attack
from tests.support import raw
from tests.upstream import anthropic_error_body

_QUICK = Setup("[retry]\nmax_wait = 1\n")
_LITTLE_LOG = Setup("[limits]\nlog_bytes = 1048576\n")


def many_models(place: Arena) -> None:
    """Five thousand names of models, each of which is refused by upstream."""
    body = json.dumps(anthropic_error_body("not_found_error", "model: not found")).encode()
    place.evil.answer = says(404, body)
    connection = raw.RawConnection(place.url)
    for number in range(5000):
        asked: dict[str, Any] = {"model": f"evil-{number}-" + "x" * 200, "max_tokens": 9, "messages": []}
        connection.send("POST", f"{place.url}/v1/messages", asked)
        connection.read("POST")
    connection.close()
    health = raw.request("GET", f"{place.url}/health")
    assert len(health.body) < 200_000, f"/health has {len(health.body)} bytes"


def little_logs(place: Arena) -> None:
    """The log files stay within their bound; a client is served."""
    folder = place.folder / "proxy" / "home" / "logs"
    size = sum(path.stat().st_size for path in folder.glob("*"))
    assert size < 1.3 * MB, f"the logs have {size} bytes"
    place.is_well()


def long_models(place: Arena) -> None:
    """Names of models that are long, and such as take long to understand."""
    before = len(place.good.calls)
    for name in (
        "x" * MB,
        "claude" + "-001" * 100_000,
        "claude" + "@a" * 200_000,
        "\n" * 100_000,
        "claude-\u0000" * 999,
    ):
        refused(place.ask(name, timeout=60), 400)
        if in_path := name[:10_000].strip():
            path = f"/v1beta/models/{in_path}:generateContent"
            refused(place.send(head("POST", path, "content-length: 2") + b"{}"))
    assert len(place.good.calls) == before


def usual_models(place: Arena) -> None:
    """A name of 200 characters is served."""
    assert place.ask("claude-" + "x" * 193).status == 200


def many_sessions(place: Arena) -> None:
    """Three thousand sessions with names of 8 kB."""
    connection = raw.RawConnection(place.url)
    body = {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    for number in range(3000):
        session = f"{number}-" + "s" * 8000
        connection.send("POST", f"{place.url}/v1/messages", body, {"x-claude-code-session-id": session})
        connection.read("POST")
    connection.close()


def long_session(place: Arena) -> None:
    """A user_id of 10 MB."""
    assert place.ask(metadata={"user_id": "u" * 10 * MB}, timeout=60).status in (200, 400)


def many_params(place: Arena) -> None:
    """A query of very many parameters."""
    for query in ("&".join(f"{number:x}" for number in range(3200)), "&" * 15_000, "a=b;" * 3900, "%41" * 5000):
        place.send(head("GET", f"/v1/models?{query}", "anthropic-version: 2023-06-01"), timeout=30)


def long_key(place: Arena) -> None:
    """A client's key of 60 kB, sought in each piece of a long answer."""
    place.evil.answer = says(200, b"[" + b"k" * 4 * MB + b"]")
    key = "k" * 60_000
    path = "/v1beta/models/evil-gemini:streamGenerateContent"
    place.send(head("POST", path, f"x-goog-api-key: {key}", "content-length: 2") + b"{}", timeout=30)


_TEXTS = ("unexpected value(s) ", "1h", "retry in 1h", "retry in 111111111111111", "thought signature missing ",
          "missing thought", "invalid ", "bound to a different ", "id function_call ", "stream ", "not support ",
          "messages.1", "limit: 0", "{", "[", '{"', '{"error":"', "A" * 39 + " ", "\n", "\u2028", "`")  # fmt: skip


def error_texts(place: Arena) -> None:
    """Errors of a megabyte that are chosen for what searches them."""
    for text in _TEXTS:
        for status in (400, 429):
            body = anthropic_error_body("invalid_request_error", text * (MB // len(text)))
            place.evil.answer = says(status, json.dumps(body).encode())
            assert place.ask("evil", timeout=60).status >= 400, text


def error_values(place: Arena) -> None:
    """Errors of a megabyte of values."""
    for item in ("0,", "{},", '"a",', '{"message":"x"},', '"{\\"message\\":\\"x\\"}",'):
        body = '{"error":[' + item * (MB // len(item)) + "0]}"
        place.evil.answer = says(400, body.encode())
        assert place.ask("evil", timeout=60).status >= 400, item


def long_path(place: Arena) -> None:
    """Paths of 15 kB, a thousand of them."""
    for number in range(1000):
        place.send(head("GET", f"/v1/files/{number}" + "p" * 15_000))
    assert len(place.logs()) < 4 * MB


def many_calls(place: Arena) -> None:
    """A turn of very many unsigned calls, when some signatures are known; and very many turns that think unsigned."""
    part = {"text": "word", "thoughtSignature": "QUJDREVG" * 10}
    chunk = {"candidates": [{"content": {"parts": [part], "role": "model"}, "finishReason": "STOP", "index": 0}]}
    place.evil.answer = says(200, json.dumps(chunk).encode())
    url = f"{place.url}/v1beta/models/evil-gemini:generateContent"
    hello = {"role": "user", "parts": [{"text": "hi"}]}
    raw.request("POST", url, {"contents": [hello]})
    for parts in (
        [{"functionCall": {"name": "f", "args": {"n": number}}} for number in range(9000)],
        [{"text": f"{number}"} for number in range(20_000)],
    ):
        contents = [hello, {"role": "model", "parts": parts}, hello]
        raw.request("POST", url, {"contents": contents}, timeout=60)
    thinking = [{"type": "thinking", "thinking": "so", "signature": ""}, {"type": "text", "text": "x"}]
    messages = [{"role": "user", "content": "hi"}, *[{"role": "assistant", "content": thinking}] * 4000]
    place.ask("evil", messages=messages, timeout=60)


def many_responses(place: Arena) -> None:
    """Very many responses to one call, for a translation that pairs them."""
    hello = {"role": "user", "parts": [{"text": "hi"}]}
    responses = [{"functionResponse": {"id": "a", "name": "f", "response": {"n": number}}} for number in range(20_000)]
    url = f"{place.url}/v1beta/models/claude-x:generateContent"
    body = {"contents": [hello, {"role": "user", "parts": responses}]}
    refused(raw.request("POST", url, body, timeout=60))


LONG_TEXTS = [
    Attack(8, "many-models", "5,000 unknown models, each a 404", "nothing is kept of them, logs bounded", many_models,
           little_logs, _LITTLE_LOG, longest_s=300),
    Attack(8, "long-models", "names of 1 MB, and -001 100,000 times", "400", long_models, usual_models),
    Attack(8, "many-sessions", "3,000 sessions with names of 8 kB", "others unhurt", many_sessions,
           longest_s=300),
    Attack(8, "long-session", "a user_id of 10 MB", "others unhurt", long_session, memory=150 * MB),
    Attack(8, "long-paths", "1,000 paths of 15 kB", "short lines in the log", long_path),
    Attack(8, "many-params", "queries of thousands of parameters", "others unhurt", many_params),
    Attack(8, "long-key", "a key of 60 kB, sought in 4 MB", "others unhurt", long_key),
    Attack(8, "many-calls", "turns of 9,000 calls, 20,000 texts, 4,000 thoughts without signatures", "others unhurt",
           many_calls, memory=300 * MB),
    Attack(8, "many-responses", "20,000 responses to one call", "400, others unhurt", many_responses,
           memory=150 * MB),
    Attack(9, "error-texts", "42 errors of 1 MB that are made for regular expressions", "told, others unhurt",
           error_texts, setup=_QUICK, memory=100 * MB),
    Attack(9, "error-values", "errors of 1 MB of tiny values", "told, others unhurt", error_values, setup=_QUICK,
           memory=150 * MB),
]  # fmt: skip
