"""The graph page: what is drawn and listed is the neighbourhood in the store, bounded, filtered, and never a script."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from api.web.pages.graph import LISTED, MOST_NODES
from tests.api.conftest import Served, serving
from tests.api.web.conftest import remember
from tests.browsing import check_page

SCRIPT = "<script>document.title='taken over'</script>"
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One of its own: what is drawn is everything that is in the vault."""
    with serving(tmp_path_factory.mktemp("graph"), "") as running:
        yield running


@pytest.fixture(scope="module")
def known(served: Served) -> dict[str, dict[str, Any]]:
    """Four memories: two share a quay, the third is linked to the first, the fourth hides a script everywhere."""
    quay = remember(served, "The ferry leaves from the west quay.", title="Ferry", entities=["west quay", "ferry"])
    crane = remember(
        served, "The crane stands on the west quay.", title="Crane", semantic_type="note", entities=["west quay"]
    )
    old = remember(served, "The ferry left from the old pier.", title="Old ferry")
    served.http.post(f"/api/memories/{quay['id']}/link", json={"to": old["id"], "type": "RELATES"}).raise_for_status()
    moved = served.http.post(f"/api/memories/{old['id']}/state", json={"event": "archive"}, headers={"If-Match": '"1"'})
    assert moved.status_code == 200, moved.text
    evil = remember(served, f"Nothing {SCRIPT}", title=SCRIPT, entities=["west quay", f"<img src=x> {SCRIPT}"])
    return {"quay": quay, "crane": crane, "old": old, "evil": evil}


@pytest.fixture(scope="module")
def crowd(served: Served) -> str:
    """A vault of 320 memories over 200 entities; one of its memories."""
    served.http.post("/api/vaults", json={"name": "crowd"}).raise_for_status()
    random = Random(1)
    drafts = [
        {
            "content": f"Reading {n} of the buoys was {random.random():.6f} at mark {random.random():.6f}",
            "title": f"Reading {n}",
            "entities": [
                f"buoy {random.randrange(40)}",
                f"mark {random.randrange(100)}",
                f"crew {random.randrange(60)}",
            ],
        }
        for n in range(320)
    ]
    sent = served.http.post("/api/memories?force=true", json={"memories": drafts, "vault": "crowd"})
    assert sent.status_code in (200, 201), sent.text
    found = served.http.get("/api/memories", params={"vault": "crowd", "limit": 1}).json()
    return str(found["items"][0]["id"])


def view(served: Served, **query: Any) -> dict[str, Any]:
    reply = served.http.get("/ui/graph", params={"format": "json", **query})
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


def memories(told: dict[str, Any]) -> set[str]:
    return {edge["memory"] for edge in told["graph"]["edges"]}


def test_the_twin_is_the_neighbourhood_that_the_api_gives(served: Served, known: dict[str, dict[str, Any]]) -> None:
    told = view(served, memory=known["quay"]["id"])
    api = served.http.get(
        "/api/graph", params={"memory": known["quay"]["id"], "hops": 2, "whole": "true", "limit": 180}
    ).json()
    assert told["graph"]["edges"] == api["edges"]
    assert told["graph"]["links"] == api["links"]
    assert memories(told) == {each["id"] for each in known.values()}
    shared = {node["name"] for node in told["graph"]["nodes"]}
    # The script's own entity binds nothing and is not drawn.
    assert shared == {"west quay", "ferry"}
    assert {edge["memory"]: edge["state"] for edge in told["graph"]["edges"]}[known["old"]["id"]] == "archived"


def test_an_entity_is_a_start_as_well(served: Served, known: dict[str, dict[str, Any]]) -> None:
    told = view(served, entity="West Quay", hops=1)
    assert memories(told) == {known[name]["id"] for name in ("quay", "crane", "evil")}
    assert told["start"]["vault"] == known["quay"]["vault"]


def test_kinds_and_time_filter_the_table_and_the_twin(served: Served, known: dict[str, dict[str, Any]]) -> None:
    start = known["quay"]["id"]
    assert memories(view(served, memory=start, kind="note")) == {known["crane"]["id"]}
    assert view(served, memory=start, kind="note")["kinds"] == {"fact": 3, "note": 1}
    until = known["crane"]["recorded_at"]
    assert memories(view(served, memory=start, until=until)) == {known["quay"]["id"], known["crane"]["id"]}
    page = served.http.get("/ui/graph", params={"memory": start, "kind": "note"}, headers=HTML).text
    table = page.split('id="graph-table"')[1]
    assert "Crane" in table
    assert "Old ferry" not in table
    assert memories(view(served, memory=start, until="2001-01-01")) == set()
    empty = served.http.get("/ui/graph", params={"memory": start, "until": "2001-01-01"}, headers=HTML).text
    assert "Nothing is left of it with these filters." in empty


def test_what_was_expanded_is_in_the_address(served: Served, known: dict[str, dict[str, Any]]) -> None:
    alone = remember(served, "A lighthouse has a lamp.", title="Lighthouse", entities=["lighthouse"])
    other = remember(served, "The lighthouse keeper sleeps.", title="Keeper", entities=["lighthouse"])
    assert other["id"] not in memories(view(served, memory=known["quay"]["id"]))
    told = view(served, memory=known["quay"]["id"], **{"with": alone["id"]})
    assert {alone["id"], other["id"]} <= memories(told)


def test_a_drawing_has_at_most_300_nodes(served: Served, crowd: str) -> None:
    told = view(served, memory=crowd, hops=3)["graph"]
    assert len(told["nodes"]) + len(told["edges"]) <= MOST_NODES
    assert len(told["nodes"]) + len(told["edges"]) > MOST_NODES - 30
    assert told["truncated"]


def test_the_table_of_a_large_drawing_comes_in_pages(served: Served, crowd: str) -> None:
    listed: list[str] = []
    path = f"?memory={crowd}&hops=3"
    while path:
        text = served.http.get(f"/ui/graph{path}", headers=HTML).text
        rows = re.findall(r'<td class="main"><a href="[^"]*memory=(mem_\w+)', text)
        assert 0 < len(rows) <= LISTED
        listed += rows
        further = re.search(r'href="(\?[^"]*)#graph-table" rel="next"', text)
        path = html.unescape(further[1]) if further else ""
    assert listed == [edge["memory"] for edge in view(served, memory=crowd, hops=3)["graph"]["edges"]]


def test_filters_do_not_take_anything_from_the_drawing(served: Served, known: dict[str, dict[str, Any]]) -> None:
    start = known["quay"]["id"]
    text = served.http.get("/ui/graph", params={"memory": start, "kind": "note"}, headers=HTML).text
    found = re.search(r"data-told='([^']*)'", text)
    assert found is not None
    assert json.loads(found[1])["graph"] == view(served, memory=start)["graph"]


def test_without_a_selection_it_says_where_to_begin(served: Served, known: dict[str, dict[str, Any]]) -> None:
    told = view(served)
    assert told["entities"][0]["name"] == "west quay"
    assert told["entities"][0]["degree"] == 3
    assert known["quay"]["id"] in {one["memory"] for one in told["memories"]}
    assert known["old"]["id"] not in {one["memory"] for one in told["memories"]}
    found = view(served, q="ferry quay")["found"]
    assert found[0]["memory"]["id"] == known["quay"]["id"]
    text = served.http.get("/ui/graph", params={"q": "ferry quay"}, headers=HTML).text
    assert f'href="../ui/graph?memory={known["quay"]["id"]}"' in text


def test_an_empty_vault_says_how_to_get_the_first_memory(served: Served) -> None:
    served.http.post("/api/vaults", json={"name": "bare"}).raise_for_status()
    text = served.http.get("/ui/graph", params={"vault": "bare"}, headers=HTML).text
    assert "has no memories yet" in text
    assert "mneme memory add" in text


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"memory": "mem_0"}, 404),
        ({"entity": "nobody"}, 404),
        ({"memory": f"mem_{0:032}", "entity": "x"}, 400),
        ({"memory": f"mem_{0:032}", "hops": 9}, 422),
        ({"vault": "nowhere"}, 404),
    ],
)
def test_what_is_not_there_is_an_error_in_words(served: Served, query: dict[str, Any], status: int) -> None:
    reply = served.http.get("/ui/graph", params=query, headers=HTML)
    assert reply.status_code == status
    assert f"· {status}" in reply.text
    assert served.http.get("/ui/graph", params={**query, "format": "json"}).status_code == status


def test_markup_in_a_memory_is_text(served: Served, known: dict[str, dict[str, Any]]) -> None:
    for path, query in (
        ("/ui/graph", {"memory": known["evil"]["id"]}),
        ("/ui/graph", {"q": SCRIPT}),
        ("/ui/graph", {"entity": f"<img src=x> {SCRIPT}"}),
        ("/ui/graph/panel", {"memory": known["evil"]["id"]}),
        ("/ui/graph/panel", {"entity": f"<img src=x> {SCRIPT}"}),
    ):
        reply = served.http.get(path, params=query, headers=HTML)
        assert reply.status_code == 200
        assert "<script>document" not in reply.text
        assert "<img" not in reply.text.replace('<img src="../ui/static', "")


@pytest.mark.browser
def test_clicking_a_memory_shows_it_and_brings_in_what_is_around_it(
    served: Served, page: Page, known: dict[str, dict[str, Any]]
) -> None:
    far = remember(served, "The pump of the crane leaks.", title="Pump", entities=["crane pump"])
    near = remember(
        served, "The crane pump is by the west quay.", title="By the quay", entities=["crane pump", "west quay"]
    )
    page.goto(f"/ui/graph?memory={known['quay']['id']}&hops=1")
    expect(page.locator("#graph[data-nodes]")).to_be_attached()
    assert node(page, far["id"]) is None
    before = page.evaluate(PLACES)
    click(page, near["id"])
    expect(page.locator("#graph-panel h2")).to_have_text("By the quay")
    expect(page.locator("#graph-table")).to_contain_text("Pump")
    expect(page.locator("#graph")).not_to_have_attribute("data-nodes", str(len(before)))
    assert node(page, far["id"]) is not None
    after = page.evaluate(PLACES)
    assert {name: after[name] for name in before} == before, "what was there keeps its place"
    assert f"with={near['id']}" in page.url
    assert page.title() != "taken over"
    page.reload()
    expect(page.locator("#graph-table")).to_contain_text("Pump")


@pytest.mark.browser
def test_a_kind_that_is_switched_off_goes_from_drawing_and_table(
    served: Served, page: Page, known: dict[str, dict[str, Any]]
) -> None:
    page.goto(f"/ui/graph?memory={known['quay']['id']}")
    expect(page.locator("#graph[data-nodes]")).to_be_attached()
    assert node(page, known["crane"]["id"]) == "shown"
    page.locator(".graph-kinds label", has_text="note").click()
    expect(page.locator("#graph-table")).not_to_contain_text("Crane")
    assert node(page, known["crane"]["id"]) == "hidden"
    assert "kind=fact" in page.url
    assert "kind=note" not in page.url
    places = page.evaluate(PLACES)
    page.reload()
    expect(page.locator("#graph[data-nodes]")).to_be_attached()
    assert page.evaluate(PLACES) == places, "the same graph looks the same"
    assert node(page, known["crane"]["id"]) == "hidden"


@pytest.mark.browser
def test_labels_at_rest_do_not_lie_on_each_other_and_hovering_lights_what_is_around(
    served: Served, page: Page, crowd: str
) -> None:
    page.goto(f"/ui/graph?memory={crowd}&hops=3")
    expect(page.locator("#graph[data-nodes]")).to_be_attached(timeout=20_000)
    # Labels settle a moment after the drawing has found its size.
    for _ in range(100):
        if page.evaluate("document.getElementById('graph').drawing.nodes('.readable').length > 15"):
            break
        page.wait_for_timeout(50)
    page.wait_for_timeout(200)
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate("document.getElementById('graph').drawing.nodes('.readable').length") > 15
    before, over, around, after = page.evaluate(HOVERED)
    assert over == around > 2
    assert before == after == 0


@pytest.mark.browser
def test_the_graph_fits_every_window_and_both_themes(
    browser: Browser, served: Served, known: dict[str, dict[str, Any]]
) -> None:
    check_page(browser, served, f"/ui/graph?memory={known['quay']['id']}", "graph/graph")
    check_page(browser, served, "/ui/graph", "graph/begin")


def node(page: Page, memory: str) -> str | None:
    state: str | None = page.evaluate(
        """id => { const one = document.getElementById('graph').drawing.getElementById(id);
           return one.empty() ? null : one.visible() ? 'shown' : 'hidden'; }""",
        memory,
    )
    return state


def click(page: Page, memory: str) -> None:
    """Click on a node where it stands in the window."""
    place = page.evaluate(
        """id => { const at = document.getElementById('graph').drawing.getElementById(id).renderedPosition();
           const box = document.getElementById('graph').getBoundingClientRect(); return [box.x + at.x, box.y + at.y]; }""",
        memory,
    )
    page.mouse.click(*place)


PLACES = """() => Object.fromEntries(document.getElementById('graph').drawing.nodes()
  .map((node) => [node.id(), [Math.round(node.position('x')), Math.round(node.position('y'))]]))"""
OVERLAPS = """() => {
  const drawing = document.getElementById('graph').drawing;
  const boxes = drawing.nodes('.readable').map((node) => {
    const box = node.renderedBoundingBox({ includeNodes: false, includeLabels: true, includeOverlays: false });
    return { id: node.data('label'), ...box };
  });
  const over = (a, b) => Math.min(a.x2, b.x2) - Math.max(a.x1, b.x1) > 3 && Math.min(a.y2, b.y2) - Math.max(a.y1, b.y1) > 3;
  return boxes.flatMap((a, at) => boxes.slice(at + 1).filter((b) => over(a, b)).map((b) => `${a.id} / ${b.id}`));
}"""
HOVERED = """() => {
  const drawing = document.getElementById('graph').drawing;
  const one = drawing.nodes('.entity').max((node) => node.degree()).ele;
  const lit = () => drawing.nodes('.lit').length;
  const before = lit();
  one.emit('mouseover');
  const over = lit();
  one.emit('mouseout');
  return [before, over, one.closedNeighborhood().nodes().length, lit()];
}"""
