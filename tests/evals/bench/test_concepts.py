"""The made-up concepts of the benchmark, and what it says of orders."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from agents.arc_memo.concept import ConceptMemory
from agents.arc_memo.rendering import for_selection
from evals.bench.concepts import made_up, orders, question_about
from runtime.llm.estimate import estimate_tokens


def test_made_up_concepts_are_distinct_and_of_the_size_of_real_ones() -> None:
    concepts = made_up(400, seed=3)
    assert len({each.name for each in concepts}) == 400
    assert made_up(400, seed=3) == concepts
    # The released memory has 270 concepts, of which 106 are rendered in full, in about 67,000 characters.
    tokens = estimate_tokens(for_selection(ConceptMemory({each.name: each for each in concepts[:270]})))
    assert 8_000 < tokens < 20_000


def test_more_concepts_than_there_are_subjects_are_refused() -> None:
    with pytest.raises(SystemExit, match="expected at most 10368"):
        made_up(20_000, seed=0)


def test_a_question_does_not_say_what_is_to_be_done() -> None:
    for concept in made_up(20, seed=1):
        asked = question_about(concept)
        verb, thing, _ = concept.name.split(" ", 2)
        assert thing in asked
        assert f" {verb} " not in asked
        assert not any(cue in asked for cue in concept.cues)


def test_the_calls_of_a_batch_may_come_back_in_any_order_and_the_problems_may_not() -> None:
    out = StringIO()
    Console(file=out, width=200).print(orders(problems=30, k=10, seed=0))
    calls, problems = [line for line in out.getvalue().splitlines() if line.startswith("│")]
    assert calls.split("│")[2].strip() == "the same"
    assert problems.split("│")[2].strip() == "differ"
    assert problems.count("1.00") == 2
