"""The published data is read as it is (evaluation sheet §1, §6.1), and nothing of a solution gets into a task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agents.base import Answer
from agents.tasks import parse_input
from evals import registry
from evals.base import DataSet, Sample
from evals.hub import Hub
from evals.loading import Loader, samples_of
from runtime.errors import InvalidInput

pytestmark = pytest.mark.anyio


async def samples(suite: str, folder: Path, *words: str) -> list[list[Sample]]:
    loader = Loader(Hub(folder / "none"), lambda _: None, folder)
    found = registry.get(suite)
    return samples_of(found, await loader.load(words, found.spec.sets), registry.options_of(found, {}))


def record(suite: str, **fields: object) -> list[Sample]:
    found = registry.get(suite)
    data = DataSet("made", "test", "", "test", (fields,))  # type: ignore[arg-type]
    return found.samples(data, registry.options_of(found, {}))


@pytest.mark.parametrize(
    ("suite", "words", "counts"),
    [
        ("aime", (), [30, 30]),
        ("aime", ("aime2021", "aime2022"), [30, 29]),
        ("hmmt", ("hmmt_feb_2024", "cmimc_2024"), [30, 30]),
        ("math500", (), [500]),
        ("gsm8k", (), [400]),
    ],
)
async def test_every_record_is_read(suite: str, words: tuple[str, ...], counts: list[int], shared_data: Path) -> None:
    read = await samples(suite, shared_data, *words)
    assert [len(each) for each in read] == counts
    for sample in (sample for each in read for sample in each):
        assert parse_input(sample.task).kind == "math"
        assert sample.gold


async def test_the_first_problem_of_2025_has_the_answer_70(shared_data: Path) -> None:
    (only,) = await samples("aime", shared_data, "aime2025")
    assert (only[0].id, only[0].gold) == ("aime2025-I-01", "70")
    assert {sample.split for sample in only} == {"test"}
    assert only[0].meta == {"contest": "AIME I", "number": 1, "year": 2025}


async def test_older_years_are_for_learning(shared_data: Path) -> None:
    read = await samples("aime", shared_data, "aime2021", "aime2022")
    assert {sample.split for each in read for sample in each} == {"experience"}


async def test_a_task_holds_the_problem_and_nothing_else(shared_data: Path) -> None:
    records = [json.loads(line) for line in (shared_data / "math500/math500.jsonl").read_text("utf-8").splitlines()]
    ((*read,),) = await samples("math500", shared_data)
    for sample, whole in zip(read, records, strict=True):
        assert sample.task == {"kind": "math", "problem": whole["problem"]}
        assert "solution" not in sample.meta


@pytest.mark.parametrize(
    ("suite", "fields", "id_", "gold"),
    [
        ("aime", {"problem_idx": 3, "problem": "p", "answer": 7, "problem_type": ["Algebra"]}, "made-3", "7"),
        ("math500", {"unique_id": "test/a/1.json", "problem": "p", "answer": "x"}, "test/a/1.json", "x"),
        ("gsm8k", {"question": "q", "answer": "2 + 2 = <<2+2=4>>4\n#### 4"}, "made-1", "4"),
        ("hmmt", {"problem": "p", "answer": r"\sqrt{2}"}, "made-1", r"\sqrt{2}"),
    ],
)
def test_the_fields_of_each_publisher_are_known(suite: str, fields: dict[str, object], id_: str, gold: str) -> None:
    (sample,) = record(suite, **fields)
    assert (sample.id, sample.gold) == (id_, gold)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"problem": "p", "answer": "1000"}, "0 to 999"),
        ({"problem": "p", "answer": "x"}, "0 to 999"),
        ({"answer": "1"}, "record 1: expected text in one of the fields problem, question"),
        ({"problem": "p", "answer": "1", "split": "tests"}, "split 'tests'"),
    ],
)
def test_a_record_that_does_not_fit_is_refused_by_its_number(fields: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidInput, match=named):
        record("aime", **fields)


class Same:
    """Says yes, and keeps what it was asked."""

    asked: tuple[str, str] | None = None

    async def equal(self, gold: str, answer: str) -> bool:
        self.asked = (gold, answer)
        return True


async def test_each_suite_grades_as_its_answers_are() -> None:
    grader = Same()
    (aime,) = record("aime", problem="p", answer="70")
    assert (await registry.get("aime").score(aime, Answer(r"\boxed{70}"), grader)).correct
    assert grader.asked is None, "an integer needs no symbolic comparison"
    (hmmt,) = record("hmmt", problem="p", answer=r"\sqrt{8}")
    assert (await registry.get("hmmt").score(hmmt, Answer(r"\boxed{2\sqrt{2}}"), grader)).correct
    assert grader.asked == (r"\sqrt{8}", r"2\sqrt{2}")
