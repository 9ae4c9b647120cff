"""The page of a tree: what it shows, its twin, that it escapes, and that a large tree is drawn in part."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from api.demo_data.asked import ROWS
from api.demo_data.speaking import script
from tests.api.conftest import Served, serving
from tests.api.web.conftest import remember, submit
from tests.api.web.logs import searches, threads, write_run
from tests.browsing import check_page
from tests.conftest import make_settings

MARKUP = "<script>document.title = 'taken over'</script><img src=x>"
QUOTED = json.dumps(MARKUP)
RULES = f"""
[[rule]]
purpose = "tim.open"
contains = "show markup"
[rule.json]
title = {QUOTED}
thought = {QUOTED}
action = {{ kind = "conclude", conclusion = {QUOTED}, more = false }}
[[rule]]
purpose = "empirical_mcts.generate"
contains = "show markup"
replies = [{", ".join(json.dumps(f"{MARKUP} {number}") for number in range(5))}]
[[rule]]
purpose = "empirical_mcts.judge"
contains = "show markup"
[rule.json]
specific_criteria = {QUOTED}
critique = {QUOTED}
weight_allocation = "w"
scoring_process = "s"
final_score = [7, 4]
new_experiences = [{QUOTED}]
new_system_prompt = {QUOTED}
"""
LARGE: dict[str, str] = {}
RUNS: dict[str, str] = {}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("trees")
    settings = make_settings(home)
    LARGE["thread"] = write_run(settings, "tim", threads(5000))
    LARGE["search"] = write_run(settings, "empirical-mcts", searches(400))
    with serving(home, RULES + script()) as running:
        remember(running, "The wake of turbine T1 has gone after fourteen rotor diameters.")
        config = {"k": 0, "prune_at": "list_close", "tools": ["python", "memory_search"]}
        RUNS["thread"] = submit(running, ROWS, agent="tim", vaults=["default"], memory="read", config=config)
        RUNS["search"] = submit(running, "show markup", agent="empirical-mcts", config={"rollouts": 3}, seed=3)
        RUNS["markup"] = submit(running, "show markup", agent="tim")
        RUNS["direct"] = submit(running, "plain")
        for run in RUNS.values():
            assert running.ended(run)["status"] == "succeeded"
        yield running


def view(served: Served, kind: str, query: str = "") -> Any:
    reply = served.http.get(f"/ui/runs/{RUNS[kind]}/tree?format=json{query}")
    assert reply.status_code == 200, reply.text
    return reply.json()


def html(served: Served, run: str, query: str = "") -> str:
    reply = served.http.get(f"/ui/runs/{run}/tree{query}", headers={"Accept": "text/html"})
    assert reply.status_code == 200, reply.text
    return reply.text


@pytest.mark.parametrize("kind", ["thread", "search"])
def test_the_twin_is_the_tree_of_the_api_and_every_node_is_a_row(served: Served, kind: str) -> None:
    shown = view(served, kind)
    assert shown["tree"] == served.http.get(f"/api/runs/{RUNS[kind]}/tree").json()
    text = html(served, RUNS[kind])
    for node in shown["tree"]["nodes"]:
        assert f"?node={node.get('path', node.get('id'))}" in text


def test_the_tree_as_it_was_behind_an_event_is_smaller(served: Served) -> None:
    whole = view(served, "thread")["tree"]
    point = whole["series"][3]
    before = view(served, "thread", f"&at={point['seq']}")["tree"]
    assert before == served.http.get(f"/api/runs/{RUNS['thread']}/tree?at={point['seq']}").json()
    assert 0 < len(before["nodes"]) < len(whole["nodes"])
    assert all(node["pruned_at"] is None for node in before["nodes"])
    assert "as they were behind event" in html(served, RUNS["thread"], f"?at={point['seq']}")


def test_cards_are_short_and_know_when_they_were_born(served: Served) -> None:
    cards = served.http.get(f"/ui/runs/{RUNS['thread']}/tree?part=cards").json()
    tree = view(served, "thread")["tree"]
    assert [card["id"] for card in cards["nodes"]] == [node["path"] for node in tree["nodes"]]
    assert [stop["seq"] for stop in cards["stops"]] == [point["seq"] for point in tree["series"]]
    for card in cards["nodes"]:
        assert len(card["title"]) <= 90
        assert len(card["note"]) <= 120
        at = served.http.get(f"/api/runs/{RUNS['thread']}/tree?at={card['born']}").json()
        assert card["id"] in [node["path"] for node in at["nodes"]]
    found = served.http.get(f"/ui/runs/{RUNS['search']}/tree?part=cards").json()
    best = [card["id"] for card in found["nodes"] if card["best"]]
    assert str(view(served, "search")["tree"]["best"]) in best
    ranks = sorted(card["rank"] for card in found["nodes"] if card["rank"] is not None)
    assert ranks == list(range(1, len(ranks) + 1))
    assert len(ranks) == sum(card["state"] == "ok" for card in found["nodes"])


def test_an_opened_node_has_its_words_its_calls_and_its_memories(served: Served) -> None:
    text = html(served, RUNS["thread"], "?node=1.2.1&part=node")
    assert "Eight diameters or fourteen?" in text
    assert "memory_search" in text
    assert "/ui/memories/mem_" in text
    assert "context?step=1.2.1.open" in text
    assert "<html" not in text
    answer = html(served, RUNS["search"], "?node=1&part=node")
    assert "context?step=node.1" in answer
    assert "against" in answer
    missing = served.http.get(f"/ui/runs/{RUNS['thread']}/tree?node=9.9", headers={"Accept": "text/html"})
    assert missing.status_code == 404


@pytest.mark.parametrize("kind", ["markup", "search"])
def test_markup_in_every_field_stays_text(served: Served, kind: str) -> None:
    for query in ("", "?node=1", "?node=1&part=node"):
        text = html(served, RUNS[kind], query)
        assert "document.title" in text
        assert "<script>document" not in text
        assert "<img src=x" not in text


def test_a_run_without_a_tree_says_so(served: Served) -> None:
    reply = served.http.get(f"/ui/runs/{RUNS['direct']}/tree", headers={"Accept": "text/html"})
    assert reply.status_code == 404
    assert "builds none" in reply.text
    assert served.http.get(f"/ui/runs/{RUNS['thread']}/tree?at=-1").status_code == 422


def test_links_lead_on_below_a_sub_path(served: Served) -> None:
    text = html(served, RUNS["thread"])
    assert 'href="/' not in text
    assert f'href="../../../ui/runs/{RUNS["thread"]}/tree?node=1"' in text


def test_the_list_of_a_large_tree_comes_after_the_page_and_in_pages(served: Served) -> None:
    at_once = html(served, LARGE["thread"])
    assert "The table comes with the tree." in at_once
    assert 'id="memory"' in at_once, "a thread shows its working memory"
    first = html(served, LARGE["thread"], "?part=whole")
    assert first.count("<tr data-row") < 1000
    assert "Further nodes" in first
    assert "First nodes" in html(served, LARGE["thread"], "?part=whole&from=200")


@pytest.mark.browser
@pytest.mark.parametrize("kind", ["thread", "search"])
def test_the_page_fits_and_is_accessible(served: Served, browser: Browser, kind: str) -> None:
    check_page(browser, served, f"/ui/runs/{RUNS[kind]}/tree", f"trees/{kind}")


@pytest.mark.browser
def test_markup_does_not_run_in_the_drawing(served: Served, page: Page) -> None:
    page.goto(f"/ui/runs/{RUNS['search']}/tree?node=1")
    expect(page.locator("#tree .card")).to_have_count(5)
    expect(page.locator("#node")).to_contain_text("<script>document.title")
    assert page.locator("main img, main script").count() == 0
    assert "taken over" not in page.title()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("kind", "all_words"),
    [("thread", {"", "pruned", "pruned, read back"}), ("search", {"", "on the best path"})],
)
def test_a_card_says_what_its_lines_show(served: Served, page: Page, kind: str, all_words: set[str]) -> None:
    cards = served.http.get(f"/ui/runs/{RUNS[kind]}/tree?part=cards").json()["nodes"]
    page.goto(f"/ui/runs/{RUNS[kind]}/tree")
    expect(page.locator("#tree .card")).to_have_count(len(cards) + 1)
    marks: dict[str, Callable[[dict[str, Any]], bool]] = {
        "pruned": lambda card: not card.get("live", True),
        "read back": lambda card: card.get("recalled", 0) > 0,
        "on the best path": lambda card: card.get("best", False),
    }
    shown = {one["id"]: ", ".join(words for words, holds in marks.items() if holds(one)) for one in cards}
    assert set(shown.values()) == all_words
    for name, words in shown.items():
        card = page.locator(f'#tree [data-id="{name}"]')
        expect(card).to_have_role("treeitem")
        expect(card.locator(".visually-hidden")).to_have_text(words)
        expect(card).to_have_accessible_name(re.compile(f"{words}$"))


@pytest.mark.browser
def test_a_large_search_opens_with_its_best_path(served: Served, page: Page) -> None:
    page.goto(f"/ui/runs/{LARGE['search']}/tree")
    expect(page.locator("#tree-words")).to_contain_text("400 answers")
    expect(page.locator("#tree-words")).to_contain_text("in closed branches")
    assert 5 < page.locator("#tree .card").count() < 120
    page.locator(".best-line a").last.click()
    expect(page.locator("#node")).to_be_visible()
    expect(page.locator("#tree .card.chosen")).to_have_count(1)
    page.locator("#tree").press("Escape")
    expect(page.locator("#node")).to_be_hidden()


@pytest.mark.browser
def test_a_tree_of_5000_nodes_draws_what_is_in_view_and_answers(served: Served, page: Page) -> None:
    page.goto(f"/ui/runs/{LARGE['thread']}/tree")
    words, cards = page.locator("#tree-words"), page.locator("#tree .card")
    expect(words).to_contain_text("5000 tasks", timeout=30_000)
    expect(words).to_contain_text("in closed branches")
    expect(page.locator("#list")).to_contain_text("Further nodes", timeout=20_000)
    page.locator("#unfold").click()
    expect(words).not_to_contain_text("closed branches")
    assert 5 < cards.count() < 400
    stage = page.locator("#tree")
    stage.press("ArrowDown")
    expect(page.locator("#tree .card.chosen")).to_have_count(1)
    page.locator("#further").click()
    assert 5 < cards.count() < 400
    page.locator("#earlier").click()
    expect(page).to_have_url(re.compile(r"at=\d+"))
    page.locator("#later").click()
    stage.press("c")
    expect(words).to_contain_text("in closed branches")
