import json
import shlex
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from antigravity_healing.policy.settings.file import ConfigError, find, load, misread, parse
from antigravity_healing.policy.settings.schema import (
    BUILT_IN,
    AccountSettings,
    CaptureSettings,
    Config,
    Peek,
    PeekOverrides,
    Upstream,
    split_target,
)
from antigravity_healing.policy.settings.source_notation import Source, parse_source
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

FOLDER = Path("/etc/healing")


def config(text: str) -> Config:
    return parse(text, "antigravity.toml", FOLDER)


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "antigravity.toml", FOLDER)
    lines = str(caught.value).splitlines()
    assert all(line.startswith("antigravity.toml:") for line in lines)
    return [line.removeprefix("antigravity.toml:").strip() for line in lines]


def problem(text: str | bytes) -> str:
    (only,) = problems(text)
    return only


def account(text: str) -> str:
    return f'[[accounts]]\nname = "work"\n{text}\n'


DESIGN = """
[[accounts]]
name = "work"
email = "me@work.example"
upstream = "anthropic"
api_key = "env:ANTHROPIC_API_KEY"
headers = { "x-team" = "a" }
priority = 0
weight = 1
models = ["claude-*"]

[[accounts]]
name = "vertex"
upstream = "gemini"
bearer = "cmd:gcloud auth print-access-token"
ttl = 60

[upstreams.local]
dialect = "anthropic"
url = "http://127.0.0.1:9000/"

[models]
"claude-3-5-haiku-*" = "claude-haiku-4-5"
"claude-opus-*" = "gemini/gemini-3-pro-preview"
"slow" = { peek = { first_content = 900 } }

[retry]
max_attempts = 5
strategy = "least_used"

[peek]
first_byte = 100
silence = false
commit = "first_visible"

[clients]
keys = ["env:GATEWAY_KEY"]
loopback_only = true

[flows]
max_body_bytes = 1000

[capture]
max_exchanges = 20
"""


def secret(value: object) -> str:
    assert hasattr(value, "get_secret_value")
    text = value.get_secret_value()
    assert isinstance(text, str)
    return text


def test_the_whole_file() -> None:
    found = config(DESIGN)
    work, vertex = found.accounts
    assert (work.name, work.email, work.label, work.upstream) == ("work", "me@work.example", work.email, "anthropic")
    assert secret(work.api_key) == "env:ANTHROPIC_API_KEY"
    assert {name: secret(value) for name, value in work.headers.items()} == {"x-team": "a"}
    assert (work.priority, work.weight, work.models, work.ttl) == (0, 1.0, ("claude-*",), 300.0)
    assert (vertex.label, vertex.models, vertex.ttl, vertex.api_key) == ("vertex", ("*",), 60.0, None)
    assert secret(vertex.bearer) == "cmd:gcloud auth print-access-token"
    assert found.upstreams["local"].url == "http://127.0.0.1:9000"
    assert list(found.models) == ["claude-3-5-haiku-*", "claude-opus-*", "slow"]
    assert (found.retry.max_attempts, found.retry.strategy) == (5, "least_used")
    assert found.peek == Peek(first_byte=100, silence=None, commit="first_visible")
    assert [secret(key) for key in found.clients.keys] == ["env:GATEWAY_KEY"]
    assert found.flows.max_body_bytes == 1000
    assert found.capture == CaptureSettings(max_exchanges=20)


def test_without_a_file() -> None:
    assert config("") == Config()
    assert Config().accounts == ()
    assert {name: (up.dialect, up.host, up.port) for name, up in Config().upstreams.items()} == {
        "anthropic": ("anthropic", "api.anthropic.com", 443),
        "gemini": ("gemini", "generativelanguage.googleapis.com", 443),
    }
    assert (Config().retry.max_attempts, Config().retry.max_wait, Config().retry.grace) == (3, 30.0, 2.0)
    peek = Config().peek
    assert (peek.first_byte, peek.silence, peek.first_content, peek.idle) == (300.0, 120.0, 600.0, 300.0)
    assert (peek.soft_commit, peek.first_byte_json, peek.keep_alive, peek.commit) == (
        15.0,
        600.0,
        10.0,
        "first_content",
    )
    assert Config().clients.loopback_only
    assert Config().clients.account_header
    assert Config().flows.max_body_bytes == 8 * 1024 * 1024
    capture = Config().capture
    log = Config().request_log
    assert (log.enabled, log.days, log.rows, log.bytes) == (True, 30, 1_000_000, 512 * 1024 * 1024)
    assert (capture.enabled, capture.max_exchanges, capture.max_bytes, capture.days) == (True, 200, 64 * 1024 * 1024, 7)


def test_what_is_loaded_does_not_change() -> None:
    with pytest.raises(ValidationError):
        Config().retry.max_attempts = 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("env:KEY", Source("env", "KEY")),
        ("file:key.txt", Source("file", "/etc/healing/key.txt")),
        ("file:sub/key", Source("file", "/etc/healing/sub/key")),
        ("file:/run/key", Source("file", "/run/key")),
        ("file:~/key", Source("file", "/home/me/key")),
        ("cmd:pass show a | head -1", Source("cmd", "pass show a | head -1")),
        ("cmd:env:x", Source("cmd", "env:x")),
        ("sk-ant-1", Source("literal", "sk-ant-1")),
        ("a:b", Source("literal", "a:b")),
        ("env", Source("literal", "env")),
    ],
)
def test_sources(text: str, expected: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_source(text, FOLDER) == expected


def test_a_path_without_a_folder_stays_relative() -> None:
    assert parse_source("file:key.txt") == Source("file", "key.txt")


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "  ",
            "env:",
            "env: ",
            "env:A=1",
            "file:",
            "file:~nobody-has-this-name/x",
            "file:a\0b",
            "cmd:",
            "cmd: ",
            "cmd:''",
            "cmd:a 'b",
            "cmd:a \\",
        ),
        *(" padded", "padded ", "two\nlines", "tab\there", "schlüssel"),
    ],
)
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        parse_source(text, FOLDER)
    assert len(text) < 8 or text not in str(caught.value)


def test_a_file_is_relative_to_the_configuration() -> None:
    (found,) = config(account('api_key = "file:key.txt"')).accounts
    assert secret(found.api_key) == "file:/etc/healing/key.txt"


def test_secrets_do_not_show() -> None:
    text = account('api_key = "sk-hush"\nheaders = { x-a = "hush-2" }') + '[clients]\nkeys = ["hush-3"]'
    found = config(text)
    assert "hush" not in f"{found!r} {found} {found.accounts!r} {found.clients!r} {found.model_dump()}"
    assert "hush" not in found.model_dump_json()
    assert "hush" not in repr(parse_source("hush")) + repr(parse_source("cmd:echo hush"))
    assert "KEY" in repr(parse_source("env:KEY"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('api_kee = "x"', 'accounts[0] ("work"): unknown key "api_kee"; did you mean "api_key"?'),
        ("", 'accounts[0] ("work"): has no credential; give it an api_key, a bearer or headers'),
        ("headers = {}", 'accounts[0] ("work"): has no credential; give it an api_key, a bearer or headers'),
        ('api_key = "a"\nbearer = "b"', 'accounts[0] ("work"): has both api_key and bearer; keep one of them'),
        ('api_key = "env:"', 'accounts[0] ("work").api_key: names no environment variable; write "env:NAME"'),
        ('api_key = "$MY_KEY"', 'accounts[0] ("work").api_key: is how a shell names a variable; write "env:NAME"'),
        ('api_key = "${my_key}"', 'accounts[0] ("work").api_key: is how a shell names a variable; write "env:NAME"'),
        ('api_key = "env:$MY_KEY"', 'accounts[0] ("work").api_key: names no environment variable; write "env:NAME"'),
        (
            'api_key = "ENV:KEY"',
            'accounts[0] ("work").api_key: has to begin with "env:", in lower case and without a space before it',
        ),
        (
            'bearer = "Bearer hush"',
            'accounts[0] ("work"): bearer must not begin with "Bearer ", which bearer = "…" puts before it by itself',
        ),
        ("api_key = 1", 'accounts[0] ("work").api_key: expected a string, got a number'),
        ("api_key = ['a']", 'accounts[0] ("work").api_key: expected a string, got a list'),
        ("headers = 'a'", 'accounts[0] ("work").headers: expected a table, got a string'),
        ("headers = { x-a = 1 }", 'accounts[0] ("work").headers.x-a: expected a string, got a number'),
        ("headers = { 'x a' = '1' }", 'accounts[0] ("work").headers: "x a" cannot be the name of a header'),
        ("api_key = 'a'\nweight = 0", 'accounts[0] ("work").weight: expected a number greater than 0'),
        ("api_key = 'a'\nweight = inf", 'accounts[0] ("work").weight: expected a number greater than 0'),
        (
            "api_key = 'a'\nttl = 'x'",
            'accounts[0] ("work").ttl: expected a number of seconds greater than 0, got a string',
        ),
        (
            "api_key = 'a'\npriority = 1.5",
            'accounts[0] ("work").priority: expected a whole number, got a decimal number',
        ),
        ("api_key = 'a'\npriority = true", 'accounts[0] ("work").priority: expected a whole number, got true or false'),
        ("api_key = 'a'\nmodels = 'x'", 'accounts[0] ("work").models: expected a list, got a string'),
        ("api_key = 'a'\nmodels = []", 'accounts[0] ("work").models: must not be empty; leave it out instead'),
        ("api_key = 'a'\nmodels = ['x', 1]", 'accounts[0] ("work").models[1]: expected a string, got a number'),
        (
            'api_key = "a"\nupstream = "anthropc"',
            'accounts[0] ("work").upstream: there is no upstream "anthropc"; did you mean "anthropic"?',
        ),
        (
            'api_key = "a"\nupstream = "openai"',
            'accounts[0] ("work").upstream: there is no upstream "openai"; what can be there: anthropic, gemini',
        ),
        (
            'headers = { X-A = "1", x-a = "2" }',
            'accounts[0] ("work").headers: "X-A" is given twice; upper and lower case are the same here',
        ),
    ],
)
def test_a_wrong_account(text: str, expected: str) -> None:
    assert problems(account(text))[0] == expected


@pytest.mark.parametrize("name", ["", " ", "a ", "a\\nb", "a\\u0000"])
def test_a_wrong_name(name: str) -> None:
    assert "must not be empty, nor have line breaks" in problem(f'[[accounts]]\nname = "{name}"\napi_key = "a"')


def test_names() -> None:
    assert problem('[[accounts]]\napi_key = "x"') == 'accounts[0]: "name" is missing'
    reserved = problem('[[accounts]]\nname = "client"\napi_key = "x"')
    assert reserved.startswith('accounts[0] ("client").name: "client" is reserved')
    twice = problem(account('api_key = "a"') + '[[accounts]]\nname = "b"\napi_key = "b"\n' + account('api_key = "c"'))
    assert twice.startswith('accounts[2] ("work").name: accounts[0] has the same name')


def test_accounts_that_are_no_list() -> None:
    expected = "accounts: expected a list of tables, each under [[accounts]], got a table"
    assert problem('[accounts.work]\napi_key = "x"') == expected
    assert problem("accounts = [1]") == "accounts[0]: expected a table, got a number"


def test_a_key_may_look_a_little_like_a_variable() -> None:
    for key in ("$ecret-0123", "$1", "a$B", "100%", "environment", "key:env:X"):
        assert secret(config(account(f"api_key = '{key}'")).accounts[0].api_key) == key
    assert config(account("headers = { authorization = 'Bearer x' }")).accounts
    assert config('[clients]\nhosts = ["a.b", "192.168.0.1", "fd00::1", "[fd00::1]"]').clients.hosts


def test_all_problems_are_told_at_once() -> None:
    found = problems("[retry]\nmax_attempts = 0\n[peek]\nidle = 0\n[peak]\n" + account("weight = 0"))
    assert len(found) == 4
    several = problems(account('api_key = "x"\nupstream = "nowhere"') + '[models]\na = "gemni/x"')
    assert len(several) == 2


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:9000", ("http", "127.0.0.1", 9000, "")),
        ("https://Example.com/", ("https", "example.com", 443, "")),
        ("HTTP://example.com", ("http", "example.com", 80, "")),
        ("https://example.com/a/b//", ("https", "example.com", 443, "/a/b")),
        ("http://[::1]:81/x", ("http", "::1", 81, "/x")),
    ],
)
def test_urls(url: str, expected: tuple[str, str, int, str]) -> None:
    up = Upstream(dialect="gemini", url=url)
    assert (up.scheme, up.host, up.port, up.path) == expected
    assert not up.url.endswith("/")


@pytest.mark.parametrize(
    "url",
    [
        *("", "api.example.com", "//a.b", "ftp://a.b", "https://", "https:///x", "https://a b", " https://a.b"),
        *("https://a.b?key=hush", "https://a.b/?", "https://a.b#", "https://me:hush@a.b", "http://[::1"),
        *("https://a.b:0", "https://a.b:99999", "https://a.b:x"),
        *("https://a.b/ü", "https://bücher.example", "https://a.b\\n/x"),
        *("https://a.b/v1/messages", "https://a.b/v1beta/models/", "https://a.b/v1beta/models/m:generateContent"),
    ],
)
def test_wrong_urls(url: str) -> None:
    text = problem(f'[upstreams.up]\ndialect = "gemini"\nurl = "{url}"')
    assert text.startswith("upstreams.up.url: ")
    assert "hush" not in text


@pytest.mark.parametrize(
    ("url", "target", "whole"),
    [
        ("https://a.b/x", "/v1/messages", "/x/v1/messages"),
        ("https://a.b/x/v1", "/v1/messages?a=/v1/b", "/x/v1/messages?a=/v1/b"),
        ("https://a.b/v1beta", "/v1/models/m:generateContent", "/v1beta/models/m:generateContent"),
        ("https://a.b/v1beta", "/upload/v1beta/files", "/upload/v1beta/files"),
        ("https://a.b/v1x/y", "/v1/messages", "/v1x/y/v1/messages"),
        ("https://a.b/messages/models", "/v1/messages", "/messages/models/v1/messages"),
    ],
)
def test_the_whole_path_has_one_version_that_of_the_url_if_it_has_one(url: str, target: str, whole: str) -> None:
    assert Upstream(dialect="gemini", url=url).whole(target) == whole


def test_a_built_in_upstream_can_be_moved() -> None:
    found = config('[upstreams.gemini]\nurl = "http://localhost:1"').upstreams
    assert found["gemini"] == Upstream(dialect="gemini", url="http://localhost:1")
    assert found["anthropic"] == Config().upstreams["anthropic"]
    assert problem('[upstreams.other]\nurl = "http://localhost:1"') == 'upstreams.other: "dialect" is missing'
    # One that speaks another dialect is another.
    assert problem("[upstreams.gemini]\ndialect = 'anthropic'") == 'upstreams.gemini: "url" is missing'


def test_a_built_in_upstream_stays_where_it_is_if_only_its_connections_are_given() -> None:
    found = config("[upstreams.gemini]\nconnections = 7").upstreams["gemini"]
    assert found == BUILT_IN["gemini"].model_copy(update={"connections": 7})
    assert BUILT_IN["gemini"].connections == 100
    assert Config().upstreams["gemini"].url == "https://generativelanguage.googleapis.com"


def test_wrong_upstreams() -> None:
    assert problem("upstreams = 1") == "upstreams: expected a table, got a number"
    assert problem('upstreams.gemini = "http://x"') == "upstreams.gemini: expected a table, got a string"
    wrong = problem('[upstreams."a/b"]\nurl = "http://x"\ndialect = "gemini"')
    assert wrong.startswith('upstreams."a/b": the name of an upstream may only have')
    text = problem('[upstreams.a]\nurl = "http://x"\ndialect = "openai"')
    assert text == "upstreams.a.dialect: expected 'anthropic' or 'gemini'"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('"a-*" = "b-*"', 'models."a-*": a "*" in the target is not supported; write out the name of one model'),
        ('a = { to = "*" }', 'models.a: a "*" in the target is not supported; write out the name of one model'),
        ('a = "gemini/"', 'models.a: names no model; write "model" or "upstream/model"'),
        ('a = "/x"', 'models.a: names no model; write "model" or "upstream/model"'),
        ("a = 3", 'models.a: expected "model", "upstream/model" or a table with to and peek, got a number'),
        ("a = { too = 'b' }", 'models.a: unknown key "too"; did you mean "to"?'),
        (
            "a = { peek = { first_contnt = 1 } }",
            'models.a.peek: unknown key "first_contnt"; did you mean "first_content"?',
        ),
        (
            "a = { peek = { keep_alive = false } }",
            "models.a.peek.keep_alive: expected a number of seconds greater than 0, got true or false",
        ),
        ('"" = "b"', 'models."": this cannot be the name or pattern of a model'),
    ],
)
def test_wrong_models(line: str, expected: str) -> None:
    assert problem(f"[models]\n{line}") == expected


@pytest.mark.parametrize("target", ["", " ", "a ", "a\\tb"])
def test_wrong_targets(target: str) -> None:
    assert problem(f'[models]\na = "{target}"').startswith("models.a: must not be empty")


@pytest.mark.parametrize("target", ["anthropc/claude", "Gemini/x", "geminy/x", "gemini-/x"])
def test_a_misspelt_upstream(target: str) -> None:
    assert "did you mean" in problem(f'[models]\na = "{target}"')


@pytest.mark.parametrize("target", ["models/x", "publishers/google/models/x", "accounts/a/models/b", "meta/llama"])
def test_a_model_with_slashes(target: str) -> None:
    found = config(f'[models]\na = "{target}"')
    assert split_target(found.models["a"].to or "", found.upstreams) == (None, target)


def test_the_way_out_of_a_near_miss() -> None:
    config('[models]\na = "gemini/gemni/x"')


@pytest.mark.parametrize("key", ["first_byte", "silence", "first_content", "idle", "soft_commit"])
def test_a_clock_can_be_turned_off(key: str) -> None:
    assert getattr(config(f"[peek]\n{key} = false").peek, key) is None
    hint = f"peek.{key}: expected a number of seconds greater than 0, or false to turn it off"
    for value in ("0", "-1", "nan", "inf", "9" * 400):
        assert problem(f"[peek]\n{key} = {value}") == hint
    assert problem(f"[peek]\n{key} = true") == f"{hint}, got true or false"
    assert problem(f"[peek]\n{key} = '1'") == f"{hint}, got a string"
    rule = config(f"[models]\na = {{ peek = {{ {key} = false }} }}").models["a"]
    assert getattr(Peek().merged(rule.peek), key) is None


def test_merging_clocks() -> None:
    peek = Peek(idle=None, silence=5)
    assert peek.merged(PeekOverrides()) == peek
    assert peek.merged(PeekOverrides(idle=7, silence=False, commit="first_event")) == Peek(
        idle=7, silence=None, commit="first_event"
    )
    assert PeekOverrides(idle=False) != PeekOverrides()
    assert set(PeekOverrides.model_fields) == set(Peek.model_fields)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[retry]\nmax_attempts = 11", "retry.max_attempts: must be at most 10"),
        ("[retry]\nmax_attempts = 0", "retry.max_attempts: must be at least 1"),
        ("[upstreams.anthropic]\nconnections = 0", "upstreams.anthropic.connections: must be at least 1"),
        (
            "[upstreams.anthropic]\nconnections = '9'",
            "upstreams.anthropic.connections: expected a whole number, got a string",
        ),
        ("[retry]\nmax_attempts = 2.5", "retry.max_attempts: expected a whole number, got a decimal number"),
        ("[retry]\nmax_wait = -1", "retry.max_wait: expected a number of seconds, 0 or more"),
        ("[retry]\nstrategy = 'x'", "retry.strategy: expected 'affinity', 'round_robin' or 'least_used'"),
        ("[retry]\nstrategies = 'x'", 'retry: unknown key "strategies"; did you mean "strategy"?'),
        ("retry = []", "retry: expected a table, got a list"),
        (
            "[peek]\nkeep_alive = false",
            "peek.keep_alive: expected a number of seconds greater than 0, got true or false",
        ),
        ("[clients]\nkeys = 'k'", "clients.keys: expected a list, got a string"),
        (
            "[clients]\nkeys = ['k', '']",
            "clients.keys[1]: is empty; write env:NAME, file:PATH, cmd:COMMAND or the value",
        ),
        ('[clients]\nhosts = ["https://a.b"]', 'clients.hosts: takes names alone, like "proxy.lan": without http://'),
        ('[clients]\nhosts = ["a.b:8080"]', 'clients.hosts: takes names alone, like "proxy.lan": without http://'),
        ("[clients]\nloopback_only = 1", "clients.loopback_only: expected true or false, got a number"),
        ("[clients]\nloopback_onyl = true", 'clients: unknown key "loopback_onyl"; did you mean "loopback_only"?'),
        ("[flows]\nmax_body_bytes = -1", "flows.max_body_bytes: must be at least 0"),
        ("[flows]\nx = 1", 'flows: unknown key "x"; what can be there: max_body_bytes'),
        ("[capture]\nenabled = 1", "capture.enabled: expected true or false, got a number"),
        ("[capture]\nmax_exchanges = 0", "capture.max_exchanges: must be at least 1"),
        ("[capture]\nmax_bytes = 1", "capture.max_bytes: must be at least 65536"),
        ("[capture]\ndays = 1.5", "capture.days: expected a whole number, got a decimal number"),
        ("[capture]\ndays = 4000", "capture.days: must be at most 3650"),
        ("[capture]\nmax_byte = 1", 'capture: unknown key "max_byte"; did you mean "max_bytes"?'),
        ("[request_log]\nenabled = 1", "request_log.enabled: expected true or false, got a number"),
        ("[request_log]\ndays = 0", "request_log.days: must be at least 1"),
        ("[request_log]\ndays = 4000", "request_log.days: must be at most 3650"),
        ("[request_log]\nrows = 10", "request_log.rows: must be at least 1000"),
        ("[request_log]\nbytes = 1.5", "request_log.bytes: expected a whole number, got a decimal number"),
        ("[request_log]\nbytes = 1000", "request_log.bytes: must be at least 8388608"),
        ("[request_log]\nmax_rows = 1", 'request_log: unknown key "max_rows"; did you mean "rows"?'),
        ("[request_logs]\n", 'unknown key "request_logs"; did you mean "request_log"?'),
        ("[flow]\n", 'unknown key "flow"; did you mean "flows"?'),
        ("models = 2020-01-01", "models: expected a table, got a date or time"),
    ],
)
def test_other_tables(text: str, expected: str) -> None:
    assert problem(text).startswith(expected)


def test_no_waiting_at_all_is_a_choice() -> None:
    assert config("[retry]\nmax_wait = 0\ngrace = 0").retry.max_wait == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 'x'\nb =", "2:4: is not TOML: "),
        ('a = "x\nb = 3', "1:7: is not TOML: a string without its closing quote"),
        ("a = x", "1:5: is not TOML: no value that TOML knows; a string needs quotes around it"),
        ("a = 1\na = 2", "2:6: is not TOML: this key or table is there already"),
        ("[a]\n[a]", "2:3: is not TOML: this key or table is there already"),
        ("a = { b = 1, b = 2 }", "1:19: is not TOML: this key or table is there already"),
        ("a = [1,\n", "2:1: is not TOML: "),
        ("a = " + "9" * 5000, "is not TOML that can be read: "),
        ("a = " + "[" * 50_000, "is not TOML that can be read: "),
        (b"a = 1\nb = '\xff'", "2: is not UTF-8; "),
        ("a = 1\n".encode("utf-16"), "1: is not UTF-8; "),
    ],
)
def test_what_is_no_toml(text: str | bytes, expected: str) -> None:
    assert problem(text).startswith(expected)


def test_bytes_windows_lines_and_a_byte_order_mark() -> None:
    assert parse(b"\xef\xbb\xbf[retry]\r\nmax_attempts = 4\r\n", "x", FOLDER).retry.max_attempts == 4


@pytest.mark.parametrize("text", ["", " \n", "# nothing yet\n", "[clients]\n", "\ufeff"])
def test_a_file_in_which_nothing_is_said_takes_the_place_of_no_configuration(tmp_path: Path, text: str) -> None:
    path = tmp_path / "antigravity.toml"
    path.write_text(text, "utf-8")
    assert load(path) == load(path, Config()) == Config()
    with pytest.raises(ConfigError, match="nothing is said in it"):
        load(path, parse("[retry]\nmax_attempts = 4", "x", FOLDER))


def test_an_account_says_where_it_stands_with_the_folder_where_that_is_not_the_one_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "antigravity.toml"
    path.write_text(account('api_key = "k"'), "utf-8")
    assert [each.place for each in load(path).accounts] == [f"{path}, accounts[0]"]
    monkeypatch.chdir(tmp_path)
    for here in (path, Path("antigravity.toml")):
        assert [each.place for each in load(here).accounts] == ["antigravity.toml, accounts[0]"]


def test_a_file_in_which_something_is_said_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "antigravity.toml"
    path.write_text("[retry]\nmax_attempts = 5", "utf-8")
    assert load(path, parse(account('api_key = "k"'), "x", FOLDER)).retry.max_attempts == 5


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "antigravity.toml"
    path.write_text(account('api_key = "file:key"'), "utf-8")
    assert secret(load(path).accounts[0].api_key) == f"file:{tmp_path / 'key'}"
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(ConfigError, match="cannot be read: Not a directory"):
        load(path / "x")
    with pytest.raises(ConfigError, match="cannot be read: the path is not valid"):
        load(Path("a\0b"))
    path.write_text("[peak]")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f'{path}: unknown key "peak"; did you mean "peek"?'


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    here.mkdir()
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert find("", here, home) is None
    (home / "antigravity.toml").touch()
    assert find("", here, home) == home / "antigravity.toml"
    (here / "antigravity.toml").mkdir()
    assert find("", here, home) == home / "antigravity.toml"
    (here / "antigravity.toml").rmdir()
    (here / "antigravity.toml").touch()
    assert find("", here, home) == here / "antigravity.toml"
    (here / "other.toml").touch()
    assert find("other.toml", here, home) == here / "other.toml"
    assert find("~/antigravity.toml", here, home) == home / "antigravity.toml"
    for option in ("none.toml", "a\0b", "~nobody-has-this-name/x"):
        with pytest.raises(ConfigError):
            find(option, here, home)


HUSH = "Zq7HUSHq7Z"
_wrong = st.sampled_from([0, -1, 1.5, True, False, "", "x", "a b", [], [1], {}, {"x": 1}, "gemni/x", "b*", "/"])
_keys = st.sampled_from(
    [
        *("accounts", "upstreams", "models", "retry", "peek", "clients", "flows", "capture", "name", "email"),
        *("api_key", "bearer", "headers", "priority", "weight", "ttl", "url", "dialect", "to", "idle", "commit"),
        *("keys", "api_kee", "upstream"),
    ]
)
_secrets = st.builds(
    lambda shape, wrapped: [shape] if wrapped else shape,
    st.sampled_from([f"{p}{HUSH}{s}" for p in ("", "sk-", "env:A=", "cmd:", " ", "ü") for s in ("", " ", "\n", "\0")]),
    st.sampled_from([False, False, False, True]),
)


def _tables(value: object) -> list[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return ([value] if isinstance(value, dict) else []) + [table for item in inner for table in _tables(item)]


def _toml(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _message(text: str) -> str:
    try:
        return repr(config(text))
    except ConfigError as error:
        # The errors it comes from hold the values: it must not carry them into a traceback.
        return f"{error} {error.__cause__!r} {error.__context__!r}"


@given(st.data())
def test_no_message_shows_a_secret(data: st.DataObject) -> None:
    tree: dict[str, Any] = {
        "accounts": [
            {"name": "a", "api_key": data.draw(_secrets), "headers": {"x-a": data.draw(_secrets)}},
            {"name": "b", "bearer": data.draw(_secrets), "weight": 2},
        ],
        "upstreams": {"local": {"dialect": "gemini", "url": "http://localhost:1"}},
        "models": {"a*": "local/x", "b": {"to": "c", "peek": {"idle": 3}}},
        "retry": {"max_attempts": 3},
        "peek": {"idle": False},
        "clients": {"keys": [data.draw(_secrets), data.draw(_secrets)]},
    }
    for _ in range(data.draw(st.integers(0, 4))):
        table = data.draw(st.sampled_from(_tables(tree)))
        match data.draw(st.sampled_from(["put", "drop", "rename"])):
            case "put":
                table[data.draw(_keys)] = deepcopy(data.draw(_wrong))
            case "drop" if table:
                del table[data.draw(st.sampled_from(sorted(table)))]
            case "rename" if table:
                old, new = data.draw(st.sampled_from(sorted(table))), data.draw(_keys)
                # These are for people to see; a secret put there is no secret.
                if new not in ("name", "email", "upstream", "to") or HUSH not in json.dumps(table[old]):
                    table[new] = table.pop(old)
    text = "\n".join(f"{key} = {_toml(value)}" for key, value in tree.items())
    assert HUSH not in _message(text)


@given(st.data())
def test_no_syntax_error_shows_a_secret(data: st.DataObject) -> None:
    text = account(f'api_key = "{HUSH}"\nheaders = {{ x-a = "{HUSH}" }}') + f'[clients]\nkeys = ["{HUSH}", "{HUSH}"]\n'
    at = data.draw(st.integers(0, len(text)))
    end = min(len(text), at + data.draw(st.integers(0, 3)))
    broken = text[:at] + data.draw(st.text(alphabet="\"'[]{}=,.#\n\\ x", max_size=3)) + text[end:]
    assert HUSH not in _message(broken)


def test_building_an_account_in_code_shows_no_secret() -> None:
    with pytest.raises(ValidationError) as caught:
        AccountSettings.model_validate({"name": "a", "api_key": f" {HUSH}", "bearer": HUSH, "weight": 0, "other": HUSH})
    assert HUSH not in str(caught.value)


@pytest.mark.parametrize(
    "command", ["a | b", "a && b", "a; b", "echo $HOME", "echo $(b)", "echo `b`", "a > b", "~/bin/a"]
)
def test_a_command_that_seems_to_be_for_a_shell_is_told(command: str) -> None:
    for written, expected in ((command, True), (f"sh -c {shlex.quote(command)}", False)):
        config = Config.model_validate({"accounts": [{"name": "work", "api_key": f"cmd:{written}"}]})
        assert bool(misread(config)) is expected
        assert not any(command in line for line in misread(config))


@pytest.mark.parametrize("command", ["pass show a", "gcloud auth print-access-token --scopes=a,b", "echo 'a;b' a&b 5$"])
def test_a_command_that_is_for_none_is_not(command: str) -> None:
    assert misread(Config.model_validate({"accounts": [{"name": "work", "api_key": f"cmd:{command}"}]})) == []


def on_vertex(text: str, more: str = "") -> Upstream:
    return config(f'[upstreams.v]\ndialect = "gemini"\n{text}\n{more}').upstreams["v"]


@pytest.mark.parametrize(
    ("text", "url", "project", "location"),
    [
        ('project = "p"', "https://aiplatform.googleapis.com", "p", "global"),
        ('project = "p"\nlocation = "eu"', "https://aiplatform.eu.rep.googleapis.com", "p", "eu"),
        ('location = "us-east5"', "https://us-east5-aiplatform.googleapis.com", None, "us-east5"),
        (
            'url = "https://us-east5-aiplatform.googleapis.com/"',
            *("https://us-east5-aiplatform.googleapis.com", None, "us-east5"),
        ),
        (
            'url = "https://gate.way/x/v1/projects/p/locations/l/publishers/google"',
            *("https://gate.way/x", "p", "l"),
        ),
        ('url = "https://gate.way"\nproject = "p"', "https://gate.way", "p", "global"),
        ('url = "https://aiplatform.googleapis.com.a.b"', "https://aiplatform.googleapis.com.a.b", None, None),
    ],
)  # fmt: skip
def test_where_on_vertex_an_upstream_is(text: str, url: str, project: str | None, location: str | None) -> None:
    found = on_vertex(text)
    assert (found.url, found.project, found.location, found.on_vertex) == (url, project, location, location is not None)


def test_a_built_in_upstream_can_be_moved_to_vertex() -> None:
    found = config('[upstreams.gemini]\nproject = "p"').upstreams
    assert (found["gemini"].url, found["gemini"].on_vertex) == ("https://aiplatform.googleapis.com", True)
    assert not found["anthropic"].on_vertex


def test_an_account_has_a_project_and_a_location_of_its_own() -> None:
    text = '[upstreams.v]\ndialect = "gemini"\nproject = "p"\nlocation = "us-east5"\n'
    text += '[[accounts]]\nname = "a"\nupstream = "v"\nbearer = "adc:"\nproject = "q"\n'
    text += '[[accounts]]\nname = "b"\nupstream = "v"\nbearer = "adc:key.json"\nlocation = "global"\n'
    found = config(text)
    first, second = map(found.upstream_of, found.accounts)
    assert (first.project, first.url) == ("q", "https://us-east5-aiplatform.googleapis.com")
    assert (second.project, second.url) == ("p", "https://aiplatform.googleapis.com")
    assert [secret(each.bearer) for each in found.accounts] == ["adc:", f"adc:{FOLDER}/key.json"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[upstreams.v]\ndialect = "gemini"\nproject = "a/b"', "upstreams.v.project: may only have"),
        ('[upstreams.v]\ndialect = "gemini"\nlocation = "a b"', "upstreams.v.location: may only have"),
        (
            '[upstreams.v]\ndialect = "gemini"\nproject = "a"\nurl = "https://x.y/v1/projects/p/locations/l"',
            "project is another one than the url says",
        ),
        (account('api_key = "k"\nproject = "p"'), '.project: upstream "anthropic" is not on Vertex AI'),
        (account('api_key = "adc:"'), "api_key can't come from adc:"),
        (account('bearer = "k"\nheaders = { a = "adc:" }'), "a can't come from adc:"),
        ('[clients]\nkeys = ["adc:"]', "can't come from cmd: or adc:"),
    ],
)
def test_what_is_wrong_with_vertex_is_said(text: str, words: str) -> None:
    assert any(words in problem for problem in problems(text)), problems(text)


def test_a_wrong_location_is_the_only_thing_that_is_wrong() -> None:
    assert len(problems('[upstreams.v]\ndialect = "gemini"\nproject = "p"\nlocation = "eu west"')) == 1
