import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from antigravity_healing.proxy.secrets.redaction import Redaction
from antigravity_healing.proxy.secrets.spellings import AS_IN_JSON, AS_IN_URLS, Rough, Spelled, roughly
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.work import calls_made

steady = settings(deadline=None, derandomize=True)
SECRET = "sk-ant/0123+45=67"
# Among them what JSON and URLs escape, and what escapes are made of.
secrets = st.text('abnu\\/+=%"-_.~0019é', min_size=8, max_size=14)
texts = st.text('abn {}\\/"%u0é\n', max_size=12)
ODD = (b"\\u00", b"41", b"%", b"=", b"\\", b"a", b"u0041", b"3", b"D", b"%25", b"%3d", b"\\u0025", b"\\u005c",
       b"\\u00e9", "é".encode(), b"\n", b"\r", b"\\u000a", b"\0", b" ")  # fmt: skip
SPELLINGS = ("as it is", "JSON", "JSON with slashes", "unicode", "URL", "lower URL", "JSON in JSON", "mixed")


def spelled(secret: str, how: str) -> str:
    match how:
        case "JSON":
            return json.dumps(secret, ensure_ascii=False)[1:-1]
        case "JSON with slashes":
            return json.dumps(secret)[1:-1].replace("/", "\\/")
        case "unicode":
            return "".join(f"\\u{ord(char):04X}" for char in secret)
        case "URL":
            return quote(secret, safe="")
        case "lower URL":
            return "".join(f"%{byte:02x}" for byte in secret.encode())
        case "JSON in JSON":
            return json.dumps(json.dumps(secret))[3:-3]
        case "mixed" if "%" not in secret:
            return "".join(
                f"\\u{ord(char):04x}" if place % 3 == 0 else quote(char, safe="") for place, char in enumerate(secret)
            )
    return secret


@steady
@given(secrets, texts, texts, st.sampled_from(SPELLINGS))
def test_a_secret_is_found_in_every_spelling(secret: str, before: str, after: str, how: str) -> None:
    data = f"<{before}|{spelled(secret, how)}|{after}>".encode()
    redacted = Redaction([secret]).redact(data)
    assert spelled(secret, how).encode() not in redacted
    assert b"[redacted]" in redacted or secret.isdigit()


@steady
@given(secrets, st.lists(texts, max_size=3), st.sampled_from(["JSON", "JSON with slashes", "unicode"]), st.booleans())
def test_what_was_json_is_json_still(secret: str, words: list[str], how: str, same_length: bool) -> None:
    mark = "@MARK@"
    value = {"a": [*words, mark, *words], mark: f"{words}{mark}\n{mark}", "b": 1.5}
    data = json.dumps(value).replace(mark, spelled(secret, how)).encode()
    redacted = Redaction([secret]).redact(data, same_length=same_length)
    assert secret not in repr(json.loads(redacted)["a"])
    assert len(redacted) == len(data) or not same_length


@steady
@given(secrets, texts, texts, st.sampled_from(SPELLINGS), st.data())
def test_pieces_are_redacted_as_the_whole(secret: str, before: str, after: str, how: str, data: st.DataObject) -> None:
    whole = f"{before}|{spelled(secret, how)}|{after}".encode()
    redaction = Redaction([secret])
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    piecewise, out = redaction.piecewise(), b""
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        out += piecewise.feed(whole[start:end])
    out += piecewise.feed(b"", last=True)
    # An escape that was cut before the secret began may leave its backslash.
    assert out.replace(b"\\", b"") == redaction.redact(whole).replace(b"\\", b"")


@steady
@given(st.lists(st.sampled_from(ODD), max_size=30).map(b"".join), st.data())
def test_whatever_is_spelled_is_also_seen_roughly(data: bytes, draw: st.DataObject) -> None:
    for reading, seen in ((AS_IN_JSON, Rough(data).may_say), (AS_IN_URLS, Rough(data).may_say_in_urls)):
        text = Spelled(data, 0, len(data), reading).text
        start = draw.draw(st.integers(0, len(text)))
        said = text[start : draw.draw(st.integers(start, len(text)))]
        # What has no escape of a URL's is found as in JSON.
        assert seen([roughly(said)]) or (reading is AS_IN_URLS and Rough(data).may_say([roughly(said)]))


@pytest.mark.parametrize("step", [53, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("how", SPELLINGS)
@pytest.mark.parametrize("same_length", [False, True])
def test_a_secret_is_found_wherever_in_a_long_text_it_is(how: str, same_length: bool, step: int) -> None:
    redaction, written = Redaction([SECRET]), spelled(SECRET, how).encode()
    gone = redaction.redact(written, same_length=same_length)
    first, last = redaction.share - len(written) - 2, redaction.share + 2
    for filled in sorted({*range(first, last, step), *range(first, first + 5), *range(last - 5, last)}):
        # Behind it is enough for another share.
        data = b"." * filled + b"\\n" + written + b"\\n" * (redaction.share // 8)
        assert redaction.redact(data, same_length=same_length) == data.replace(written, gone)


@pytest.mark.covering(1)
@pytest.mark.parametrize("text", ["\u2028", "a", "é", '"', "\n", "\\", "%41", "\\u0041", "\\uzzzz", "%%", "\\\\u", "="])
@pytest.mark.parametrize("spell", [str, lambda text: json.dumps(text)[1:-1], lambda text: spelled(text, "unicode")])
def test_a_text_of_escapes_takes_no_step_for_each(text: str, spell: Callable[[str], str]) -> None:
    data = (spell(text) * 200_000).encode()
    redaction = Redaction([SECRET, "é" + SECRET])
    assert calls_made(lambda: redaction.redact(data)) < 5000 * (len(data) // redaction.share + 3)


@pytest.mark.parametrize("end", [b'"}', b"]", b"\n", b"\r\n\r\n", b"> ", b","])
def test_an_end_that_begins_no_secret_waits_for_nothing(end: bytes) -> None:
    assert Redaction([SECRET]).piecewise().feed(b'data: {"a": "sk-an' + end) == b'data: {"a": "sk-an' + end


def test_a_secret_that_another_one_begins_with_is_not_left_in_part() -> None:
    piecewise = Redaction(["sk-12345678", "sk-12345678-and-more"]).piecewise()
    assert piecewise.feed(b"<sk-12345678-an") + piecewise.feed(b"d-more>") == b"<[redacted]>"
    assert piecewise.feed(b"<sk-12345678") + piecewise.feed(b"...>") == b"<[redacted]...>"


def test_what_is_as_long_as_it_was_says_so() -> None:
    redacted = Redaction([SECRET]).redact(b"a %b b" % SECRET.encode(), same_length=True)
    assert redacted == b"a [redacted]******* b"
    assert Redaction(["12345678", "abcdefgh"]).redact(b"12345678 abcdefgh", same_length=True) == b"11111111 ********"


def test_a_number_stays_one() -> None:
    assert json.loads(Redaction(["12345678"]).redact(b'{"id": 12345678, "b": "12345678"}')) == {"id": 0, "b": "0"}


def test_a_name_is_redacted_in_any_case_and_stays_a_name() -> None:
    redaction = Redaction(["Sk-Ant/0123+45"])
    assert redaction.redact_name(b"x-for-sk-ant0123+45-b") == b"x-for-redacted-b"
    assert redaction.redact_name(b"X-Other") == b"X-Other"


def test_many_backslashes_and_escapes_take_no_time() -> None:
    # Quadratic work would take minutes.
    data = b"\\" * 200_000 + SECRET.encode() + b"%41" * 50_000 + b"\\u0041" * 50_000
    assert SECRET.encode() not in Redaction([SECRET, "A" * 40]).redact(data)
    assert Redaction(["A" * 16_000]).unfinished(b"\\" * 200_000) == 16
    assert Redaction(["\\" * 8]).redact(b"\\" * 80_000).count(b"[redacted]") == 10_000


@given(st.text("ab", min_size=8, max_size=12), st.text("ab", max_size=20))
def test_the_longest_beginning_of_a_secret_is_what_waits(secret: str, text: str) -> None:
    begun = [length for length in range(len(secret)) if text.endswith(secret[:length])]
    assert Redaction([secret]).unfinished(text.encode()) == max(begun)


@pytest.mark.parametrize("how", SPELLINGS)
def test_a_long_secret_is_found_with_work_for_what_is_spelled_only(how: str) -> None:
    token = "eyJhbGciOiJSUzI1NiJ9." + "abcd/efgh+ijkl_mnop-" * 800
    written = spelled(token, how).encode()
    redaction, redacted = Redaction([token]), b""

    def redact() -> None:
        nonlocal redacted
        redacted = redaction.redact(b'{"error": "%b is expired"}' % written)

    calls = calls_made(redact)
    assert redacted == b'{"error": "[redacted] is expired"}'
    assert calls < 30 * (written.count(b"\\") + written.count(b"%")) + 100


def test_where_secrets_overlap_nothing_of_either_is_left() -> None:
    assert Redaction(["abcdefgh", "efghijkl"]).redact(b"<abcdefghijkl>") == b"<[redacted]>"
    assert Redaction(["abcdefgh", "ijklmnop"]).redact(b"<abcdefghijklmnop>") == b"<[redacted][redacted]>"


@pytest.mark.parametrize("secret", ["ab\\\\\\\\cd", "abcd\\efgh"])
def test_what_has_not_the_backslashes_of_a_secret_is_not_it(secret: str) -> None:
    redaction = Redaction([secret])
    plain = secret.replace("\\", "")
    assert redaction.redact(b'{"a": "%b\\n"}' % plain.encode()) == b'{"a": "%b\\n"}' % plain.encode()
    assert redaction.redact(json.dumps({"a": secret}).encode()) == b'{"a": "[redacted]"}'


@steady
@given(st.text("ab", min_size=9, max_size=40), st.text("ab\\", max_size=60))
def test_a_beginning_is_found_however_often_it_is_begun(secret: str, text: str) -> None:
    bare = text.replace("\\", "")
    longest = max(size for size in range(len(secret)) if bare.endswith(secret[:size]))
    held = text[len(text) - Redaction([secret]).unfinished(text.encode()) :]
    assert held.replace("\\", "") == bare[len(bare) - longest :]


def test_a_long_secret_is_sought_in_time() -> None:
    redaction = Redaction(["k" * 60_000 + "x"])
    assert calls_made(lambda: redaction.unfinished(b"k" * 500_000)) < 1000
    assert redaction.unfinished(b"k" * 500_000) == 60_000
