"""The last hour as JSON has it, and what is no JSON."""

import orjson
from antigravity_healing.monitor.page_data.logged import hour_told
from antigravity_healing.monitor.request_log.reader import AccountUse, Bucket, Summary
from antigravity_healing.proxy.own_pages.pages import PageAnswer
from antigravity_healing.wire.usage import Usage


def test_an_hour_says_all_of_it() -> None:
    usage = Usage(10, 80, 10, 7, 2)
    bucket = Bucket(60.04, {"clean": 2, "": 1}, (0.12341, 2.0))
    summary = Summary(
        (bucket, Bucket(120.0, {}, None)), bucket, {"a": AccountUse(3, {"cut": 1}, usage)}, {"cut": 1, "auth": 2}, usage
    )
    told = hour_told(summary, "")
    assert told["buckets"] == [
        {"at": 60.0, "outcomes": {"clean": 2, "running": 1}, "first_content_s": [0.1234, 2.0]},
        {"at": 120.0, "outcomes": {}, "first_content_s": None},
    ]
    assert list(told["failures"]) == ["auth", "cut"]
    assert told["usage"]["input"] == told["accounts"]["a"]["usage"]["input"] == 100
    assert (told["off"], hour_told(summary, "it is off")["off"]) == (None, "it is off")


def test_half_of_a_character_is_no_reason_to_say_nothing() -> None:
    assert orjson.loads(PageAnswer.json({"name": "plain é"}).body) == {"name": "plain é"}
    assert b"\\ud800" in PageAnswer.json({"name": "\ud800"}).body
