"""The page in a real browser, at a real proxy: what it shows, what it does, and that it takes all text for text."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest
from antigravity_healing.policy.judging.failures import FailureClass
from mitmproxy.io import FlowReader
from playwright.sync_api import Browser, Locator, Page, Route, ViewportSize, expect

from tests.e2e.browser import Watched, chromium, watched
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import CLIENT_KEY, ask, error
from tests.upstream import Upstream, anthropic_empty, anthropic_heartbeats, anthropic_stream

GOOD = anthropic_stream("Hello there")
EVIL = '"><img src=x onerror=window.hit=1><script>window.hit=1</script>'
EVIL_ACCOUNT = "<b onmouseover=window.hit=1>second</b>"
WIDE: ViewportSize = {"width": 1200, "height": 900}
expect.set_options(timeout=15_000)


@dataclass
class Set:
    """What all tests have in common."""

    proxy: Proxy
    server: Upstream

    @property
    def url(self) -> str:
        return f"{self.proxy.url}/antigravity/"


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Set]:
    with Upstream() as server:
        config = account("first", "anthropic", priority=0) + account(EVIL_ACCOUNT, "anthropic", priority=1)
        config += upstream("anthropic", "anthropic", server.url)
        config += "[retry]\nmax_attempts = 2\nmax_wait = 2\nspare_retries = 1000\n"
        # Long enough for a page that asks each second to see it.
        config += '[models."held-model"]\nto = "held-model"\npeek = { first_content = 6.0 }\n'
        with Proxy(tmp_path_factory.mktemp("page"), config) as proxy:
            yield Set(proxy, server)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def window(browser: Browser) -> Iterator[Watched]:
    """One for most tests: to open another takes longer than to load the page anew."""
    with watched(browser, viewport=WIDE, accept_downloads=True) as seen:
        yield seen


@pytest.fixture
def open_page(window: Watched, scene: Set) -> Iterator[Watched]:
    window.complaints.clear()
    window.page.goto(scene.url)
    yield window
    window.page.unroute_all(behavior="wait")
    window.page.context.clear_permissions()


def row(page: Page, table: str, text: str) -> Locator:
    return page.locator(f"#{table} tbody tr", has_text=text)


def fail(scene: Set, model: str, why: str = "messages: odd") -> None:
    """Have an exchange fail, and be captured."""
    scene.server.play(error("anthropic", 400, why))
    assert ask(scene.proxy.url, "anthropic", model).status == 400


def test_it_loads_without_a_complaint_and_names_its_parts(scene: Set, open_page: Watched) -> None:
    page = open_page.page
    expect(page.locator("#accounts tbody tr")).to_have_count(2)
    titles = ["Needs a hand", "Now", "Accounts", "The last hour", "Exchanges", "Captures"]
    assert page.get_by_role("heading", level=2).all_inner_texts() == titles
    for title in titles:
        assert page.get_by_role("region", name=title, exact=True).count() == 1
    plots = page.locator("#plots svg[role=img]")
    expect(plots).to_have_count(2)
    assert all(plot.get_attribute("aria-label") for plot in plots.all())
    options = page.locator("select[name=failure] option").evaluate_all("all => all.map((each) => each.value)")
    assert sorted(options) == sorted(["", *map(str, FailureClass)])
    open_page.check()


def test_a_stream_that_is_held_is_there_and_then_that_it_was_healed(scene: Set, open_page: Watched) -> None:
    page = open_page.page
    scene.server.play(anthropic_heartbeats(), GOOD)
    asking = threading.Thread(target=ask, args=(scene.proxy.url, "anthropic", "held-model"))
    asking.start()
    running = row(page, "now", "held-model")
    for text in ("no content yet", "first", re.compile(r"in [\d.]+ s: Timeout")):
        expect(running).to_contain_text(text)
    expect(running).to_have_count(0)
    healed = row(page, "exchanges-table", "held-model")
    expect(healed).to_contain_text("healed")
    expect(healed.locator("td").nth(5)).to_contain_text("2")
    asking.join(15)
    open_page.check()


def test_filters_leave_what_is_like_that(scene: Set, open_page: Watched) -> None:
    page = open_page.page
    fail(scene, "filtered-one")
    scene.server.play(anthropic_empty(), GOOD)
    ask(scene.proxy.url, "anthropic", "filtered-two")
    page.get_by_label("Model", exact=True).fill("filtered-*")
    rows = page.locator("#exchanges-table tbody tr")
    expect(rows).to_have_count(2)
    page.get_by_label("Outcome", exact=True).select_option("failed")
    expect(rows.first).to_contain_text("filtered-one")
    expect(rows).to_have_count(1)
    page.get_by_label("Outcome", exact=True).select_option("")
    page.get_by_label("Attempts at least", exact=True).fill("2")
    expect(rows.first).to_contain_text("filtered-two")
    expect(rows).to_have_count(1)
    page.get_by_label("Text", exact=True).fill("nothing says this")
    expect(page.locator("#exchanges-told")).to_have_text("No exchange is like that.")
    page.get_by_role("button", name="Clear").click()
    expect(rows.nth(1)).to_be_visible()
    open_page.check()


def test_a_search_says_how_far_it_came_and_goes_on_from_there(scene: Set, open_page: Watched) -> None:
    page = open_page.page
    fail(scene, "searched-for")

    def answer(route: Route) -> None:
        if "text=" not in route.request.url:
            route.continue_()
        elif "after=" not in route.request.url:
            route.fulfill(json={"exchanges": [], "after": "1:0", "searched_to": time.time() - 60, "off": None})
        else:
            route.continue_(url=re.sub(r"after=[^&]*&?", "", route.request.url))

    page.route("**/antigravity/exchanges?*", answer)
    page.get_by_label("Text", exact=True).fill("searched-for")
    told = page.locator("#exchanges-told")
    expect(told).to_have_text(re.compile(r"^No exchange is like that. Searched back until \d\d:\d\d:\d\d\.$"))
    page.get_by_role("button", name="Show older ones").click()
    expect(row(page, "exchanges-table", "searched-for")).to_be_visible()
    expect(told).to_have_text("1 are like that.")
    expect(page.locator("#more")).to_be_hidden()
    # Another look at the newest forgets neither what was found nor that all has been searched.
    with page.expect_response(lambda response: "text=searched-for" in response.url):
        fail(scene, "another-one")
    expect(page.locator("#exchanges-table tbody tr")).to_have_count(1)
    expect(told).to_have_text("1 are like that.")
    page.unroute_all(behavior="wait")
    open_page.check()


def test_the_detail_tells_all_and_a_replay_what_came_of_it(scene: Set, open_page: Watched) -> None:
    page = open_page.page
    fail(scene, "detailed")
    row(page, "exchanges-table", "detailed").get_by_role("link").click()
    detail = page.get_by_role("dialog")
    for text in ("upstream says that the request is wrong", "Why no retry", "it would be refused again", "captured/"):
        expect(detail).to_contain_text(text)
    expect(detail.locator(".timeline svg[role=img]")).to_have_attribute("aria-label", re.compile("^1. first: begins"))
    expect(detail.locator("pre")).to_contain_text("attempt 1 on first")
    with page.expect_download() as download:
        detail.get_by_role("link", name="Download .flow").click()
    written = Path(download.value.path()).read_bytes()
    assert len(list(FlowReader(BytesIO(written)).stream())) == 2
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    detail.get_by_role("button", name="Copy as curl").click()
    expect(page.locator("#detail-told")).to_contain_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("curl ")
    assert "x-api-key: $API_KEY" in copied
    assert not any(key in copied + written.decode("latin-1") for key in (CLIENT_KEY, key_of("first")))
    scene.server.play(GOOD)
    detail.get_by_role("button", name=re.compile("Send exchange")).click()
    expect(page.locator("#detail-told")).to_contain_text(re.compile(r"Replayed \w+: failed .*→ clean"))
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    assert "#" not in page.url
    open_page.check()


def test_what_is_not_kept_is_explained(scene: Set, open_page: Watched) -> None:
    page = open_page.page
    scene.server.play(GOOD)
    ask(scene.proxy.url, "anthropic", "went-well")
    row(page, "exchanges-table", "went-well").get_by_role("link").click()
    expect(page.get_by_role("dialog")).to_contain_text("never captured because it succeeded")
    expect(page.get_by_role("button", name="Copy as text")).to_be_visible()
    assert page.get_by_role("dialog").get_by_role("button", name=re.compile("Send exchange")).count() == 0
    page.goto(f"{scene.url}#exchange=0000nobody")
    expect(page.get_by_role("dialog")).to_contain_text("nothing is known of 0000nobody: it is not in the request log")


def test_a_refused_key_needs_a_hand_until_it_is_reset_and_all_of_that_by_keyboard(
    scene: Set, open_page: Watched
) -> None:
    page = open_page.page
    scene.server.play(error("anthropic", 401, "invalid x-api-key"), GOOD)
    ask(scene.proxy.url, "anthropic", "keyless")
    needed = page.locator("#needs li", has_text="the key of first is refused")
    expect(needed).to_contain_text("To do: put a new key into")
    expect(page.locator("#needs-summary")).to_contain_text("1 thing to do.")
    expect(row(page, "accounts", "first")).to_contain_text("left alone")
    expect(page).to_have_title("(1) Proxy Monitor")
    for _ in range(20):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", focused
        if focused.startswith("Reset first"):
            break
    page.keyboard.press("Enter")
    expect(page.locator("#told")).to_contain_text("account first was reset by hand")
    expect(needed).to_have_count(0)
    expect(row(page, "accounts", "first")).to_contain_text("free")
    open_page.check()


def test_what_models_clients_and_the_configuration_say_is_text(scene: Set, open_page: Watched) -> None:
    page = open_page.page
    fail(scene, f"evil {EVIL}", f"refused: {EVIL}")
    scene.server.play(anthropic_empty(), anthropic_stream(EVIL))
    ask(scene.proxy.url, "anthropic", "evil answer")
    for table, text in (("exchanges-table", f"evil {EVIL}"), ("captures", f"evil {EVIL}"), ("accounts", EVIL_ACCOUNT)):
        expect(row(page, table, text).first).to_be_visible()
    row(page, "exchanges-table", f"evil {EVIL}").get_by_role("link").click()
    expect(page.get_by_role("dialog").locator(".timeline")).to_contain_text(EVIL)
    page.keyboard.press("Escape")
    row(page, "exchanges-table", "evil answer").get_by_role("link").click()
    expect(page.get_by_role("dialog").locator(".timeline")).to_contain_text(EVIL_ACCOUNT)
    assert page.locator("main b, main img, dialog img, main script").count() == 0
    assert page.evaluate("window.hit") is None
    open_page.check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_narrow_and_wide_in_light_and_dark(
    scene: Set, open_page: Watched, scheme: Literal["light", "dark"]
) -> None:
    page = open_page.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    try:
        fail(scene, f"wide-{scheme}-{'x' * 180}")
        row(page, "exchanges-table", f"wide-{scheme}").get_by_role("link").click()
        expect(page.locator("dialog .timeline")).to_be_visible()
        for width in (380, 1200):
            page.set_viewport_size({"width": width, "height": 900})
            for part in ("documentElement", "querySelector('dialog')"):
                assert page.evaluate(f"document.{part}.scrollWidth - document.{part}.clientWidth") <= 0, (width, part)
        light = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every((each) => each > 128)"
        )
        assert light is (scheme == "light")
        open_page.check()
    finally:
        page.emulate_media(color_scheme="null", reduced_motion="null")
        page.set_viewport_size(WIDE)


def test_a_lost_connection_is_told_until_it_is_back(scene: Set, open_page: Watched) -> None:
    page = open_page.page
    fail(scene, "before-it-was-lost")
    expect(row(page, "exchanges-table", "before-it-was-lost")).to_be_visible()
    page.route("**/antigravity/*", lambda route: route.abort())
    expect(page.locator("#connection")).to_contain_text(re.compile(r"^Connection lost since \d\d:\d\d:\d\d"))
    page.get_by_label("Text", exact=True).fill("lost")
    expect(row(page, "exchanges-table", "before-it-was-lost")).to_be_visible()
    page.unroute("**/antigravity/*")
    expect(page.locator("#connection")).to_be_empty()


def test_what_the_page_has_already_is_not_sent_again(scene: Set, open_page: Watched) -> None:
    page = open_page.page
    with page.expect_response(lambda response: response.url.endswith("/now") and response.status == 304):
        pass
    before = page.locator("#accounts").inner_text()
    fail(scene, "after-the-same-again")
    expect(row(page, "exchanges-table", "after-the-same-again")).to_be_visible()
    expect(page.locator("#accounts")).not_to_have_text(before)
    open_page.check()


def test_a_page_that_nobody_sees_asks_nothing_until_it_is_seen_again(scene: Set, open_page: Watched) -> None:
    page = open_page.page
    expect(page.locator("#accounts tbody tr")).to_have_count(2)
    see = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
    see += "document.dispatchEvent(new Event('visibilitychange'));"
    page.clock.install()
    page.evaluate(see % "true")
    page.wait_for_load_state("networkidle")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.fast_forward(60_000)
    assert asked == []
    with page.expect_request("**/antigravity/now"):
        page.evaluate(see % "false")
