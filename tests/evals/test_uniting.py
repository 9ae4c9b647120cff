"""What two runs learned under one name: one memory, by the rules of the agent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.arc_memo.concept import Concept, ConceptEntry, ConceptMemory, Parameter, Proof
from agents.arc_memo.merging import merge
from evals.uniting import united

BASE = Concept(
    "turn grid",
    "routine",
    output_typing="grid",
    parameters=(Parameter("grid", "grid"), Parameter("angle", "int")),
    cues=("the shape stays", "colours stay"),
    used_in=("p0",),
)
words = st.sampled_from(["a", "b", "c", "d"])
entries = st.builds(
    lambda description, cues, notes, typing: ConceptEntry(
        name="turn grid",
        kind="routine",
        description=description,
        cues=cues,
        implementation=notes,
        parameters=[{"name": "angle", "typing": typing}, {"name": "axis", "description": typing}],
    ),
    st.none() | words,
    st.lists(words, max_size=3),
    st.lists(words, max_size=3),
    st.none() | words,
)


def after(concept: Concept | None, entry: ConceptEntry, problem: str) -> Concept:
    known = ConceptMemory({} if concept is None else {concept.name: concept})
    return merge(known, [entry], problem).memory.concepts["turn grid"]


@given(st.none() | st.just(BASE), entries, entries)
def test_it_is_as_if_the_second_had_been_written_behind_the_first(
    base: Concept | None, first: ConceptEntry, second: ConceptEntry
) -> None:
    here, mine = after(base, first, "p1"), after(base, second, "p2")
    began = base or Concept("turn grid", "routine")
    made = united(began, mine, here)
    assert made == after(here, second, "p2")
    assert united(began, mine, made) == made, "once more changes nothing"


def test_what_a_run_shortened_is_short_and_what_came_in_meanwhile_stays() -> None:
    mine = replace(BASE, cues=("shape and colours stay",))
    here = replace(BASE, cues=(*BASE.cues, "a new sign"))
    assert united(BASE, mine, here).cues == ("a new sign", "shape and colours stay")
    assert united(BASE, here, mine).cues == ("shape and colours stay", "a new sign")


def test_of_two_helpers_the_first_stays_with_its_proofs() -> None:
    proof = Proof("p1", "def transform(g): return g", ())
    mine, here = replace(BASE, helper="def f(): ...", proofs=(proof,)), replace(BASE, helper="def g(): ...")
    assert united(BASE, mine, BASE) == mine
    assert united(BASE, mine, here) == here


@pytest.mark.parametrize("field", ["description", "output_typing", "routine_subtype"])
def test_what_a_run_itself_put_in_place_is_taken_where_nobody_else_did(field: str) -> None:
    mine = replace(BASE, **{field: "mine"})  # type: ignore[arg-type]  # all of them are texts
    other = replace(BASE, cues=(*BASE.cues, "x"))
    assert getattr(united(BASE, mine, other), field) == "mine"
    assert getattr(united(BASE, mine, replace(other, **{field: "theirs"})), field) == "theirs"  # type: ignore[arg-type]
