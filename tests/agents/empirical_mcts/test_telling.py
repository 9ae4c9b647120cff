"""What the log tells of a search: events while it happens, reasoning for who reads along, the tree for who looks later."""

from __future__ import annotations

import json

import pytest

from agents.empirical_mcts.tracing import event_of, payload_of
from runtime.events import NodeBackedUp, NodeCreated, NodeScored, NodeSelected, ReasoningDelta
from search.events import BackedUp, Created, Scored, Selected
from search.profile import ROBUST
from search.tree import Tree
from tests.agents.empirical_mcts.test_values import WORKED, letters
from tests.agents.empirical_mcts.world import Model, detail, search, spec, tree

pytestmark = pytest.mark.anyio
OF_NODES = (NodeBackedUp, NodeCreated, NodeScored, NodeSelected)


async def test_a_rollout_is_told_as_selected_created_scored_and_backed_up() -> None:
    async with search(letters(WORKED)) as (trial, _):
        run = await trial.run(spec(config={"profile": "published", "rollouts": 3}))
        events = await trial.events(run.id)
    told = [event.payload for event in events if isinstance(event.payload, OF_NODES)]
    assert [(each.type, each.id) for each in told] == [
        ("node.created", "0"),
        ("node.backed_up", "0"),
        *(("node.selected", "0"), ("node.created", "1"), ("node.scored", "1"), ("node.backed_up", "1")),
        *(("node.selected", "1"), ("node.created", "2"), ("node.scored", "2"), ("node.backed_up", "2")),
        *(("node.selected", "0"), ("node.created", "3"), ("node.scored", "3"), ("node.backed_up", "3")),
        ("node.selected", "1"),
    ]
    created = [each for each in told if isinstance(each, NodeCreated)]
    assert [(each.parent, each.depth, each.detail["answer"]) for each in created] == [
        (None, 0, "A"),
        ("0", 1, "B"),
        ("1", 2, "C"),
        ("0", 1, "D"),
    ]
    (judged, *_) = [each for each in told if isinstance(each, NodeScored)]
    assert judged.q_local == pytest.approx(0.731059, abs=1e-6)
    assert judged.detail["comparison"]["data"]["critique"] == "One is better."  # type: ignore[index,call-overload]
    backed = [each for each in told if isinstance(each, NodeBackedUp)]
    assert [each.detail["best"] for each in backed] == [0, 1, 1, 1]
    last = told[-1]
    assert isinstance(last, NodeSelected)
    assert last.detail == {"for": "answer", "by": "fused"}
    assert detail(run)["best"] == 1


async def test_who_reads_along_sees_answers_and_what_becomes_of_them_and_the_answer_alone_is_text() -> None:
    async with search(letters(WORKED)) as (trial, _):
        run = await trial.run(spec(config={"profile": "published", "rollouts": 2}))
        events = await trial.events(run.id)
    read = "".join(event.payload.text for event in events if isinstance(event.payload, ReasoningDelta))
    expected = [
        "A",
        "[node 0 is created: a]",
        "[rollout 1: node 0 is chosen]",
        "B",
        "[node 1 is created: b]",
        "[node 1 scores 7, node 0 6]",
        "[rollout 1 is complete]",
        "[node 2 scores 5, node 1 8]",
        "[node 1 is chosen as the answer]",
    ]
    at = 0
    for words in expected:
        at = read.index(words, at) + len(words)
    # Each step that speaks ends with its name, so that a listener hears the next one.
    speaking = {event.step for event in events if isinstance(event.payload, ReasoningDelta)}
    assert speaking <= {event.payload.name for event in events if event.type == "step.completed"}  # type: ignore[union-attr]


async def test_the_tree_of_a_run_that_is_going_on_is_what_is_complete() -> None:
    async with search(letters(WORKED)) as (trial, _):
        trial.breaking_off_at(8)
        run = await trial.run(spec(config={"profile": "published", "rollouts": 3}))
        assert run.status == "interrupted"
        events = await trial.events(run.id)
        told = tree("published", events)
        assert [node["answer"] for node in told["nodes"]] == ["A", "B", "C"]
        assert told["best"] == 1
        assert tree("published", events[:2]) == {"kind": "search", "nodes": [], "comparisons": [], "best": None}


async def test_the_log_is_the_tree() -> None:
    async with search(Model(judge=lambda asked: "{}")) as (trial, _):
        run = await trial.run(spec(config={"rollouts": 3}))
        events = await trial.events(run.id)
    live = Tree(ROBUST)
    for line in events:
        change = event_of(line.payload)
        if change is None:
            continue
        assert isinstance(change, Selected | Created | Scored | BackedUp)
        live.apply(change)
        again = payload_of(change, live)
        assert again == line.payload
    assert json.dumps(live.to_json()["nodes"])
    assert [node.status for node in live.nodes] == ["ok", *["judge_failed"] * 3]
