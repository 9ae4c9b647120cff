"""The gate: what a program must show before anything is learned from it."""

from __future__ import annotations

import pytest

from agents.arc_memo.gate import recoloured
from agents.tasks import ArcTask
from tests.agents.arc_memo.puzzles import (
    LONGER_MIRROR,
    LUCKY,
    MIRROR,
    SAME,
    Solver,
    code,
    learning,
    opened,
    puzzle,
    stored,
)

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("arena")]
# Right on the train pairs because the larger colour always stands on the right in the outputs that it knows.
BY_NUMBER = "def transform(g):\n    return [sorted(row) for row in g]\n"


@pytest.mark.parametrize(
    ("programs", "learns"),
    [
        ([MIRROR, LONGER_MIRROR], True),
        ([MIRROR, MIRROR], False),
        ([MIRROR, LUCKY], False),
        ([MIRROR, SAME], False),
    ],
)
async def test_agree_wants_two_different_programs_that_give_the_same_for_the_tests(
    programs: list[str], learns: bool
) -> None:
    async with opened(Solver(solve=lambda asked: code(programs[asked.seed % 2]))) as (trial, _):
        run = await trial.run(learning(config={"samples": 2, "retries": 0, "gate": "train+agree"}, seed=0))
        assert run.status == "succeeded"
        assert bool(await stored(trial)) is learns


@pytest.mark.parametrize(("program", "learns"), [(MIRROR, True), (BY_NUMBER, False)])
async def test_recolour_wants_colours_to_be_labels(program: str, learns: bool) -> None:
    task = puzzle([[2, 1], [3, 0]], [[4, 3]])
    async with opened(Solver(solve=lambda asked: code(program))) as (trial, _):
        run = await trial.run(learning(input=task, config={"gate": "train+recolour"}))
        assert run.status == "succeeded"
        assert bool(await stored(trial)) is learns


async def test_without_the_check_the_same_program_is_learned_from() -> None:
    async with opened(Solver(solve=lambda asked: code(BY_NUMBER))) as (trial, _):
        await trial.run(learning(input=puzzle([[2, 1], [3, 0]], [[4, 3]])))
        assert len(await stored(trial)) == 1


def test_colours_that_the_program_names_keep_their_place_and_one_alone_has_none_to_change_with() -> None:
    task = ArcTask.model_validate(puzzle([[2, 1], [3, 0]]))
    pairs = recoloured(task, "def transform(g):\n    return [[0 if c == 3 else c for c in r] for r in g]  # v10 0.5\n")
    assert pairs == [([[1, 2], [3, 0]], [[2, 1], [0, 3]])]
    assert recoloured(task, "1 2 3") == []
