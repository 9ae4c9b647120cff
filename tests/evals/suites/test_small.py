"""Tasks for very small models: what they show, what they keep for a store, what a blind guess reaches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.base import Answer
from agents.tasks import parse_input
from agents.verifiers import open_verifiers
from evals import registry
from evals.base import Sample
from evals.hub import Hub
from evals.loading import Loader, samples_of
from evals.suites import generated
from evals.suites.small import sums
from runtime.errors import InvalidInput

pytestmark = pytest.mark.anyio
SMALL = registry.get("small")


class Never:
    async def equal(self, gold: str, answer: str) -> bool:
        raise AssertionError("numbers and words need no symbolic comparison")


async def samples(folder: Path | None, **options: Any) -> list[list[Sample]]:
    loader = Loader(Hub(Path("/nowhere")), lambda _: None, folder)
    return samples_of(SMALL, await loader.load((), SMALL.spec.sets), registry.options_of(SMALL, options))


async def test_the_published_tasks_are_read_and_sums_are_made(shared_data: Path) -> None:
    recall, equations, added = await samples(shared_data)
    assert (len(recall), len(equations), len(added)) == (100, 100, 81)
    assert recall[0].gold == "2275"
    assert len(recall[0].memories) == 20


async def test_without_a_folder_tasks_of_the_same_shape_are_made_the_same_every_time() -> None:
    first, second = await samples(None), await samples(None)
    assert first == second
    assert [len(each) for each in first] == [100, 100, 81]
    assert all(str(sample.gold) in " ".join(draft.content for draft in sample.memories) for sample in first[0])


async def test_made_facts_answer_their_question_once() -> None:
    for record in generated.fact_recall():
        relevant = record["facts"][record["relevant"]]
        assert record["answer"] in relevant
        assert sum(record["question"].removeprefix("What is ").rstrip("?") in fact for fact in record["facts"]) == 1


async def test_made_equations_are_solved_by_their_answer() -> None:
    async with open_verifiers() as verifiers:
        for sample in (await samples(None, tasks="equations"))[1]:
            verdict = await verifiers.verify(parse_input(sample.task), rf"\boxed{{{sample.gold}}}")
            assert verdict is not None
            assert verdict.score == 1.0, verdict
            wrong = await verifiers.verify(parse_input(sample.task), rf"\boxed{{{int(str(sample.gold)) + 1}}}")
            assert wrong is not None
            assert wrong.score == 0.0


async def test_published_equations_and_sums_carry_a_check_that_only_the_answer_passes(shared_data: Path) -> None:
    _, equations, added = await samples(shared_data)
    async with open_verifiers() as verifiers:
        for sample in (*equations, *added):
            task = parse_input(sample.task)
            good = await verifiers.verify(task, rf"\boxed{{{sample.gold}}}")
            bad = await verifiers.verify(task, rf"\boxed{{{int(str(sample.gold)) + 1}}}")
            assert good is not None
            assert bad is not None
            assert (good.score, bad.score) == (1.0, 0.0)


@pytest.mark.parametrize(("facts", "shown"), [(0, 0), (1, 1), (5, 5), (20, 20)])
async def test_so_many_facts_are_shown_the_relevant_one_among_them(shared_data: Path, facts: int, shown: int) -> None:
    recall, *_ = await samples(shared_data, facts=facts)
    for sample in recall:
        documents: Any = sample.task["documents"]
        assert len(documents) == shown
        assert any(str(sample.gold) in document for document in documents) is (shown > 0)
        assert len(sample.memories) == 20, "a warm store holds all of them, whatever is shown"


async def test_chance_is_that_of_a_blind_guess(shared_data: Path) -> None:
    recall, equations, added = await samples(shared_data, facts=5)
    assert {sample.chance for sample in recall} == {1 / 5}
    assert {sample.chance for sample in equations} == {1 / 12}
    assert {sample.chance for sample in added} == {1 / 17}
    unseen, *_ = await samples(shared_data, facts=0)
    by_attribute = {sample.meta["attribute"]: sample.chance for sample in unseen}
    assert by_attribute["favourite colour"] == pytest.approx(1 / 11, rel=0.4)
    assert all(chance is not None and chance < 0.2 for chance in by_attribute.values())


async def test_tasks_are_chosen_by_name(shared_data: Path) -> None:
    assert [len(each) for each in await samples(shared_data, tasks="sums")] == [0, 0, 81]
    with pytest.raises(InvalidInput, match="option 'tasks"):
        await samples(shared_data, tasks="nothing")
    with pytest.raises(InvalidInput, match="known options: tasks, facts"):
        await samples(shared_data, fact=5)


def test_every_sum_of_two_digits_comes_once() -> None:
    records = sums()
    assert len({tuple(record["terms"]) for record in records}) == 81
    assert len({sum(record["terms"]) for record in records[:8]}) >= 5, "the first ones are of all sizes"


@pytest.mark.parametrize(("reply", "value"), [("The sum is 5.", 1.0), (r"\boxed{5}", 1.0), ("Hm.", 0.0)])
async def test_sums_are_graded_leniently(reply: str, value: float) -> None:
    (only,) = [sample for sample in (await samples(None, tasks="sums"))[2] if sample.id == "sum-2-3"]
    assert (await SMALL.score(only, Answer(reply), Never())).value == value


async def test_facts_are_graded_as_words(shared_data: Path) -> None:
    recall, *_ = await samples(shared_data)
    assert (await SMALL.score(recall[0], Answer("It is 2275"), Never())).correct
    assert not (await SMALL.score(recall[0], Answer("It is 22750"), Never())).correct
