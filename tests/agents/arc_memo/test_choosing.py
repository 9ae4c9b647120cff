"""Which two grids are submitted: programs that pass first, by votes and length, then the others; nothing twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.arc_memo.choosing import at_depth, attempts, shortest_passing
from agents.arc_memo.grids import Grid
from agents.arc_memo.programs import Attempt, Shown

A: Grid = [[1]]
B: Grid = [[2]]
C: Grid = [[3]]


def made(sample: int, right: int, *outputs: Grid | None, depth: int = 0, length: int = 10) -> Attempt:
    """An attempt that gets `right` of two train pairs."""
    train = tuple(Shown(place < right, A, None) for place in range(2))
    return Attempt(sample, depth, "x" * length, None, train, outputs, "strong")


def test_programs_that_pass_come_before_any_that_fails_however_many_those_are() -> None:
    last = [made(0, 1, A), made(1, 1, A), made(2, 2, B), made(3, 1, A)]
    assert attempts(last, 1) == [[B, A]]


def test_votes_count_before_length_and_length_before_the_number_of_the_sample() -> None:
    assert attempts([made(0, 2, A, length=5), made(1, 2, B, length=50), made(2, 2, B, length=50)], 1) == [[B, A]]
    assert attempts([made(0, 2, A, length=50), made(1, 2, B, length=5)], 1) == [[B, A]]
    assert attempts([made(0, 2, A), made(1, 2, B)], 1) == [[A, B]]


def test_a_program_that_fails_adds_no_vote_to_those_that_pass() -> None:
    last = [made(0, 2, A, length=50), made(1, 1, A), made(2, 1, A), made(3, 2, B, length=5)]
    assert attempts(last, 1) == [[B, A]]


def test_of_programs_that_fail_the_one_that_is_right_more_often_comes_first() -> None:
    assert attempts([made(0, 0, A), made(1, 0, A), made(2, 1, B), made(3, 0, C)], 1) == [[B, A]]


def test_each_test_input_is_chosen_for_by_itself_and_nothing_is_made_up() -> None:
    assert attempts([made(0, 2, A, None), made(1, 2, A, B)], 2) == [[A], [B]]
    assert attempts([], 2) == [[], []]


def test_a_depth_knows_the_last_attempt_until_then() -> None:
    threads = [[made(0, 1, A), made(0, 2, B, depth=1)], [made(1, 2, C)], []]
    assert [attempt.outputs[0] for attempt in at_depth(threads, 0)] == [A, C]
    assert [attempt.outputs[0] for attempt in at_depth(threads, 1)] == [B, C]


def test_what_is_learned_from_is_the_shortest_program_that_passes_wherever_it_stands() -> None:
    threads = [[made(0, 1, A, length=1)], [made(1, 2, A, length=9)], [made(2, 1, B), made(2, 2, B, depth=1, length=4)]]
    best = shortest_passing(threads)
    assert best is not None
    assert (best.sample, best.depth) == (2, 1)
    assert shortest_passing([[made(0, 1, A)]]) is None


GRIDS = st.sampled_from([A, B, C, None])
MADE = st.builds(lambda right, output, length: (right, output, length), st.integers(0, 2), GRIDS, st.integers(1, 5))


@given(st.lists(MADE, max_size=6))
def test_at_most_two_that_differ_and_the_same_whatever_the_order(said: list[tuple[int, Grid | None, int]]) -> None:
    last = [made(n, right, output, length=length) for n, (right, output, length) in enumerate(said)]
    (chosen,) = attempts(last, 1)
    distinct = {repr(output) for _, output, _ in said if output is not None}
    assert len(chosen) == min(2, len(distinct))
    assert len({repr(grid) for grid in chosen}) == len(chosen)
    assert attempts(last[::-1], 1) == [chosen]
    if any(attempt.passes and attempt.outputs[0] for attempt in last):
        assert any(attempt.passes and attempt.outputs[0] == chosen[0] for attempt in last)
