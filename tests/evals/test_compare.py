"""Two evaluations, and the sentence that their interval allows."""

from __future__ import annotations

import pytest

from evals.compare import Side, compare, sentence
from evals.records import Record
from evals.statistics import Difference
from runtime.errors import InvalidInput
from tests.evals.making import header, record


def side(name: str, *records: Record, expected: int | None = None) -> Side:
    return Side(name, header(expected=len(records) if expected is None else expected), records)


def of(scores: str, **fields: object) -> list[Record]:
    return [record(f"i{n:03}", float(score), **fields) for n, score in enumerate(scores)]


def test_a_gain_that_the_interval_carries_may_be_called_one() -> None:
    found = compare(side("A", *of("1" * 30 + "0" * 10)), side("B", *of("1" * 10 + "0" * 30)))
    assert found.difference.mean == 0.5
    assert (found.single.only_a, found.single.only_b) == (20, 0)
    assert found.sentence.startswith("A improves on B: +50.0 points (95 % interval +")
    assert found.sentence.endswith("on 40 problems.")


def test_a_loss_is_called_one() -> None:
    found = compare(side("A", *of("0" * 40)), side("B", *of("1" * 20 + "0" * 20)))
    assert "A does worse than B: −50.0 points" in found.sentence


@pytest.mark.parametrize(("a", "b"), [("10110", "10010"), ("1" * 40, "1" * 40), ("1", "1")])
def test_no_gain_is_claimed_while_the_interval_includes_zero(a: str, b: str) -> None:
    found = compare(side("A", *of(a)), side("B", *of(b)))
    assert "improve" not in found.sentence
    assert "the interval includes zero" in found.sentence


@pytest.mark.parametrize(("low", "improves"), [(1e-9, True), (0.0, False), (-0.01, False)])
def test_an_interval_that_touches_zero_includes_it(low: float, improves: bool) -> None:
    assert ("improves" in sentence("A", "B", Difference(0.1, low, 0.2, 30, 9))) is improves


def test_too_few_problems_that_differ_carry_no_claim_and_the_reason_is_said() -> None:
    found = compare(side("A", *of("11111")), side("B", *of("00000")))
    assert "improve" not in found.sentence
    assert "they differ on 5, which chance explains; expected at least 6" in found.sentence


def test_only_common_problems_are_compared_and_each_counts_once() -> None:
    a = side("A", record("x", 1.0), record("y", 1.0), record("y", 0.0, attempt=1), record("only a", 0.0))
    b = side("B", record("y", 0.0), record("x", 0.0), record("only b", 1.0))
    found = compare(a, b)
    assert found.problems == 2
    assert (found.accuracy_a, found.accuracy_b) == (0.75, 0.0)
    assert (found.single.only_a, found.single.only_b) == (2, 0), "McNemar's test is over the first pass of each"


def test_nothing_in_common_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no problem in common"):
        compare(side("A", record("x")), side("B", record("y")))


def test_other_data_of_the_same_ids_is_said() -> None:
    found = compare(side("A", record("x")), side("B", record("x", data_sha256="e" * 64)))
    assert found.same_data is False
    assert compare(side("A", record("x")), side("B", record("x"))).same_data is True


def test_the_whole_is_json_with_both_sides_and_their_cost() -> None:
    told = compare(side("A", record("x"), expected=2), side("B", record("x", 0.0))).to_json()
    assert told["sentence"]
    assert isinstance(told["a"], dict)
    assert isinstance(told["b"], dict)
    assert (told["a"]["complete"], told["b"]["complete"]) == (False, True)
    assert (told["a"]["accuracy"], told["b"]["accuracy"]) == (1.0, 0.0)
