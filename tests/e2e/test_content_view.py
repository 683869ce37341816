"""mitmweb and mitmdump show what became of an exchange and what was said, live and from files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import DIALECTS, ask, body, credential, empty, error, stream, target
from tests.e2e.web import Web, running_web
from tests.support import raw
from tests.support.places import ADDON
from tests.upstream import Upstream, anthropic_heartbeats, anthropic_stream

ROOT = Path(__file__).parents[2]
ALONE = ADDON.with_name("llm_exchange.py")
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
RULES = """
[models]
"anthropic-translated" = "gemini/gemini-served"
[flows]
max_body_bytes = 8000
"""


@dataclass(frozen=True)
class Saved:
    """A mitmweb with the addon and the view's own script, and the file in which it saves flows."""

    web: Web
    file: Path


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    folder = tmp_path_factory.mktemp("view")
    config = "".join(
        account(f"{dialect}-{place}", dialect, priority=priority)
        for dialect in DIALECTS
        for priority, place in enumerate(("first", "second"))
    )
    with Upstream() as server:
        config += "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS) + RULES
        file = folder / "saved.flow"
        with running_web(folder, server, config, ["-s", str(ALONE), "-w", str(file)]) as web:
            yield Saved(web, file)


@pytest.fixture
def web(saved: Saved) -> Web:
    saved.web.upstream.reset()
    return saved.web


@each_dialect
def test_a_request_that_the_proxy_refuses_says_so_in_the_list_and_in_the_view(web: Web, dialect: str) -> None:
    model = f"{dialect}-{'m' * 256}"
    answer = ask(web.proxy.url, dialect, model)
    assert answer.status == 400
    web.wait_for(lambda: web.client_flow(model)["response"])
    flow = web.client_flow(model)
    assert flow["comment"].startswith("refused: 400 · The model's name is too long")
    lines = shown(web, flow, "request").splitlines()
    assert lines[0].startswith("REFUSED")
    assert any(line.startswith("what      the proxy refused it: The model's name is too long") for line in lines)
    assert any(line.startswith("do        change what it says") for line in lines)
    assert f"id {answer.header('x-healing-id')}" in lines[0]
    lost = raw.request("GET", f"{web.proxy.url}/nothing-{dialect}")
    assert lost.status == 404
    [flow] = [flow for flow in web.flows() if flow["request"]["path"] == f"/nothing-{dialect}"]
    assert flow["comment"].startswith(f"refused: 404 · GET /nothing-{dialect} is not served here")


def shown(web: Web, flow: dict[str, Any], message: str = "response") -> str:
    """What the view shows, which has to be what is shown if nobody chooses another."""
    found = web.page(flow, message)
    assert found["view_name"] == "LLM exchange"
    assert web.page(flow, message, "LLM exchange") == found
    return str(found["text"])


def ended(web: Web, model: str) -> dict[str, Any]:
    web.wait_for(lambda: web.outcome(model) and web.client_flow(model)["response"]["timestamp_end"])
    return web.client_flow(model)


@each_dialect
def test_healed_exchange_is_told_from_the_top_on_both_tabs_and_for_each_attempt(web: Web, dialect: str) -> None:
    model = f"{dialect}-healed"
    web.upstream.play(empty(dialect), stream(dialect, "Here you are"))
    assert ask(web.proxy.url, dialect, model).status == 200
    flow = ended(web, model)
    request, response = shown(web, flow, "request"), shown(web, flow)
    for page in (request, response):
        assert page.startswith(f"HEALED  {model}")
        assert f"what      {dialect}-first answered" in page
        assert f"\ndone      {dialect}-second answered" in page
        assert "\ndo        nothing" in page
        assert "tokens in 24, out " in page
        assert f"  1 {dialect}-first  200" in page
        assert f"  2 {dialect}-second 200" in page
    assert "[1/1] user\n    hi" in request
    assert "    Here you are" in response
    first, second = sorted((shown(web, each) for each in web.attempts(model)), key=lambda page: "SERVED" in page)
    assert first.startswith(f"EMPTY  attempt 1 on {dialect}-first")
    assert "Here you are" in second


def test_failed_exchange_says_the_error_in_words(web: Web) -> None:
    web.upstream.play(error("anthropic", 400, "max_tokens: too many"))
    assert ask(web.proxy.url, "anthropic", "anthropic-failed").status == 400
    web.wait_for(lambda: web.client_flow("anthropic-failed").get("response"))
    page = shown(web, web.client_flow("anthropic-failed"))
    assert page.startswith("FAILED")
    assert "error     invalid_request_error: max_tokens: too many" in page


def test_translated_exchange_shows_each_side_in_its_own_dialect(web: Web) -> None:
    web.upstream.play(stream("gemini", "Translated words"))
    assert ask(web.proxy.url, "anthropic", "anthropic-translated").status == 200
    flow = ended(web, "anthropic-translated")
    [attempt] = web.attempts("gemini-served")
    assert "anthropic-translated → gemini-served" in shown(web, flow)
    assert "stop      end_turn" in shown(web, flow)
    assert "stop      STOP" in shown(web, attempt)
    assert "maxOutputTokens" in shown(web, attempt, "request")
    for page in (shown(web, flow), shown(web, attempt)):
        assert "    Translated words" in page


def test_running_exchange_is_shown_by_its_request(web: Web) -> None:
    web.upstream.play(anthropic_heartbeats())
    client = raw.RawConnection(web.proxy.url)
    try:
        model = "anthropic-running"
        url = web.proxy.url + target("anthropic", model)
        client.send("POST", url, body("anthropic", model), credential("anthropic"))
        web.wait_for(lambda: web.upstream.calls)
        page = shown(web, web.client_flow(model), "request")
        assert "answer    none has come\n" in page
        assert "[1/1] user\n    hi" in page
    finally:
        client.close()


def test_answer_of_which_the_beginning_was_kept_says_so(web: Web) -> None:
    web.upstream.play(anthropic_stream("many words " * 2000, pieces=400))
    assert ask(web.proxy.url, "anthropic", "anthropic-long").status == 200
    page = shown(web, ended(web, "anthropic-long"))
    assert "only the beginning of this body was kept" in page
    assert "    many words many words" in page


def test_what_a_model_writes_is_shown_and_steers_nothing(web: Web) -> None:
    web.upstream.play(stream("anthropic", "<script>\x1b[2J\u202e"))
    assert ask(web.proxy.url, "anthropic", "anthropic-hostile").status == 200
    assert "    <script>␛[2J\\u202e\n" in shown(web, ended(web, "anthropic-hostile"))


def test_other_traffic_keeps_its_own_views(web: Web) -> None:
    assert raw.request("GET", f"{web.proxy.url}/elsewhere").status == 404
    [flow] = [flow for flow in web.flows() if flow["request"]["path"] == "/elsewhere"]
    assert web.page(flow)["view_name"] == "JSON"


def test_view_of_both_scripts_is_registered_once(web: Web) -> None:
    assert "Replacing existing" not in web.proxy.log
    assert "Traceback" not in web.proxy.log


def test_saved_exchange_is_shown_without_the_proxy_that_made_it(saved: Saved, tmp_path: Path) -> None:
    web, model = saved.web, "anthropic-saved"
    web.upstream.reset()
    web.upstream.play(empty("anthropic"), stream("anthropic", "Kept for you"))
    ask(web.proxy.url, "anthropic", model)
    live = ended(web, model)
    web.wait_for(lambda: b"Kept" in saved.file.read_bytes())
    copy = tmp_path / "copy.flow"
    copy.write_bytes(saved.file.read_bytes())
    args = ["-s", str(ALONE), "-r", str(copy)]
    with running_web(tmp_path / "other", web.upstream, None, args, addon=False) as other:
        other.wait_for(lambda: any(flow["id"] == live["id"] for flow in other.flows()))
        for message in ("request", "response"):
            assert shown(other, live, message) == shown(web, live, message)
        assert "Traceback" not in other.proxy.log


@pytest.mark.parametrize("script", [ADDON, ALONE], ids=lambda script: script.stem)
def test_recorded_flows_are_printed_with_their_stories(script: Path, tmp_path: Path) -> None:
    printed = ""
    for name in ("clients.flow", "captured.flow"):
        args = ["-n", "-s", str(script), "-r", str(ROOT / "flows" / name), "--flow-detail", "3"]
        reading = Proxy(tmp_path / name, None, args=args, addon=False).start(wait=False)
        assert reading.wait_exit() == 0, reading.log
        printed += reading.log
    assert printed.count("    HEALED  claude") >= 3
    assert "    FAILED  claude-sonnet-4-5" in printed
    assert "→ retry on home" in printed
    assert "        Jupiter is the largest planet." in printed
    assert "    SIGNATURE  attempt 2 on work" in printed
    assert "        ┊ thinking: Pluto is none" in printed
    assert "Traceback" not in printed
