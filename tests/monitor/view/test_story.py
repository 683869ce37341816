"""The story stands on top: what happened, what was done, what to do, and each attempt in its place on a line."""

from typing import Any

from antigravity_healing.monitor.view.story import Times, bar, story_lines
from mitmproxy import http

FIRST = {
    "attempt": 1, "account": "a", "status": 429, "failure": "quota", "detail": "used up", "verdict": "retry on b",
    "time_to_first_byte_s": 0.2, "duration_s": 0.25,
}  # fmt: skip
SECOND = {
    "attempt": 2, "account": "b", "status": 200, "verdict": "deliver", "time_to_first_byte_s": 1.0,
    "time_to_first_content_s": 2.0, "duration_s": 4.0, "repaired": ["strip"], "delivered": True,
}  # fmt: skip
STORY = {
    "role": "exchange", "exchange": "00c0ffee", "model": "m", "mapped_model": "n", "outcome": "healed",
    "attempts": [FIRST, SECOND], "waited_s": 0.75, "duration_s": 5.0,
}  # fmt: skip


def told(story: dict[str, Any], response: http.Response | None = None) -> str:
    return "\n".join(story_lines(story, response))


def test_finding_comes_first() -> None:
    text = told({**STORY, "finding": {"what": "a is used up", "done": "b answered", "do": "nothing"}})
    assert text.startswith(
        "HEALED  m → n, 5.00 s, first content after 3.00 s, 750 ms of it waited, id 00c0ffee\n"
        "what      a is used up\ndone      b answered\ndo        nothing\n"
    )


def test_story_without_a_finding_says_what_it_knows() -> None:
    assert "what      healed (2 attempts)\n" in told(STORY)
    assert "what      failed (used up)" in told({**STORY, "outcome": "failed", "attempts": [FIRST]})


def test_each_attempt_stands_in_its_place_on_the_line() -> None:
    lines = told(STORY).splitlines()
    assert "  1 a 429 ─······················· byte 200 ms, content -, end 250 ms → retry on b" in lines
    assert "          quota: used up" in lines
    assert "  2 b 200 ·····─────▒▒▒▒██████████ byte 1.00 s, content 2.00 s, end 4.00 s → deliver" in lines
    assert "          repaired: strip" in lines


def test_attempts_that_say_when_they_began_are_placed_by_that() -> None:
    late = {**STORY, "at": 1000.0, "attempts": [{**FIRST, "at": 1000.0}, {**SECOND, "at": 1002.5, "duration_s": 2.5}]}
    assert "  2 b 200 ············─────▒▒▒▒▒██ byte" in told(late)


def test_tokens_are_summed_over_the_attempts_unless_they_are_told() -> None:
    usage = {"uncached": 10, "cache_read": 1000, "cache_write": 0, "output": 50, "reasoning": 20}
    attempts = [{**FIRST, "usage": {"uncached": 5}}, {**SECOND, "usage": usage}]
    assert "tokens in 1,015 (cache 1,000 read), out 50 (20 thinking)" in " ".join(
        told({**STORY, "attempts": attempts}).split()
    )
    assert "tokens in 3, out 1" in told({**STORY, "attempts": attempts, "usage": {"uncached": 3, "output": 1}})


def test_attempt_tells_its_own_story() -> None:
    text = told({**FIRST, "role": "attempt", "exchange": "00c0ffee", "mapped_model": "n", "place": "accounts[0]"})
    assert text.startswith("QUOTA  attempt 1 on a, n, status 429, first byte after 200 ms, over after 250 ms")
    assert "what      used up\nthen      retry on b\nplace     accounts[0]" in text
    assert told({**SECOND, "role": "attempt"}).startswith("SERVED  attempt 2 on b")


def test_what_runs_says_so() -> None:
    assert told({"role": "exchange", "exchange": "00c0ffee"}).startswith("STILL RUNNING")
    assert told({"role": "attempt", "attempt": 1, "account": "a"}).startswith("STILL RUNNING  attempt 1 on a")


def test_flow_without_a_story_has_none() -> None:
    assert told({}) == ""


def test_of_very_many_attempts_the_first_and_the_last_are_shown() -> None:
    attempts = [{**FIRST, "attempt": number} for number in range(1, 301)]
    lines = told({**STORY, "attempts": attempts}).splitlines()
    assert [int(line[:3]) for line in lines if " a 429 " in line] == [1, 2, 3, 4, 5, *range(286, 301)]
    assert "          … 280 more" in lines


def test_bars_are_as_wide_as_each_other_and_show_what_is_short() -> None:
    for times in (
        Times(0, None, None, None),
        Times(0, None, None, 0),
        Times(0, 1, 2, 3),
        Times(9.99, 9.99, 9.99, 9.99),
        Times(50, 60, 70, 80),
    ):
        assert len(bar(times, 10.0)) == 24
    assert bar(Times(10, 10, 10, 10), 10.0) == "·" * 23 + "█"
    assert bar(Times(0, None, None, 0), 10.0) == "─" + "·" * 23


def test_attempt_says_whether_the_client_got_something_of_it() -> None:
    cut = {**SECOND, "role": "attempt", "failure": "cut", "upstream": "anthropic"}
    assert told(cut).startswith("CUT AFTER ITS ANSWER HAD BEGUN TO REACH THE CLIENT  attempt 2 on b, at anthropic")
    assert told({**cut, "delivered": False}).startswith("CUT  attempt 2")
    assert told({**cut, "failure": None, "delivered": False}).startswith("LEFT  attempt 2")
