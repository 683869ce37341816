import csv
import json
from pathlib import Path

import pytest
from antigravity_healing.commands.main import main
from antigravity_healing.monitor.request_log.database import Database
from antigravity_healing.monitor.request_log.printing import COLUMNS
from antigravity_healing.monitor.request_log.schema import FILE_NAME
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.wire.usage import Usage

from tests.monitor.request_log.telling import AT, attempt, end, facts, received, refused, whole


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A data folder whose log has an exchange of each kind."""
    tries = attempt(1, "a", FailureClass.QUOTA), attempt(2, "b", usage=Usage(10, 20, 30, 40, 5))
    database = Database(tmp_path / FILE_NAME, AT)
    database.write(
        [
            *whole(facts("one", AT), end("clean", attempt(), duration_s=2.0, first_content_s=1.0)),
            *whole(facts("two", AT + 1, model="=1+1", mapped_model="gemini"), end("healed", *tries, duration_s=3.0)),
            *(refused("no key", AT + 2 + number, "three") for number in range(3)),
            received(facts("four", AT + 10)),
        ]
    )
    database.close(AT + 20)
    return tmp_path


def ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], str]:
    """The exit status, and what was printed to both."""
    status = main(arguments)
    told = capsys.readouterr()
    return status, told.out.splitlines(), told.err


def test_for_people_the_newest_is_the_last_and_trouble_has_what_to_do(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines, _ = ran(capsys, "log", "--home", str(home))
    assert status == 0
    first, second, finding, third, _, fourth = lines
    assert ["clean" in first, "on a" in first, "200 in 2.0 s, content after 1.0 s" in first] == [True] * 3
    assert "healed      two =1+1 → gemini  on a, b  2 tries" in second
    assert "60 + 40 tokens" in second
    assert finding == "    what; done  → do"
    assert "refused     three m  3 times until" in third
    assert "unfinished  four m" in fourth


def test_json_has_all_and_csv_has_no_formulas(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, lines, _ = ran(capsys, "log", "--home", str(home), "--json", "--outcome", "healed")
    [told] = map(json.loads, lines)
    assert (told["exchange"], told["model"], told["input_tokens"], told["output_tokens"]) == ("two", "=1+1", 60, 40)
    assert [(each["account"], each["failure"]) for each in told["attempts"]] == [("a", "quota"), ("b", None)]
    assert set(COLUMNS) == set(told)
    _, lines, _ = ran(capsys, "log", "--home", str(home), "--csv")
    rows = list(csv.DictReader(lines))
    assert [row["exchange"] for row in rows] == ["four", "three", "two", "one"]
    assert [row["outcome"] for row in rows] == ["unfinished", "refused", "healed", "clean"]
    assert (rows[2]["model"], rows[2]["accounts"], rows[2]["attempts"], rows[2]["streams"]) == (
        "'=1+1",
        "a b",
        "2",
        "true",
    )


def test_a_page_says_how_to_get_the_next(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: list[str] = []
    more: list[str] = []
    while True:
        status, lines, told = ran(capsys, "log", "--home", str(home), "--limit", "1", "--json", *more)
        assert status == 0
        if not lines:
            break
        names.append(json.loads(lines[0])["exchange"])
        more = ["--after", told.split()[5]]
    assert names == ["four", "three", "two", "one"]


def test_what_can_not_be_read_or_understood_is_told_by_the_exit_status(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ran(capsys, "log", "--home", str(home / "nowhere")) == (
        1,
        [],
        f"there is no request log at {home / 'nowhere' / FILE_NAME}\n",
    )
    (home / FILE_NAME).write_bytes(b"no database " * 1000)
    status, lines, told = ran(capsys, "log", "--home", str(home))
    assert (status, lines) == (1, [])
    assert "can't be read: file is not a database" in told
    for wrong in (["log", "--outcome", "fail"], ["log", "--json", "--csv"], ["top", "--every", "0"]):
        with pytest.raises(SystemExit) as raised:
            main(wrong)
        assert raised.value.code == 2
    assert "did you mean failed?" in capsys.readouterr().err
