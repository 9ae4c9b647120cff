"""A headless browser on a running service, for the tests of pages. Fixtures in tests/api/web/conftest.py use it.

A page from here fails its test on any complaint of the console, of a script or of the Content-Security-Policy.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, get_args

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from api.web import vendor
from tests.api.conftest import Served

ROOT = Path(__file__).parent.parent
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SHOTS = Path(os.environ.get("MNEME_TEST_SCREENSHOTS", ROOT / "test-artifacts"))
Scheme = Literal["light", "dark"]
# How long something may take to appear; the machine of the tests is shared.
APPEARS_MS = 30_000


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser of this machine. A module has one: while it runs, no test of that module may be async."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        pytest.fail("no Chromium on this machine; install the Debian package `chromium`")
    expect.set_options(timeout=APPEARS_MS)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=binary, args=OPTIONS)
        yield opened
        opened.close()


@contextmanager
def quiet_page(browser: Browser, served: Served, *, width: int = 1280, scheme: Scheme = "light") -> Iterator[Page]:
    """A page whose addresses begin at the service (`page.goto("/ui/runs")`), and on which nothing complains.

    A refusal that a test provokes is announced by the browser itself: `expected(page, "412")` lets it pass.
    """
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, base_url=served.url, reduced_motion="reduce"
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"], origin=served.url)
    page = context.new_page()
    complaints: list[str] = []
    allowed: list[str] = []
    _ALLOWED[page] = allowed

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    del _ALLOWED[page]
    context.close()
    assert [said for said in complaints if not any(part in said for part in allowed)] == []


def expected(page: Page, part: str) -> None:
    """Complaints with `part` in them are what the test is about."""
    _ALLOWED[page].append(part)


def fits(page: Page) -> None:
    """The page is not wider than its window."""
    wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wider <= 0, f"{page.url} is {wider} pixels wider than the window"


def shot(page: Page, name: str) -> Path:
    """A picture of the whole page in test-artifacts/, for a person to look at."""
    size = page.viewport_size
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    path = SHOTS / f"{name}-{size['width'] if size else 0}-{'dark' if dark else 'light'}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=path, full_page=True)
    assert path.stat().st_size > 5_000
    return path


def accessible(page: Page) -> None:
    """axe-core finds nothing serious or critical."""
    assert vendor.AXE.is_file(), (
        "axe-core is not installed; expected npm at set-up, then: python -m api.web.vendor --dev"
    )
    page.evaluate(vendor.AXE.read_text(encoding="utf-8"))
    rules = {"resultTypes": ["violations"]}
    found: list[dict[str, Any]] = page.evaluate("rules => axe.run(document, rules).then(r => r.violations)", rules)
    bad = [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:160]} {node.get('failureSummary', '')[:240]}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"][:3]
    ]
    assert not bad, f"{page.url}:\n" + "\n".join(bad)


def check_page(browser: Browser, served: Served, path: str, name: str) -> None:
    """The page at `path` fits narrow and wide, light and dark, passes axe, and is kept as pictures `name-…`."""
    # One window for all four: it has the scripts and styles of the service after the first.
    with quiet_page(browser, served) as page:
        for width, scheme in itertools.product((380, 1280), get_args(Scheme)):
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme)
            page.goto(path)
            fits(page)
            shot(page, name)
            accessible(page)


_ALLOWED: dict[Page, list[str]] = {}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each module; a conftest.py imports it, and `page`."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """A wide, light page that fails the test when anything complains; `page.goto("/ui/…")`. `served` is the module's."""
    with quiet_page(browser, served) as opened:
        yield opened
