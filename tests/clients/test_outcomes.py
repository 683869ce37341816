"""What is made of a client's work, and what its upstream plays; the clients themselves are driven by hand."""

import json

import pytest

from tests.clients.faults import CONTENT, FAULTS, FORMS, IN_A_CALL, TEXT, Case, Faulty, forms_of
from tests.clients.runs import Cell, outcome_of
from tests.clients.sessions import Got
from tests.clients.table import tables
from tests.support import raw
from tests.upstream import Upstream


@pytest.mark.parametrize(
    ("got", "tool", "agent", "outcome"),
    [
        (Got(TEXT), False, False, "well"),
        (Got(TEXT[:20]), False, False, "SILENT"),
        (Got(TEXT[:20], raised="cut"), False, False, "loud"),
        (Got(TEXT + TEXT), False, False, "SILENT"),
        (Got(TEXT[:20] + TEXT), False, True, "well"),
        (Got(hung=True), False, False, "hung"),
        (Got(written=(CONTENT,)), True, False, "well"),
        (Got(written=(CONTENT[:9],)), True, False, "SILENT"),
        (Got("I write the file."), True, True, "SILENT"),
    ],
)
def test_only_the_whole_is_well_and_only_what_is_told_is_loud(got: Got, tool: bool, agent: bool, outcome: str) -> None:
    assert outcome_of(got, tool=tool, whole=False, agent=agent) == outcome


def test_a_table_names_where_the_proxy_is_worse() -> None:
    def cell(fault: str, way: str, outcome: str) -> Cell:
        return Cell("some", "gemini", fault, way, outcome, 1, 0.1, "it broke" if outcome != "well" else "")  # type: ignore[arg-type]

    better = [cell("cut", "direct", "SILENT"), cell("cut", "proxied", "loud")]
    worse = [cell("reset", "direct", "well"), cell("reset", "proxied", "loud")]
    assert "Worse than direct\n\nNone." in tables(better, {}, {})
    assert "- some, gemini, reset: well → loud: it broke" in tables([*better, *worse], {}, {})


def test_the_first_call_of_a_case_meets_its_fault_and_others_do_not() -> None:
    question = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "[case:one]"}]}
    served = Faulty({"one": Case(FAULTS["cut"], agent=True)})
    with Upstream() as server:
        server.default = served

        def ask(**more: object) -> str:
            return raw.request("POST", f"{server.url}/v1/messages", {**question, **more}, {"x-api-key": "k"}).ended

        tools = [{"name": "Write", "input_schema": {"required": ["file_path", "content"]}}]
        # An agent also asks for a title, without its tools.
        assert ask() == "complete"
        assert ask(tools=tools) == "cut"
        assert ask(tools=tools) == "complete"
        assert json.loads(server.calls[-1].body)["tools"] == tools
    assert served.cases["one"].calls == 2


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_each_form_is_tried_with_words_and_in_a_call(dialect: str) -> None:
    forms = forms_of(dialect)
    assert set(FORMS) < set(forms)
    assert {name for name in forms if name.endswith(IN_A_CALL)} == {
        name + IN_A_CALL for name in forms if not name.endswith(IN_A_CALL)
    }
