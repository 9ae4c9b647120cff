"""The suites of ARC: what is asked and what stays with the scorer; records that cannot be read."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from agents.base import Answer
from agents.tasks import ArcTask, parse_input
from evals import registry
from evals.base import DataSet, Sample, TellsMore, digest
from evals.suites import arc_data
from evals.suites.fields import NoOptions
from runtime.errors import InvalidInput

pytestmark = pytest.mark.anyio
PAIR = {"input": [[1]], "output": [[2]]}


class Never:
    async def equal(self, gold: str, answer: str) -> bool:
        raise AssertionError("grids need no symbolic comparison")


def samples(records: list[dict[str, Any]], suite: str = "arc1") -> list[Sample]:
    return registry.get(suite).samples(DataSet("mine", "here", "", "test", tuple(records)), NoOptions())


def flipped(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with every cell of every hidden output changed."""
    other = deepcopy(records)
    for pair in (pair for record in other for pair in record["test"]):
        pair["output"] = [[9 - cell for cell in row] for row in pair["output"]]
    return other


@pytest.mark.parametrize("version", arc_data.VERSIONS)
def test_every_task_is_asked_without_its_test_outputs(version: arc_data.Version) -> None:
    records = arc_data.records(version, "eval")
    read, other = samples(records, version), samples(flipped(records), version)
    assert digest(read) != digest(other), "the gold grids belong to the record"
    for sample, changed, record in zip(read, other, records, strict=True):
        task = parse_input(sample.task)
        assert isinstance(task, ArcTask)
        assert sample.task == changed.task, "no part of what is asked depends on a hidden output"
        assert sample.gold == [pair["output"] for pair in record["test"]] != changed.gold
        assert all(set(pair.model_dump()) == {"input"} for pair in task.test)
        assert sample.meta == {"version": version, "part": "eval"}
        assert sample.id not in " ".join(message.text for message in task.messages()), "no model is shown the id"


async def test_the_gold_grids_are_worth_one_and_others_are_not() -> None:
    suite = registry.get("arc1")
    for sample in samples(arc_data.records("arc1", "eval")[:40]):
        right = await suite.score(sample, Answer(json.dumps(sample.gold)), Never())
        wrong = await suite.score(sample, Answer(json.dumps(sample.task["train"])), Never())
        assert (right.value, right.how, wrong.value) == (1.0, "grid", 0.0)


def test_tasks_of_a_file_of_ones_own_are_read() -> None:
    (sample,) = samples([{"id": "mine-1", "train": [PAIR], "test": [PAIR, PAIR], "split": "train"}])
    assert (sample.id, sample.split, sample.gold) == ("mine-1", "train", [[[2]], [[2]]])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"test": []}, "record 1: expected `test`"),
        ({"test": [{"input": [[1]]}]}, "test pair 1 has no `output`"),
        ({"test": [{"input": [[1]], "output": [[10]]}]}, "test pair 1 has no `output` that is a grid"),
        ({"test": [PAIR, "x"]}, "test pair 2"),
        ({"test": [{"output": [[1]]}]}, r"input\.test\.0\.input"),
        ({"train": []}, r"input\.train"),
        ({"train": [{"input": [[1], [1, 2]], "output": [[1]]}]}, r"record 1: input\.train\.0\.input"),
    ],
)
def test_a_record_that_is_no_task_is_refused_by_its_number(change: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        samples([{"id": "a", "train": [PAIR], "test": [PAIR], **change}])


def test_the_suites_tell_more_than_an_accuracy() -> None:
    for name in ("arc1", "arc2"):
        suite = registry.get(name)
        assert isinstance(suite, TellsMore)
        assert suite.spec.by_id
    assert not isinstance(registry.get("aime"), TellsMore)
