"""A real headless Chromium, and what a page of it has complained about."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Error, Page, sync_playwright

_INSTALLED = ("chromium", "chromium-browser", "google-chrome")
_VIOLATIONS = """
  window.violations = [];
  addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""


@dataclass
class Watched:
    """A page and what it has complained of: errors of its console, of its scripts, of its policy."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raises AssertionError if there was anything."""
        assert self.complaints == []
        assert self.page.evaluate("window.violations") == []


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's, or the one that Playwright has; where there is none, the test is skipped."""
    found = next(filter(None, map(shutil.which, _INSTALLED)), None)
    with sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("no Chromium is installed: apt-get install chromium, or playwright install chromium")
        # root has no sandbox to start it in.
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        try:
            browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"] if root else [])
        except Error as error:
            pytest.skip(f"Chromium can't be started here: {error.message.splitlines()[0]}")
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def watched(browser: Browser, **options: Any) -> Iterator[Watched]:
    """A page of its own, with what a person's browser is set to: `color_scheme`, `viewport`, …"""
    context = browser.new_context(**options)
    try:
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.add_init_script(_VIOLATIONS)
        seen = Watched(page)
        page.on(
            "console", lambda said: seen.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        yield seen
    finally:
        context.close()
