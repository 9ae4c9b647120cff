"""ARC-AGI: grids by example. A task is asked with its train pairs and test inputs; the test outputs are the gold and stay
with the scorer. Source: evaluation sheet §2, §3.1; ArcMemo sheet §3.9.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pydantic import BaseModel, JsonValue

from agents.tasks import parse_input
from agents.verifiers.grids import grid_of
from evals import grids
from evals.base import Answer, DataSet, Grader, Sample, Score, SuiteSpec
from evals.records import Record
from evals.scorers import arc, arc_figures
from evals.suites.fields import NoOptions, id_of, meta_of, split_of
from runtime.errors import InvalidInput
from runtime.types import JsonObject

META: Final = ("version", "part")


class Arc:
    """What the suites of both versions share. Further tasks come as lines `{id, train, test}` with the outputs in them."""

    spec: SuiteSpec

    def samples(self, data: DataSet, options: BaseModel) -> list[Sample]:
        """See `Suite`."""
        return [sample_of(data, number) for number in range(len(data.records))]

    async def score(self, sample: Sample, answer: Answer, grader: Grader) -> Score:
        """See `Suite`."""
        return arc.score(answer, cast(list[arc.Grid], sample.gold))

    def figures(self, records: Sequence[Record]) -> JsonObject:
        """See `TellsMore`."""
        return arc_figures.figures(records)

    def lines(self, told: Mapping[str, Any]) -> list[str]:
        """See `TellsMore`."""
        return arc_figures.lines(told)

    def picture(self, asked: Mapping[str, Any], record: Record, *, colour: bool) -> str:
        """See `TellsMore`: the train pairs, and for each test input the gold and the attempts."""
        attempts = cast(list[list[arc.Grid]], record.parts.get("attempts") or [[] for _ in asked["gold"]])
        return "\n\n".join(
            [
                grids.pairs(asked["prompt"], colour=colour),
                grids.tests(asked["prompt"], attempts, asked["gold"], colour=colour),
            ]
        )


class Arc1(Arc):
    """ARC-AGI-1."""

    spec = SuiteSpec(
        "arc1",
        1,
        "ARC-AGI-1, the 400 public evaluation tasks: grids by example, two attempts for each test input.",
        ("arc1-eval",),
        NoOptions,
        by_id=True,
    )


class Arc2(Arc):
    """ARC-AGI-2."""

    spec = SuiteSpec(
        "arc2",
        1,
        "ARC-AGI-2, the 120 public evaluation tasks: grids by example, two attempts for each test input.",
        ("arc2-eval",),
        NoOptions,
        by_id=True,
    )


def sample_of(data: DataSet, number: int) -> Sample:
    """One record as a sample. Raises `InvalidInput` naming the record and what is wrong in it."""
    record = data.records[number]
    where = f"data set {data.name!r}, record {number + 1}"
    tests = record.get("test")
    if not isinstance(tests, list) or not tests:
        raise InvalidInput(f"{where}: expected `test`, a list of pairs of input and output", param="data")
    gold: list[JsonValue] = []
    for place, pair in enumerate(tests):
        output = grid_of(pair.get("output")) if isinstance(pair, dict) else None
        if output is None:
            raise InvalidInput(f"{where}: test pair {place + 1} has no `output` that is a grid", param="data")
        gold.append(cast(JsonValue, output))
    id_ = id_of(data, number)
    task: JsonObject = {
        "kind": "arc",
        # So that what is learned on it can name it (evals/guards.py); no model is shown it.
        "id": id_,
        "train": record.get("train"),
        "test": [{"input": pair.get("input")} for pair in tests if isinstance(pair, dict)],
    }
    try:
        parse_input(task)
    except InvalidInput as error:
        raise InvalidInput(f"{where}: {error.message}", param="data") from error
    return Sample(id_, data.name, task, gold, split_of(data, number), meta_of(data, number, META))
