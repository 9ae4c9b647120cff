"""Following memories in the browser: from an answer back to the quoted source, around in the graph, and back in time.

Each journey ends with what the page shows and with what the store has.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.conftest import Served, serving
from tests.api.web.conftest import remember, submit
from tests.browsing import quiet_page

pytestmark = pytest.mark.browser
SAID: Final = "I asked at the harbour: the ferry leaves at ten from the west quay, every day."
QUOTE: Final = "the ferry leaves at ten from the west quay"
SCRIPT: Final = f"""
[[rule]]
contains = "ask at the harbour"
reply = "{SAID}"
[[rule]]
contains = "ferry"
reply = "At ten, from the west quay."
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("graph"), SCRIPT) as running:
        yield running


def test_an_answer_is_followed_back_to_the_memory_and_to_the_quoted_source(served: Served, page: Page) -> None:
    origin = submit(served, "Please ask at the harbour.")
    assert served.ended(origin)["output"]["text"] == SAID
    said = next(each for each in served.events(origin) if QUOTE in each["data"].get("text", ""))
    begin = said["data"]["text"].index(QUOTE)
    source = {"kind": "run", "uri": f"{origin}#{said['seq']}", "role": "assistant", "quote": QUOTE}
    source |= {"span_start": begin, "span_end": begin + len(QUOTE)}
    memory = remember(served, "The ferry leaves the west quay at ten.", title="Ferry at ten", sources=[source])
    answered = submit(served, "When does the ferry leave?", vaults=["default"], memory="read")
    assert served.ended(answered)["status"] == "succeeded"

    page.goto(f"/ui/runs/{answered}")
    expect(page.locator("#answer")).to_have_text("At ten, from the west quay.")
    page.get_by_role("region", name="Memories").locator(f"a[href$='{memory['id']}']").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Ferry at ten")
    page.get_by_role("link", name="Sources and links").click()
    expect(page.locator("blockquote")).to_have_text(QUOTE)
    row = page.locator("tr", has=page.locator("blockquote"))
    expect(row).to_contain_text(f"event {said['seq']}")
    expect(row).to_contain_text(f"{begin}–{begin + len(QUOTE)}")
    expect(row.locator(f"a[href$='/{origin}']")).to_be_visible()
    row.get_by_role("link", name=f"event {said['seq']}").click()
    expect(page.locator("main")).to_contain_text("Please ask at the harbour.")
    shown = page.locator(f"#log .words [data-seq='{said['seq']}']").text_content() or ""

    kept = served.http.get(f"/api/memories/{memory['id']}/provenance").json()["sources"][0]
    assert shown[kept["span_start"] : kept["span_end"]] == kept["quote"] == QUOTE
    read = next(each for each in served.events(answered) if each["type"] == "memory.read")
    assert (read["data"]["id"], read["data"]["version"]) == (memory["id"], 1)


def test_a_trail_is_followed_in_the_graph_and_its_link_shows_the_same_to_somebody_else(
    served: Served, browser: Browser, page: Page
) -> None:
    lamp = remember(served, "The lamp of the lighthouse turns.", title="Lamp", entities=["lighthouse"])
    keeper = remember(served, "Mr Holm keeps the lighthouse.", title="Keeper", entities=["lighthouse", "Mr Holm"])
    boat = remember(served, "Mr Holm has a boat.", title="Boat", entities=["Mr Holm"], semantic_type="note")
    page.goto("/ui/graph")
    page.keyboard.press("/")
    page.keyboard.type("lamp of the lighthouse")
    page.keyboard.press("Enter")
    page.get_by_role("region", name="Memories found").get_by_role("link", name="Lamp").click()
    page.get_by_role("link", name="1 hop").click()
    expect(page.locator("#graph[data-nodes]")).to_be_attached()
    expect(page.locator("#graph-table")).not_to_contain_text("Boat")
    click(page, keeper["id"])
    expect(page.locator("#graph-panel h2")).to_have_text("Keeper")
    expect(page.locator("#graph-table")).to_contain_text("Boat")
    page.locator(".graph-kinds label", has_text="fact").first.click()
    with quiet_page(browser, served, width=380) as other:
        other.goto(page.url)
        expect(other.locator("#graph-table")).to_contain_text("Boat")

    told = served.http.get("/api/graph", params={"memory": keeper["id"], "whole": "true"}).json()
    assert {edge["memory"] for edge in told["edges"]} == {lamp["id"], keeper["id"], boat["id"]}


def test_the_past_shows_what_was_believed_and_what_became_of_it(served: Served, page: Page) -> None:
    tide = remember(served, "High tide is at four.", title="Tide")
    change = {"content": "High tide is at five.", "reason": "summer time"}
    edited = served.http.patch(f"/api/memories/{tide['id']}", json=change, headers={"If-Match": '"1"'})
    assert edited.status_code == 200, edited.text
    page.goto("/ui/timeline")
    page.locator(".timeline-name", has_text="Edited").click()
    row = page.get_by_role("region", name="What happened").locator("tr", has_text="summer time")
    expect(row).to_contain_text("Tide")
    expect(page.get_by_role("region", name="What happened")).not_to_contain_text("born")
    page.goto(f"/ui/timeline/believed?on={tide['recorded_at'].replace('+', '%2B')}")
    held = page.get_by_role("region", name="Held then").locator("tr", has_text="Tide")
    held.get_by_role("link", name="changed, version 2").click()
    expect(page.locator("main")).to_contain_text("High tide is at four.")
    expect(page.locator("main")).to_contain_text("High tide is at five.")

    history = served.http.get(f"/api/memories/{tide['id']}/history").json()
    assert [one["content"] for one in history["items"]] == ["High tide is at five.", "High tide is at four."]


def click(page: Page, memory: str) -> None:
    """Click on a node where it stands in the window."""
    place = page.evaluate(
        """id => { const at = document.getElementById('graph').drawing.getElementById(id).renderedPosition();
           const box = document.getElementById('graph').getBoundingClientRect(); return [box.x + at.x, box.y + at.y]; }""",
        memory,
    )
    page.mouse.click(*place)
