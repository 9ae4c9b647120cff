"""A selection is matched exactly, then without regard to case, then dropped."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.arc_memo.concept import Concept, ConceptMemory
from agents.arc_memo.matching import Matched, match_names, match_numbers

MEMORY = ConceptMemory({name: Concept(name, "routine") for name in ("Frame", "frame", "draw line", "grow: object")})


def test_names_match_exactly_then_without_case_then_not_at_all() -> None:
    said = [" draw line ", "frame", "FRAME", "Draw Line", "circle", {"Grow": "object"}, "circle", None]
    assert match_names(said, MEMORY) == Matched(("draw line", "frame", "Frame", "grow: object"), ("circle", ""))


def test_nothing_is_found_in_an_empty_memory() -> None:
    assert match_names(["frame"], ConceptMemory()) == Matched((), ("frame",))


def test_zero_and_numbers_out_of_range_are_dropped_and_the_others_kept() -> None:
    assert match_numbers([3, 0, 1, -1, 3, 6, 5], 5) == Matched((3, 1, 5), (0, -1, 6))
    assert match_numbers([1], 0) == Matched((), (1,))


@given(st.lists(st.integers(-5, 20)), st.integers(0, 10))
def test_every_number_is_found_or_dropped_once(numbers: list[int], count: int) -> None:
    matched = match_numbers(numbers, count)
    assert sorted((*matched.found, *matched.dropped)) == sorted(set(numbers))
    assert all(1 <= number <= count for number in matched.found)
