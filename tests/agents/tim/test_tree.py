"""The tree in the log: what was pruned and recalled is shown, and the working memory over time."""

from __future__ import annotations

import pytest

from api.routes.tree_documented import ThreadTree
from runtime.budget import Budget
from tests.agents.tim.world import World

pytestmark = pytest.mark.anyio


async def test_the_log_gives_the_same_document_as_the_run(world: World) -> None:
    run = await world.run()
    told = ThreadTree.model_validate(run.tree)
    assert told.document == run.document
    assert [node.path for node in told.nodes] == ["1", "1.1", "1.1.1", "1.1.2", "1.2", "2", "2.1"]
    assert {node.state for node in told.nodes} == {"closed"}


async def test_what_was_pruned_says_where_in_the_log(world: World) -> None:
    run = await world.run(k=0)
    nodes = {node["path"]: node for node in run.tree["nodes"]}
    assert [path for path, node in nodes.items() if node["live"]] == ["1", "2"]
    cuts = {event.seq: event.payload.path for event in run.events if event.type == "span.pruned"}  # type: ignore[union-attr]
    assert cuts[nodes["1.1.1"]["pruned_at"]] == "1.1"
    assert cuts[nodes["1.2"]["pruned_at"]] == "1"


async def test_the_series_tells_live_and_pruned_tokens_step_by_step(world: World) -> None:
    run = await world.run()
    series = run.tree["series"]
    assert [point["step"] for point in series][:4] == ["1.open", "1.1.open", "1.1.1.open", "1.1.1.tool"]
    assert [point["seq"] for point in series] == sorted(point["seq"] for point in series)
    end = run.detail["working_memory"]
    assert {name: series[-1][name] for name in end} == end
    assert max(point["live"] for point in series) <= end["peak"]
    # Nothing is lost: what is live and what was pruned is everything that was written.
    written = run.detail["metrics"]["output_tokens"]
    prompt = end["live"] + end["pruned"] - written
    assert all(point["live"] - prompt + point["pruned"] <= written for point in series)


async def test_a_tree_can_be_read_while_it_grows(world: World) -> None:
    run = await world.run(budget=Budget(calls=4))
    nodes = {node["path"]: node["state"] for node in run.tree["nodes"]}
    assert nodes == {"1": "in_subtasks", "1.1": "in_subtasks", "1.1.1": "closed"}
    ThreadTree.model_validate(run.tree)
    halves = [event for event in run.events if event.step == "1.open" or event.step == "1.1.open"]
    half = run._replace(events=halves).tree
    assert [node["state"] for node in half["nodes"]] == ["in_subtasks", "open"]
    assert half["document"] == {
        "reasoning": [
            {
                "title": "halves",
                "thought": "compare the two halves",
                "subtasks": [{"thought": "the left half first"}],
            }
        ]
    }
