"""The pages of runs: what they show, their JSON twins, and in a real browser that they live, escape and act."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from api.web.rows import grouped, question_of
from tests.api.conftest import Served
from tests.api.web.conftest import submit
from tests.browsing import expected


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
    page.goto(f"/ui/runs/{run_id}")
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
    page.goto(f"/ui/runs/{run_id}")
    expect(page.locator("#head .status")).to_have_text("succeeded")
    expect(page.locator("#answer")).to_contain_text("<script>document.title")
    page.reload()
    expect(page.locator("#answer")).to_contain_text("<img src=x onerror")
    page.goto("/ui/runs")
    assert "taken over" not in page.title()
    assert page.locator("main img, main script").count() == 0


@pytest.mark.browser
def test_a_run_is_cancelled_and_resumed_from_its_page(served: Served, page: Page) -> None:
    run_id = submit(served, "slowly again")
    page.goto(f"/ui/runs/{run_id}")
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
    page.goto("/ui/runs")
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
def test_a_run_is_forked_from_an_event(served: Served, page: Page) -> None:
    run_id = submit(served, "for a fork")
    served.ended(run_id)
    page.goto(f"/ui/runs/{run_id}")
    page.locator(".log summary").first.click()
    page.locator(".log > li", has=page.locator("details[open]")).get_by_role("button", name="Fork from here").click()
    event = page.locator("#fork-event").input_value()
    page.locator("#fork").get_by_role("button", name="Fork").click()
    expect(page).not_to_have_url(re.compile(run_id))
    expect(page.locator("#head .status")).to_have_text("succeeded", timeout=20_000)
    forked = served.http.get(f"/api/runs/{page.url.rpartition('/')[2]}").json()
    assert forked["parent"] == {"run": run_id, "event": int(event)}


@pytest.mark.browser
def test_two_runs_are_picked_and_compared(served: Served, page: Page) -> None:
    ids = [submit(served, "the first of two"), submit(served, "the second of two")]
    for run_id in ids:
        served.ended(run_id)
    page.goto("/ui/runs")
    compare = page.get_by_role("button", name="Compare two")
    expect(compare).to_be_disabled()
    for run_id in ids:
        page.locator(f"[data-pick][value='{run_id}']").check()
    compare.click()
    expect(page.get_by_role("heading", name="Two runs")).to_be_visible()
    for text in ("the first of two", "the second of two"):
        expect(page.locator("main")).to_contain_text(text)
    twin = served.http.get("/ui/runs/compare", params={"run": ids, "format": "json"}).json()
    assert [twin["a"]["id"], twin["b"]["id"]] == ids


@pytest.mark.browser
def test_what_the_server_refuses_is_said_on_the_page(served: Served, page: Page) -> None:
    expected(page, "404")
    run_id = submit(served, "to be refused something")
    served.ended(run_id)
    page.goto(f"/ui/runs/{run_id}")
    page.evaluate("""async () => {
        const { call } = await import("../static/page.js");
        await call("POST", "/api/runs", { agent: "nobody", input: "x" }).catch(() => {});
    }""")
    expect(page.locator("#notices .notice.bad")).to_contain_text("no such agent")
