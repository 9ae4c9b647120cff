"""Trees in a browser: a search that grows and is stopped, a thread that is stepped through, what the model saw."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from api.demo_data.asked import ROWS
from api.demo_data.speaking import script
from tests.api.conftest import Served, serving
from tests.api.web.conftest import submit

pytestmark = pytest.mark.browser
JUDGED = {
    "specific_criteria": "is it shorter",
    "critique": "the first is shorter",
    "weight_allocation": "all",
    "scoring_process": "read",
    "final_score": [7, 6],
    "new_experiences": [],
    "new_system_prompt": "Be short.",
}
SLOW = f"""
[[rule]]
purpose = "empirical_mcts.generate"
contains = "grow slowly"
replies = ["one \\\\boxed{{1}}", "two \\\\boxed{{2}}", "three \\\\boxed{{3}}", "four \\\\boxed{{4}}", "five \\\\boxed{{5}}"]
delay_ms = 60
[[rule]]
purpose = "empirical_mcts.judge"
contains = "grow slowly"
reply = {json.dumps(json.dumps(JUDGED))}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("trees"), SLOW + script()) as running:
        yield running


def tree(served: Served, run: str) -> Any:
    return served.http.get(f"/api/runs/{run}/tree").json()


def test_a_live_search_grows_on_the_page_and_is_stopped_from_it(served: Served, page: Page) -> None:
    run = submit(served, "grow slowly", agent="empirical-mcts", config={"rollouts": 200}, seed=1)
    page.goto(f"/ui/runs/{run}/tree")
    expect(page.locator("#live")).to_have_text("live")
    words = page.locator("#tree-words")
    expect(words).to_have_text(re.compile(r"^([2-9]|\d\d) answers"), timeout=20_000)
    expect(words).to_have_text(re.compile(r"^([5-9]|\d\d) answers"), timeout=20_000)
    assert page.locator("#tree .card").count() > 2
    # The judge is shown the two in an order that is drawn, so either may be the one with seven.
    said = next(one for one in tree(served, run)["comparisons"] if (one["child"], one["opponent"]) == (1, 0))
    assert {said["s_child"], said["s_opponent"]} == {7, 6}
    remark = page.locator("#tree [data-id='1'] .remark")
    expect(remark).to_contain_text("against #0")
    expect(remark).to_contain_text(f"{said['s_child']:g} : {said['s_opponent']:g}")
    page.get_by_role("button", name="Stop the run").click()
    expect(page.locator("#head .status")).to_have_text("cancelled", timeout=20_000)
    expect(page.locator("#live")).to_be_hidden()
    assert served.ended(run)["status"] == "cancelled"
    grown = tree(served, run)["nodes"]
    assert len(grown) < 200
    expect(words).to_have_text(re.compile(rf"^{len(grown)} answers"))
    expect(page.locator("#list tbody tr")).to_have_count(len(grown))


def test_a_thread_is_stepped_through_and_shows_what_was_pruned_and_read_back(served: Served, page: Page) -> None:
    config = {"k": 0, "prune_at": "list_close", "tools": ["python", "memory_search"]}
    run = submit(served, ROWS, agent="tim", vaults=["default"], memory="read", config=config)
    assert served.ended(run)["status"] == "succeeded"
    nodes = {node["path"]: node for node in tree(served, run)["nodes"]}
    page.goto(f"/ui/runs/{run}/tree")
    expect(page.locator("#tree .card")).to_have_count(len(nodes) + 1)
    gone = [path for path, node in nodes.items() if not node["live"]]
    assert gone
    expect(page.locator("#tree .card.gone")).to_have_count(len(gone))
    expect(page.locator("#tree .card.recalled")).to_have_count(sum(node["recalled"] > 0 for node in nodes.values()))
    for path in gone:
        expect(page.locator(f"#tree [data-id='{path}']")).to_contain_text(f"gave back {nodes[path]['tokens']}")
    # Back in time: fewer nodes, nothing pruned yet.
    page.locator("#step").fill("4")
    expect(page.locator("#step-words")).to_contain_text("4 of ")
    at = tree(served, run)["series"][3]["seq"]
    before = served.http.get(f"/api/runs/{run}/tree?at={at}").json()["nodes"]
    expect(page.locator("#tree .card")).to_have_count(len(before) + 1)
    expect(page.locator("#tree .card.gone")).to_have_count(0)
    expect(page).to_have_url(re.compile(rf"at={at}"))
    page.locator("#later").click()
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#step-words")).to_contain_text("6 of ")
    page.locator("#step").fill("100")
    # The keys of the drawing: into the tree, open a node, close its branch.
    stage = page.locator("#tree")
    stage.focus()
    stage.press("ArrowRight")
    stage.press("ArrowRight")
    stage.press("ArrowRight")
    stage.press("Enter")
    expect(page.locator("#node")).to_contain_text(nodes["1.1"]["thought"])
    stage.press("ArrowLeft")
    stage.press("c")
    expect(page.locator("#tree [data-id='1.1']")).to_have_count(0)
    expect(page.locator("#tree-words")).to_contain_text("in closed branches")


def test_what_the_model_saw_is_followed_from_a_node_to_its_parts_and_their_difference(
    served: Served, page: Page
) -> None:
    run = submit(served, ROWS, agent="tim", config={"tools": ["python"]})
    assert served.ended(run)["status"] == "succeeded"
    page.goto(f"/ui/runs/{run}/tree?node=1.2")
    page.locator("#node").get_by_role("link", name="1.2.after_list").click()
    expect(page).to_have_url(re.compile(r"step=1\.2\.after_list"))
    twin = served.http.get(f"/ui/runs/{run}/context?step=1.2.after_list&format=json").json()
    expect(page.locator(".part")).to_have_count(len(twin["parts"]))
    assert served.model is not None
    sent = [message["content"] for one in served.model.requests() for message in one["body"]["messages"]]
    document = next(part["text"] for part in twin["parts"] if part["name"] == "working memory")
    assert document in sent, "the model was sent this document"
    page.keyboard.press("d")
    expect(page.locator(".change ins").first).to_be_visible()
    page.locator("#before").click()
    expect(page.locator(".count").first).to_contain_text(" of ")
