"""Acceptance checks A to C of the sheet: values, selection and ranking, through the log of runs of the agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from runtime.events import Event, NodeBackedUp, NodeScored, NodeSelected
from tests.agents.empirical_mcts.world import Model, answered, detail, judging, search, spec, tree

pytestmark = pytest.mark.anyio
BOTH = pytest.mark.parametrize("profile", ["published", "robust"])
WORKED = {("B", "A"): (7.0, 6.0), ("C", "B"): (5.0, 8.0), ("D", "A"): (9.0, 6.0)}
Q_LOCAL = [0.5, 0.731059, 0.047426, 0.952574]
Q_GLOBAL = [[1], [0, 1], [0.5, 1, 0], [1 / 3, 1, 0, 2 / 3]]
VALUES = {
    "published": [
        [9.5],
        [9.523106, 9.731059],
        [9.447065, 8.762695, 0.047426],
        [9.066971, 7.891168, 0.047426, 6.952574],
    ],
    "robust": [
        [0.95],
        [0.142311, 0.973106],
        [0.537627, 0.876270, 0.004743],
        [0.431890, 0.876270, 0.004743, 0.695257],
    ],
}


def letters(scores: dict[tuple[str, str], tuple[float, float]]) -> Model:
    return Model(generate=lambda asked: "ABCDEFGHIJ"[asked.number], judge=judging(scores))


def column(told: dict[str, Any], name: str) -> list[Any]:
    return [node[name] for node in told["nodes"]]


def until(events: Sequence[Event], rollouts: int) -> Sequence[Event]:
    """The log up to the end of so many rollouts."""
    ends = [place for place, event in enumerate(events) if isinstance(event.payload, NodeBackedUp)]
    return events[: ends[rollouts] + 1]


def chosen(events: Sequence[Event]) -> list[tuple[int, float]]:
    """The nodes that were selected for a rollout, with their scores."""
    found = [event.payload for event in events if isinstance(event.payload, NodeSelected)]
    return [(int(each.id), each.detail["score"]) for each in found if "score" in each.detail]  # type: ignore[misc]


async def worked(rollouts: int = 3, **config: Any) -> list[Event]:
    """The worked tree: under `published` the search grows just this one."""
    async with search(letters(WORKED)) as (trial, _):
        run = await trial.run(spec(config={"profile": "published", "rollouts": rollouts, **config}))
        assert run.status == "succeeded"
        return await trial.events(run.id)


@BOTH
async def test_a_the_values_of_the_worked_tree(profile: str) -> None:
    events = await worked()
    for rollouts in range(4):
        told = tree(profile, until(events, rollouts))
        assert column(told, "answer") == [*"ABCD"][: rollouts + 1]
        assert column(told, "parent") == [None, 0, 1, 0][: rollouts + 1]
        assert column(told, "q_local") == pytest.approx(Q_LOCAL[: rollouts + 1], abs=1e-6)
        assert column(told, "q_global") == pytest.approx(Q_GLOBAL[rollouts], abs=1e-6)
        assert column(told, "value") == pytest.approx(VALUES[profile][rollouts], abs=1e-6)
    assert told["best"] == 1
    # The values in the log are those of the profile it ran under.
    live = [event.payload for event in events if isinstance(event.payload, NodeBackedUp)]
    assert [each.value for each in live] == pytest.approx(
        [values[place] for place, values in enumerate(VALUES["published"])], abs=1e-6
    )


async def test_a_the_answer_is_the_best_fused_score() -> None:
    async with search(letters(WORKED)) as (trial, _):
        run = await trial.run(spec(config={"profile": "published", "rollouts": 3}))
    told = detail(run)
    assert (told["best"], told["worst"], told["by"], told["stopped"]) == (1, 2, "fused", "rollouts")
    assert [number for number, _ in told["ranking"]] == [1, 3, 0, 2]
    assert [score for _, score in told["ranking"]] == pytest.approx([0.973106, 0.695257, 0.35, 0.004743], abs=1e-6)
    assert run.output is not None
    assert answered(run) == "B"


async def test_b_published_selection_has_a_bonus_that_never_steers() -> None:
    scores = {**WORKED, ("E", "B"): (6.0, 6.0)}
    async with search(letters(scores)) as (trial, _):
        run = await trial.run(spec(config={"profile": "published", "rollouts": 4}))
        events = await trial.events(run.id)
    picked = chosen(events)
    # A ranks below B after C and is chosen all the same; after D it has two children and is closed.
    assert [number for number, _ in picked] == [0, 1, 0, 1]
    assert [score for _, score in picked[1:3]] == pytest.approx([10.8966, 10.9145], abs=1e-4)


async def test_b_robust_selection_closes_a_node_that_a_child_exceeds() -> None:
    def better(asked: Any) -> float:
        return 5.0 + (int(asked) * 7 % 11) / 4

    judge = {
        (f"{child}", f"{other}"): (better(child), better(other)) for child in range(1, 17) for other in range(child)
    }
    model = Model(generate=lambda asked: str(asked.number), judge=judging(judge))
    async with search(model) as (trial, _):
        run = await trial.run(spec(config={"rollouts": 16}))
        events = await trial.events(run.id)
    closed = 0
    for place, (number, _) in enumerate(chosen(events)):
        nodes = tree("robust", until(events, place))["nodes"]
        for node in nodes:
            children = [nodes[child] for child in node["children"]]
            exceeded = any(child["value"] > node["value"] for child in children)
            is_closed = (len(children) >= 2 and exceeded) or len(children) >= 4
            closed += is_closed
            assert not (is_closed and node["id"] == number), (place, number)
    assert closed > 0
    assert nodes[0]["visits"] == len(nodes), "the root counts every judged descendant"


@BOTH
async def test_b_equal_scores_choose_the_smallest_id(profile: str) -> None:
    async with search(Model()) as (trial, _):
        run = await trial.run(spec(config={"profile": profile, "rollouts": 1, "c": 0.0}))
        events = await trial.events(run.id)
    assert chosen(events)[0][0] == 0
    assert column(tree(profile, events), "q_local") == [0.5, 0.5]


# A beats B, B beats C, D beats C; one child for each node, so that the search grows a chain.
CHAIN = {("B", "A"): (6.0, 8.0), ("C", "B"): (6.0, 8.0), ("D", "C"): (8.0, 6.0)}


async def chain() -> list[Event]:
    async with search(letters(CHAIN)) as (trial, _):
        run = await trial.run(spec(config={"profile": "published", "rollouts": 3, "k": 1}))
        return await trial.events(run.id)


@BOTH
async def test_c_borda_counts_wins_over_the_beaten_of_the_beaten(profile: str) -> None:
    told = tree(profile, await chain())
    assert column(told, "parent") == [None, 0, 1, 2]
    # B and D have one each. `published` goes by the id; `robust` finds that D has won with a margin, and B as much as lost.
    second = {"published": [2 / 3, 1 / 3], "robust": [1 / 3, 2 / 3]}[profile]
    assert column(told, "q_global") == pytest.approx([1, second[0], 0, second[1]])


def judged_too(events: Sequence[Event], child: int, opponent: int, scores: tuple[float, float]) -> list[Event]:
    """The log as if the last node had also been judged beside another one, as `evidence` does."""
    place = max(place for place, event in enumerate(events) if isinstance(event.payload, NodeScored))
    last = events[place]
    assert isinstance(last.payload, NodeScored)
    told: Any = last.payload.detail["comparison"]
    compared = dict(told) | {"child": child, "opponent": opponent, "s_child": scores[0], "s_opponent": scores[1]}
    more = {**last.payload.detail, "opponent": opponent, "comparison": compared}
    extra = Event(last.seq, last.run_id, last.at, last.payload.model_copy(update={"detail": more}), last.step)
    return [*events[: place + 1], extra, *events[place + 1 :]]


@BOTH
async def test_c_a_cycle_gives_equal_counts_and_no_win_over_oneself(profile: str) -> None:
    events = until(await chain(), 2)
    told = tree(profile, judged_too(events, 2, 0, (8.0, 6.0)))
    # A > B > C > A: all have two, and all margins are 0, so the ids decide.
    assert column(told, "q_global") == pytest.approx([1, 0.5, 0])


@BOTH
async def test_c_judging_a_pair_again_takes_the_place_of_what_was_said(profile: str) -> None:
    events = until(await chain(), 1)
    assert column(tree(profile, events), "q_global") == [1, 0]
    again = tree(profile, judged_too(events, 1, 0, (9.0, 6.0)))
    assert column(again, "q_global") == [0, 1]
    assert len(again["comparisons"]) == 2
