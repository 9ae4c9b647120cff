"""What is kept of outcomes: the last ones, those that a second run would give again, and nothing across tenants."""

from __future__ import annotations

import pytest

from runtime.sandbox.base import Case, Failure, Limits, Outcome
from runtime.sandbox.cache import Outcomes, key_of


def outcome(failure: Failure | None = None, value: int = 1) -> Outcome:
    return Outcome((Case(value=value, failure=failure),), "standard", cpu_seconds=0.5)


def test_the_least_used_goes_first_and_long_ones_do_not_come_in() -> None:
    known = Outcomes(entries=2, longest=10)
    known.put("a", outcome(value=1), size=1)
    known.put("b", outcome(value=2), size=1)
    assert known.get("a") == Outcome((Case(value=1),), "standard", 0.0, cached=True)
    known.put("c", outcome(value=3), size=11)
    known.put("d", outcome(value=4), size=10)
    assert [key for key in "abcd" if known.get(key)] == ["a", "d"]
    assert len(known) == 2


@pytest.mark.parametrize(
    ("failure", "kept"),
    [(None, True), ("error", True), ("output", True), ("timeout", False), ("memory", False), ("killed", False)],
)
def test_only_what_a_second_run_would_give_again_is_kept(failure: Failure | None, kept: bool) -> None:
    known = Outcomes()
    known.put("a", outcome(failure), size=1)
    assert (known.get("a") is not None) == kept


def test_a_key_covers_all_that_an_outcome_depends_on() -> None:
    limits = Limits()
    keys = {
        key_of("p", tenant="ann", versions={"numpy": "2"}, limits=limits, level="strong"),
        key_of("q", tenant="ann", versions={"numpy": "2"}, limits=limits, level="strong"),
        key_of("p", tenant="bob", versions={"numpy": "2"}, limits=limits, level="strong"),
        key_of("p", tenant="ann", versions={"numpy": "3"}, limits=limits, level="strong"),
        key_of("p", tenant="ann", versions={"numpy": "2"}, limits=Limits(seconds=1), level="strong"),
        key_of("p", tenant="ann", versions={"numpy": "2"}, limits=limits, level="standard"),
        # The border between the parts cannot be moved.
        key_of('"]\np', tenant="ann", versions={"numpy": "2"}, limits=limits, level="strong"),
    }
    assert len(keys) == 7
