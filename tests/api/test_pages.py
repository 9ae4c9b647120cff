"""The pages: what they show, their JSON twins, and in a real browser that they live, escape and fit."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from api.web.rows import grouped, question_of
from tests.api.conftest import Served, serving

SCRIPT = """
[[rule]]
contains = "slowly"
reply = "one two three four five six seven eight nine ten"
delay_ms = 150
[[rule]]
contains = "markup"
reply = "<script>document.title = 'taken over'</script><img src=x onerror=\\"document.title = 'taken over'\\">"
[[rule]]
contains = "refused"
fault = "400"
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("pages"), SCRIPT) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        pytest.fail("no Chromium on this machine; install the Debian package `chromium`")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        opened = playwright.chromium.launch(executable_path=binary, args=options)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page on which every complaint of the console, the policy or a script fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(message.text)

    opened.on("console", on_console)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    yield opened
    context.close()
    assert complaints == []


def submit(served: Served, text: Any, **body: Any) -> str:
    reply = served.http.post("/api/runs", json={"agent": "direct", "input": text, **body})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def test_a_page_and_its_twin_show_the_same_runs(served: Served) -> None:
    run_id = submit(served, "for the list")
    served.ended(run_id)
    html = served.http.get("/ui/runs", headers={"Accept": "text/html"})
    assert html.headers["content-type"].startswith("text/html")
    for reply in (
        served.http.get("/ui/runs?format=json"),
        served.http.get("/ui/runs", headers={"Accept": "application/json"}),
    ):
        shown = [run["id"] for run in reply.json()["items"]]
        assert run_id in shown
        assert all(f"/ui/runs/{one}" in html.text for one in shown)
    twin = served.http.get(f"/ui/runs/{run_id}?format=json").json()
    assert twin["events"] == served.events(run_id)
    assert twin["run"]["output"]["text"] in served.http.get(f"/ui/runs/{run_id}").text


def test_filters_empty_states_and_errors_say_what_to_do(served: Served) -> None:
    assert "No run matches" in served.http.get("/ui/runs?status=interrupted").text
    for path, status in (("/ui/nowhere", 404), ("/ui/runs/run_none", 404), ("/ui/runs?status=odd", 400)):
        reply = served.http.get(path, headers={"Accept": "text/html"})
        assert reply.status_code == status
        assert "All runs" in reply.text
        twin = served.http.get(path, headers={"Accept": "application/json"})
        assert (twin.status_code, twin.headers["content-type"]) == (status, "application/problem+json")


def test_every_page_forbids_scripts_that_are_not_ours(served: Served) -> None:
    run_id = submit(served, "x")
    for path in ("/ui/runs", f"/ui/runs/{run_id}", "/docs", "/ui/nowhere"):
        reply = served.http.get(path, headers={"Accept": "text/html"})
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "<script>" not in reply.text
        assert not re.search(r'(?:src|href)="(?:https?:)?//', reply.text)
        assert not re.search(r'(?:src|href|action)="/', reply.text), "links are relative, for a sub-path behind a proxy"


def test_steps_side_by_side_stay_readable() -> None:
    def said(seq: int, step: str, text: str) -> dict[str, Any]:
        data = {"text": text}
        return {"seq": seq, "at": "2027-01-01T00:00:00", "type": "reasoning.delta", "step": step, "data": data}

    rows = grouped([said(1, "a", "A"), said(2, "b", "B"), said(3, "a", "AA"), said(4, "b", "BB")])
    assert [(row.step, row.pieces) for row in rows] == [("a", [(1, "A"), (3, "AA")]), ("b", [(2, "B"), (4, "BB")])]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        ([{"role": "user", "content": "first"}, {"role": "assistant", "content": "no"}], "first"),
        ([{"role": "user", "content": [{"type": "text", "text": "part"}]}], "part"),
        ({"kind": "math", "problem": "1+1"}, "1+1"),
        ({"kind": "arc", "train": [1, 2], "test": [3]}, "ARC task: 2 examples, 1 to solve"),
    ],
)
def test_the_question_of_a_run_is_shown_in_words(value: Any, text: str) -> None:
    assert question_of(value) == text


@pytest.mark.browser
def test_a_run_grows_while_somebody_watches(served: Served, page: Page) -> None:
    run_id = submit(served, "slowly please")
    page.goto(f"{served.url}/ui/runs/{run_id}")
    expect(page.locator("#live")).to_have_text("live")
    answer = page.locator("#answer")
    expect(answer).to_contain_text("one")
    early = answer.text_content() or ""
    assert "ten" not in early
    expect(answer).to_have_text("one two three four five six seven eight nine ten", timeout=20_000)
    expect(page.locator("#head .status")).to_have_text("succeeded")
    expect(page.locator("#usage")).to_contain_text("direct.answer")
    expect(page.locator("#live")).to_be_hidden()
    assert page.locator(".log > li").last.get_attribute("class") == "good"
    expect(page.locator("[data-key^='text.delta'] .words")).to_have_text(
        early + (answer.text_content() or "")[len(early) :]
    )


@pytest.mark.browser
def test_markup_from_a_model_is_text(served: Served, page: Page) -> None:
    run_id = submit(served, "markup <script>document.title = 'taken over'</script>")
    page.goto(f"{served.url}/ui/runs/{run_id}")
    expect(page.locator("#head .status")).to_have_text("succeeded")
    expect(page.locator("#answer")).to_contain_text("<script>document.title")
    page.reload()
    expect(page.locator("#answer")).to_contain_text("<img src=x onerror")
    page.goto(f"{served.url}/ui/runs")
    assert "taken over" not in page.title()
    assert page.locator("main img, main script").count() == 0


@pytest.mark.browser
def test_a_run_is_cancelled_and_resumed_from_its_page(served: Served, page: Page) -> None:
    run_id = submit(served, "slowly again")
    page.goto(f"{served.url}/ui/runs/{run_id}")
    expect(page.locator("#answer")).to_contain_text("one")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#head .status")).to_have_text("cancelled")
    page.get_by_role("button", name="Resume").click()
    expect(page.locator("#head .status")).to_have_text("succeeded", timeout=20_000)
    # What the cancelled step had said is void: the page shows it once.
    expect(page.locator("#answer")).to_have_text("one two three four five six seven eight nine ten")
    rows = page.locator("[data-key^='text.delta'] .words").all_text_contents()
    assert rows == ["one two three four five six seven eight nine ten"]
    numbers = [int(row.get_attribute("data-seq") or 0) for row in page.locator(".log > li").all()]
    assert numbers == sorted(numbers)


@pytest.mark.browser
def test_the_list_follows_its_runs_and_has_keys(served: Served, page: Page) -> None:
    run_id = submit(served, "slowly in the list")
    page.goto(f"{served.url}/ui/runs")
    row = page.locator("tr", has=page.locator(f"a[href$='{run_id}']"))
    expect(page.locator("#live")).to_have_text("live")
    expect(row.locator(".status")).to_have_text("succeeded", timeout=20_000)
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/ui/runs/run_"))


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280])
def test_pages_fit_and_are_kept_as_pictures(
    served: Served, browser: Browser, tmp_path: Path, scheme: Any, width: int
) -> None:
    run_id = submit(served, {"kind": "math", "problem": "x" * 200}, agent="best-of-n", config={"n": 2})
    served.ended(run_id)
    folder = Path(os.environ.get("MNEME_TEST_SCREENSHOTS", tmp_path))
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    for name, path in (("runs", "/ui/runs"), ("run", f"/ui/runs/{run_id}"), ("api", "/docs")):
        page.goto(served.url + path)
        wider = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wider <= 0, f"{path} is wider than {width} pixels"
        shot = folder / f"{name}-{width}-{scheme}.png"
        page.screenshot(path=shot, full_page=True)
        assert shot.stat().st_size > 5_000
    context.close()
