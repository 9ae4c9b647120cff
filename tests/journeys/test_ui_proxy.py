"""In a browser, behind a reverse proxy that mounts the service at a sub-path: every page is reached by its links, an answer
streams, a memory is corrected, and programs find their way. Each ends in what the page shows and what the service has.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from api.web.navigation import PLACES
from tests.api.conftest import Served, serving
from tests.api.web.conftest import remember, submit
from tests.browsing import quiet_page
from tests.proxying import PREFIX, Proxy, proxied

pytestmark = pytest.mark.browser
SCRIPT = """
[[rule]]
contains = "slowly"
reply = "one two three four five six seven eight nine ten"
delay_ms = 300
"""
WHOLE = "one two three four five six seven eight nine ten"
# Pages that ask for more when they are there.
FETCHING = ("ui/graph", "ui/timeline", "ui/runs/*/tree", "ui/runs/*/context")
LINKS = """() => [...document.querySelectorAll("[href], [src], form")].map((one) =>
    [one.localName, one.href?.baseVal ?? one.href ?? one.src ?? one.action])"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The service, asked without the proxy."""
    with serving(tmp_path_factory.mktemp("below"), SCRIPT, server__root_path=PREFIX) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(served: Served) -> Iterator[Proxy]:
    with proxied(served.url) as running:
        yield running


@pytest.fixture(scope="module")
def through(served: Served, proxy: Proxy) -> Iterator[Served]:
    """The same service as the world sees it."""
    seen = Served(served.settings, proxy.url, served.model)
    yield seen
    seen.close()


@pytest.fixture
def page(browser: Browser, through: Served, proxy: Proxy) -> Iterator[Page]:
    """`page.goto("ui/…")`. Nothing on it may complain, and nothing may be asked of the server outside the sub-path."""
    proxy.asked.clear()
    with quiet_page(browser, through) as opened:
        yield opened
    assert [one.target for one in proxy.asked if not one.target.startswith(f"{PREFIX}/")] == []


def test_every_page_is_reached_by_links_below_the_sub_path(served: Served, through: Served, page: Page) -> None:
    run = submit(served, {"kind": "math", "problem": "1 + 1"}, agent="tim")
    served.ended(run)
    remember(served, "The lab is closed on Fridays.", title="The lab", entities=["lab"])
    page.goto("ui")
    expect(page).to_have_url(f"{through.url}ui/")
    found: dict[str, str] = {}
    seen: set[str] = set()

    def look() -> None:
        """Keep the way to each kind of page that is linked here, and check where all links lead."""
        for tag, link in page.evaluate(LINKS):
            assert link.startswith(through.url), (page.url, tag, link)
            if tag == "a" and "format=json" not in link:
                found.setdefault(kind_of(link), link)
        seen.add(kind_of(page.url))

    for place in PLACES:
        link = page.locator(f"nav[aria-label=Pages] a[href$='/{place.path}']")
        link.click()
        expect(page).to_have_url(re.compile(f"{re.escape(through.url + place.path)}(\\?.*)?$"))
        expect(link).to_have_attribute("aria-current", "page")
        look()
    while to_see := [kind for kind in found if kind not in seen]:
        for kind in to_see:
            seen.add(kind)
            if kind.startswith("ui/"):
                page.goto(found[kind])
                expect(page.locator("main h1").first).to_be_visible()
                if kind in FETCHING:
                    page.wait_for_load_state("networkidle")
                look()
            else:
                assert through.http.get(found[kind]).status_code == 200, kind
    assert {
        "ui/runs/*",
        "ui/runs/*/tree",
        "ui/runs/*/context",
        "ui/memories/*",
        "ui/vaults/*",
        "ui/settings/keys",
    } <= seen
    assert served.http.get("/openapi.json").json()["servers"] == [{"url": PREFIX}]


def kind_of(link: str) -> str:
    """`…/ui/runs/run_…/tree?at=3` → `ui/runs/*/tree`."""
    path = urlsplit(link).path.removeprefix(f"{PREFIX}/")
    return re.sub(r"(?<=agents/)[^/]+|(?<=/)[a-z]{3,4}_[0-9a-f]{8,}", "*", path)


def test_an_answer_streams_through_the_proxy(served: Served, proxy: Proxy, page: Page) -> None:
    page.goto("ui/playground")
    page.locator("#input").fill("slowly please")
    page.keyboard.press("Control+Enter")
    answer = page.locator("#answer")
    expect(answer).to_contain_text("one")
    assert "ten" not in (answer.text_content() or "")
    expect(page.locator("#live")).to_have_text("live")
    expect(answer).to_have_text(WHOLE)
    expect(page.locator("#status")).to_have_text("succeeded")
    run = str(page.locator("#reply").get_attribute("data-run"))
    assert [one.target for one in proxy.asked if "/stream" in one.target] == [f"{PREFIX}/api/runs/{run}/stream"]
    assert served.http.get(f"/api/runs/{run}").json()["output"]["text"] == WHOLE
    page.locator("#copy").click()
    expect(page.locator("#code-text")).to_contain_text(f"curl -N {proxy.url}v1/chat/completions")
    page.keyboard.press("Escape")
    page.locator("#run-link").click()
    expect(page.locator("#answer")).to_have_text(WHOLE)
    expect(page.locator("#log > li")).not_to_have_count(0)


def test_a_memory_is_corrected_through_the_proxy(served: Served, through: Served, page: Page) -> None:
    memory = remember(served, "The lab is closed on Fridays.")["id"]
    page.goto(f"ui/memories/{memory}")
    # The way is long, and somebody types before the script of the form has come.
    held: list[Route] = []
    page.route("**/memory_edit.js", lambda route: held.append(route))
    with page.expect_request("**/memory_edit.js"):
        page.keyboard.press("e")
    page.locator("[name=content]").fill("The lab is closed on Mondays.")
    held.pop().continue_()
    page.get_by_role("button", name="Save as version 2").click()
    expect(page.locator("#content")).to_have_text("The lab is closed on Mondays.")
    assert urlsplit(page.url).path == f"{PREFIX}/ui/memories/{memory}"
    now = served.http.get(f"/api/memories/{memory}").json()
    assert (now["version"], now["content"]) == (2, "The lab is closed on Mondays.")
    twin = through.http.get(f"ui/memories/{memory}", headers={"Accept": "application/json"})
    assert twin.headers["content-type"] == "application/json"
    assert twin.json()["memory"] == served.http.get(f"/ui/memories/{memory}?format=json").json()["memory"]
    assert twin.json()["memory"]["content"] == "The lab is closed on Mondays."


def test_a_program_finds_what_it_made_by_the_location_it_is_told(through: Served) -> None:
    made = [
        through.http.post("api/runs", json={"agent": "direct", "input": "hello"}),
        through.http.post("api/memories", json={"content": "The boiler is serviced in October."}),
        through.http.post("api/vaults", json={"name": "orchard"}),
    ]
    for reply in made:
        told = through.http.get(urljoin(str(reply.url), reply.headers["location"]))
        assert (told.status_code, told.json()["id"]) == (200, reply.json()["id"])


def test_another_site_changes_nothing_behind_the_proxy(served: Served, through: Served) -> None:
    before = served.http.get("/api/memories").json()["items"]
    evil = {"Origin": "http://evil.example"}
    refused = through.http.post("api/memories", json={"content": "planted"}, headers=evil)
    assert refused.status_code == 403
    # It may be the proxy that is to blame, if it does not say whom the browser asked.
    assert "let the proxy in front pass Host on" in refused.json()["detail"]
    assert served.http.get("/api/memories").json()["items"] == before
