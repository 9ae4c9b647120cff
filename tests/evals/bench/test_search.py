"""The figures of the search benchmark, and that its questions are what they say."""

from __future__ import annotations

from io import StringIO

import anyio
import numpy as np
import pytest
from rich.console import Console

from evals.bench import search as bench
from evals.bench.judged_world import Question, World
from evals.bench.search import ARMS, CHOOSERS, Outcome, Speed, compared, exponent, mean_of, outcome
from search.base import Expansion
from search.profile import ROBUST
from search.tree import Tree
from tests.search.scripted import without_search


def test_growth_is_the_slope_of_the_whole_time() -> None:
    sizes = (100, 1000, 10_000)

    def grown(power: float) -> list[Speed]:
        whole = [0.0, *(size**power for size in sizes)]
        parts = zip(sizes, np.diff((0, *sizes)), np.diff(whole), strict=True)
        return [Speed("s", size, 1.0, count / seconds) for size, count, seconds in parts]

    assert exponent(grown(1.0)) == pytest.approx(1.0)
    assert exponent(grown(2.0)) == pytest.approx(2.0)


def test_a_mean_comes_with_its_interval() -> None:
    assert mean_of([1.0, 2.0, 3.0]) == "2.000 ±1.132"
    assert mean_of([1.0, 2.0, 3.0], signed=True) == "+2.000 ±1.132"


def test_the_judge_of_the_world_prefers_what_is_better_and_what_is_first() -> None:
    margins: dict[bool, list[float]] = {True: [], False: []}
    better = []

    async def ask() -> None:
        tree = without_search(ROBUST, [(None, 0.0, 0.0), (0, 6.0, 5.0)])
        for seed in range(600):
            question = Question(World(drift=0.0), seed)
            await question.root()
            await question.expand(tree, tree.nodes[0], Expansion("child", 0))
            said = await question.compare(tree, tree.nodes[1], tree.nodes[0])
            assert said is not None
            assert said.swapped is not None
            margin = said.s_child - said.s_opponent
            margins[said.swapped].append(margin)
            better.append((question.worth[1] - question.worth[0], margin))

    anyio.run(ask)
    assert np.mean(margins[True]) - np.mean(margins[False]) == pytest.approx(1.4, abs=0.5)
    assert 0.2 < np.corrcoef(np.array(better).T)[0, 1] < 0.7


def test_every_search_is_measured_on_the_same_first_answers_and_says_the_same_again() -> None:
    async def first_worths(seed: int) -> set[float]:
        found = [await outcome(arm, World("open"), 2, seed) for arm in ARMS]
        again = [await outcome(arm, World("open"), 2, seed) for arm in ARMS]
        assert [one.worth for one in found] == [one.worth for one in again]
        return {one.question.worth[0] for one in found}

    assert len(anyio.run(first_worths, 3)) == 1


def test_equal_calls_are_not_more_calls() -> None:
    async def calls() -> list[int]:
        return [(await outcome(ARMS[-1], World("open"), 8, seed)).calls for seed in range(10)]

    assert max(anyio.run(calls)) <= 17


def test_the_choosers_choose_as_they_say() -> None:
    tree = without_search(ROBUST, [(None, 0.0, 0.0), (0, 6.0, 4.0), (1, 9.0, 9.5), (2, 1.0, 9.9)])
    chosen = {name: rule(tree) for name, rule in CHOOSERS.items()}
    assert chosen["first answer"] == 0
    assert chosen["single judge score"] == 2
    assert chosen["Enhanced Borda"] == 1
    assert chosen["Bradley–Terry MAP"] in (1, 2)


def test_regret_is_against_the_best_that_any_search_made() -> None:
    def made(worth: float, best: float, calls: int) -> Outcome:
        return Outcome(worth, best, calls, Tree(ROBUST), Question(World(), 0))

    found = {4: {"a": [made(1.0, 2.0, 9), made(0.0, 0.0, 9)], "b": [made(2.0, 3.0, 8), made(0.0, 0.0, 8)]}}
    table = compared("world", {**found, 8: found[4], 16: found[4]})
    console = Console(width=200, file=StringIO())
    console.print(table)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1.000 ±1.960" in text
    assert "+0.500 ±0.980" in text
    assert "0.500 ±0.980" in text


@pytest.mark.parametrize("part", ["searches", "stopping", "overhead"])
def test_each_part_prints_its_tables(
    part: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["search", "--only", part, "--repeats", "2", "--nodes", "40"])
    bench.main()
    said = capsys.readouterr().out
    wanted = {"searches": "Bradley–Terry MAP", "stopping": "at .95", "overhead": "rollouts/s of processor"}
    assert wanted[part] in said
    assert "nan" not in said
