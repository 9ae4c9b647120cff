"""What all pages share: they are tight, readable and reachable, wherever the service is mounted."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from api.web import vendor
from api.web.navigation import PLACES
from api.web.pages.playground import BLANK
from api.web.render import fragment
from api.web.rows import grouped, shown_run
from tests.api.conftest import Served, serving
from tests.api.web.conftest import remember, submit
from tests.browsing import Scheme, accessible, check_page, fits, quiet_page


@pytest.fixture(scope="module")
def paths(served: Served) -> dict[str, str]:
    """Every kind of page, by name."""
    run_id = submit(served, {"kind": "math", "problem": "x" * 200}, agent="best-of-n", config={"n": 2})
    served.ended(run_id)
    other = submit(served, "hello")
    served.ended(other)
    memory = remember(served, "The lab is closed on Fridays.", entities=["lab"])
    return {
        **{place.section: f"/{place.path}" for place in PLACES},
        "run": f"/ui/runs/{run_id}",
        "runs-compare": f"/ui/runs/compare?run={run_id}&run={other}",
        "context": f"/ui/runs/{run_id}/context",
        "memory": f"/ui/memories/{memory['id']}",
        "error": "/ui/nowhere",
    }


class Tags(HTMLParser):
    """Every opening tag of a page with its attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_every_page_has_a_twin_and_forbids_scripts_that_are_not_ours(served: Served, paths: dict[str, str]) -> None:
    for name, path in paths.items():
        reply = served.http.get(path, headers={"Accept": "text/html"})
        assert reply.status_code == (404 if name == "error" else 200), name
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        for tag, attributes in Tags(reply.text).found:
            assert tag != "script" or "src" in attributes, name
            assert tag != "style", name
            assert not [one for one in attributes if one == "style" or one.startswith("on")], (name, tag, attributes)
            for link in ("src", "href", "action"):
                value = attributes.get(link) or ""
                assert not value.startswith(("/", "http:", "https:", "javascript:")), (name, value)
        if name != "docs":
            twin = served.http.get(path, headers={"Accept": "application/json"})
            assert "json" in twin.headers["content-type"], name


def test_a_page_of_another_site_changes_nothing(served: Served) -> None:
    evil = {"Origin": "http://evil.example"}
    before = served.http.get("/api/memories").json()["items"]
    refused = [
        served.http.post("/api/memories", json={"content": "planted"}, headers=evil),
        # What a form of another site can send without being asked first: no JSON.
        served.http.post("/api/memories", content=b'{"content": "planted"}', headers={"Content-Type": "text/plain"}),
    ]
    assert [reply.status_code for reply in refused] == [403, 415]
    assert served.http.get("/api/memories").json()["items"] == before


def test_pages_work_below_a_path_of_a_proxy(tmp_path: Path) -> None:
    files: set[str] = set()
    with serving(tmp_path, None, server__root_path="/deep/mneme") as below:
        for page in ("/ui/", "/ui/runs", "/ui/settings", "/docs"):
            # The proxy takes its prefix away; the browser keeps it.
            html = below.http.get(page, headers={"Accept": "text/html"}).text
            links = {urljoin(f"/deep/mneme{page}", one) for one in re.findall(r'(?:href|src|action)="([^"#]+)"', html)}
            assert len(links) > 10
            assert all(link.startswith("/deep/mneme/") for link in links), links
            files |= {link.removeprefix("/deep/mneme") for link in links if "/static/" in link}
        for file in files:
            assert below.http.get(file).status_code == 200, file


@pytest.mark.browser
def test_the_menu_and_the_help_open_by_key_on_a_narrow_screen(served: Served, browser: Browser) -> None:
    with quiet_page(browser, served, width=380) as page:
        page.goto("/ui/runs")
        expect(page.get_by_role("link", name="Vaults")).to_be_hidden()
        page.get_by_role("button", name="Menu").press("Enter")
        page.get_by_role("link", name="Vaults").click()
        expect(page).to_have_url(re.compile("/ui/vaults$"))
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.locator("#help")).to_be_hidden()


@pytest.mark.browser
@pytest.mark.parametrize("name", ["home", "runs", "run", "runs-compare"])
def test_pages_that_no_other_module_looks_at(
    served: Served, browser: Browser, paths: dict[str, str], name: str
) -> None:
    check_page(browser, served, paths[name], f"frame/{name}")


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), [(380, "dark"), (1280, "light")])
def test_the_reference_of_the_api_fits_and_is_accessible(
    served: Served, browser: Browser, width: int, scheme: Scheme
) -> None:
    # The longest page there is: axe takes seconds to read it.
    with quiet_page(browser, served, width=width, scheme=scheme) as page:
        page.goto("/docs")
        fits(page)
        accessible(page)


@pytest.mark.parametrize("at", ["/ui/playground", "/ui/runs/{run}", "/ui/runs/{run}/tree"])
def test_a_page_that_cannot_follow_a_run_says_what_it_needs(
    served: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: str
) -> None:
    run = submit(served, {"kind": "math", "problem": "1 + 1"}, agent="empirical-mcts", config={"rollouts": 1})
    served.ended(run)
    view = served.http.get(at.format(run=run), params={"format": "json"}).json()
    words: dict[str, Any] = {"live": True, "waiting": True, "question": "", "opened": None, "has_tree": True, "last": 0}
    words |= {"shown": shown_run(view["run"]), "rows": grouped(view["events"])} if "events" in view else {}
    words |= {"may_cancel": False, "may_resume": False, "may_fork": False, "form": BLANK, "trees": [], "ended": None}
    template = {"/ui/playground": "playground.html", "/ui/runs/{run}": "run.html"}.get(at, "tree.html")
    said = "needs the library eventsource-parser, which is not installed here"
    assert said not in fragment(template, root="..", here="", **(view | words))
    monkeypatch.setattr(vendor, "VENDOR", tmp_path)
    without = fragment(template, root="..", here="", **(view | words))
    assert said in without
    assert 'data-live="yes"' not in without
    assert 'data-follows="yes"' not in without


@pytest.mark.browser
def test_without_the_library_of_streams_a_question_leads_to_the_page_of_its_run(served: Served, page: Page) -> None:
    fetched: list[str] = []
    page.on("request", lambda request: fetched.append(request.url))

    def unfollowed(route: Route) -> None:
        reply = route.fetch()
        route.fulfill(response=reply, body=re.sub('data-(live|follows)="yes"', r'data-\1="no"', reply.text()))

    page.route(re.compile(r"/ui/(playground|runs/run_\w+)(\?|$)"), unfollowed)
    page.goto("/ui/playground?q=slowly please")
    page.locator("#send").click()
    expect(page).to_have_url(re.compile(r"/ui/runs/run_\w+$"))
    expect(page.locator("#log > li").first).to_be_visible()
    page.wait_for_load_state()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    assert not [one for one in fetched if "eventsource" in one]
