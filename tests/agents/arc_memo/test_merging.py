"""Checks A, B and J of the sheet; a merge is repeatable and does not depend on the order of a batch."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.arc_memo.concept import Concept, ConceptEntry, ConceptMemory, Parameter, Proof
from agents.arc_memo.merging import (
    CONSOLIDATE_ABOVE,
    consolidated,
    merge,
    merge_batch,
    needs_consolidation,
    united,
    without_problem,
)

FIRST = ConceptEntry.model_validate(
    {
        "name": "recolor object",
        "kind": "routine",
        "routine_subtype": "grid manipulation",
        "output_typing": "grid",
        "parameters": [{"name": "object", "typing": "object"}, {"name": "color", "typing": "color"}],
        "cues": ["c1"],
        "implementation": ["i1"],
        "description": "d1",
    }
)
SECOND = ConceptEntry.model_validate(
    {
        "name": "recolor object",
        "parameters": [
            {"name": "color", "typing": "color | color scheme"},
            {"name": "scheme", "typing": "color scheme := Callable[[object], color]"},
        ],
        "cues": ["c1", "c2"],
        "description": "d2",
    }
)
NAMES = st.sampled_from(["a", "b", "c", ""])
TYPINGS = st.sampled_from(["", "t", "u", "t := int", "u := list[t]", "t | u", "t := u", "u := t"])
ENTRY = st.builds(
    lambda name, kind, texts, parameters: ConceptEntry.model_validate(
        {
            "name": name,
            "kind": kind,
            "description": texts[0],
            "output_typing": texts[1],
            "cues": texts[2:],
            "implementation": texts[1:],
            "parameters": [{"name": n, "typing": t, "description": d} for n, t, d in parameters],
        }
    ),
    NAMES,
    st.sampled_from(["routine", "structure", "type", None]),
    st.lists(st.sampled_from(["", "x", "y", "z"]), min_size=2, max_size=5),
    st.lists(st.tuples(NAMES, TYPINGS, st.sampled_from(["", "p", "q"])), max_size=3),
)
ENTRIES = st.lists(ENTRY, max_size=4)
BATCH = st.dictionaries(st.sampled_from(["p1", "p2", "p3", "p4"]), ENTRIES, max_size=4)


def test_a_two_writes_of_one_concept() -> None:
    first = merge(ConceptMemory(), [FIRST], "p1")
    second = merge(first.memory, [SECOND], "p2")
    assert (first.changed, second.changed, second.notes) == (("recolor object",), ("recolor object",), ())
    assert second.memory.concepts["recolor object"] == Concept(
        name="recolor object",
        kind="routine",
        routine_subtype="grid manipulation",
        output_typing="grid",
        parameters=(
            Parameter("object", "object"),
            Parameter("color", "color | color scheme"),
            Parameter("scheme", "color scheme := Callable[[object], color]"),
        ),
        description="d1",
        cues=("c1", "c2"),
        implementation=("i1",),
        used_in=("p1", "p2"),
    )
    assert second.memory.custom_types == {"color scheme": "Callable[[object], color]"}


def test_a_writing_again_changes_nothing() -> None:
    memory = merge(merge(ConceptMemory(), [FIRST], "p1").memory, [SECOND], "p2").memory
    again = merge(memory, [SECOND], "p2")
    assert again.changed == ()
    assert orjson.dumps(again.memory.to_json()) == orjson.dumps(memory.to_json())


def test_b_what_has_no_name_or_no_known_kind_is_left_out_with_one_line_each() -> None:
    memory = merge(ConceptMemory(), [FIRST], "p1").memory
    refused = merge(
        memory, [ConceptEntry(name="cell", kind="type"), ConceptEntry(kind="routine"), ConceptEntry(name="cell")], "p2"
    )
    assert refused.memory == memory
    assert refused.changed == ()
    assert refused.notes == (
        "p2: 'cell' is new and of kind 'type'; expected one of ['structure', 'routine']",
        "p2: an entry without a name is left out",
        "p2: 'cell' is new and of kind None; expected one of ['structure', 'routine']",
    )


def test_b_a_bare_known_name_records_the_use_and_nothing_else() -> None:
    before = merge(merge(ConceptMemory(), [FIRST], "p1").memory, [SECOND], "p2").memory.concepts["recolor object"]
    merged = merge(ConceptMemory({before.name: before}), [ConceptEntry(name="recolor object")], "p3")
    after = merged.memory.concepts["recolor object"]
    assert after.used_in == ("p1", "p2", "p3")
    assert after == Concept.from_json({**before.to_json(), "used_in": ["p1", "p2", "p3"]})


def test_an_empty_value_takes_the_place_of_none() -> None:
    known = Concept("a", "routine", parameters=(Parameter("x", "int", "a number"),), description="d")
    entry = ConceptEntry.model_validate({"name": "a", "parameters": [{"name": "x"}], "description": ""})
    after = merge(ConceptMemory({"a": known}), [entry], "p1").memory.concepts["a"]
    assert (after.parameters, after.description) == (known.parameters, "d")


def test_the_name_of_a_type_does_not_take_the_place_of_its_declaration() -> None:
    known = Concept("a", "routine", parameters=(Parameter("side", "side := up | down"),))
    named = ConceptEntry.model_validate({"name": "a", "parameters": [{"name": "side", "typing": "side"}]})
    other = ConceptEntry.model_validate({"name": "a", "parameters": [{"name": "side", "typing": "int"}]})
    memory = ConceptMemory({"a": known})
    assert merge(memory, [named], "p1").memory.custom_types == {"side": "up | down"}
    assert merge(memory, [other], "p1").memory.concepts["a"].parameters == (Parameter("side", "int"),)


@settings(max_examples=40)
@given(ENTRIES, ENTRIES)
def test_the_same_entries_of_the_same_problem_again_change_nothing(
    before: list[ConceptEntry], own: list[ConceptEntry]
) -> None:
    once = merge(merge(ConceptMemory(), before, "p0").memory, own, "p1")
    twice = merge(once.memory, own, "p1")
    assert twice.changed == ()
    assert twice.memory == once.memory


@settings(max_examples=40)
@given(ENTRIES, BATCH)
def test_j_a_batch_gives_the_same_memory_in_every_order(
    before: list[ConceptEntry], batch: dict[str, list[ConceptEntry]]
) -> None:
    start = merge(ConceptMemory(), before, "p0").memory
    results = [merge_batch(start, dict(order)) for order in permutations(batch.items())]
    assert {orjson.dumps(each.memory.to_json()) for each in results} == {orjson.dumps(results[0].memory.to_json())}
    assert {(each.changed, each.notes) for each in results} == {(results[0].changed, results[0].notes)}


@settings(max_examples=40)
@given(ENTRIES, BATCH)
def test_changed_names_exactly_what_is_different(
    before: list[ConceptEntry], batch: dict[str, list[ConceptEntry]]
) -> None:
    start = merge(ConceptMemory(), before, "p0").memory
    merged = merge_batch(start, batch)
    assert set(start.concepts) <= set(merged.memory.concepts)
    different = [n for n, each in merged.memory.concepts.items() if start.concepts.get(n) != each]
    assert list(merged.changed) == sorted(different)


@settings(max_examples=40)
@given(ENTRIES, ENTRIES)
def test_of_two_concepts_of_one_name_the_first_has_the_first_word(
    one: list[ConceptEntry], other: list[ConceptEntry]
) -> None:
    first, second = (merge(ConceptMemory(), each, id_).memory.concepts for each, id_ in ((one, "p1"), (other, "p2")))
    for name in first.keys() & second.keys():
        both = united(first[name], second[name])
        assert both.kind == first[name].kind
        assert both.description == (first[name].description or second[name].description)
        assert both.used_in == ("p1", "p2")
        assert united(both, second[name]) == both
        assert united(first[name], first[name]) == first[name]


def test_a_helper_stays_with_its_proofs_whatever_is_merged() -> None:
    proofs = (Proof("p1", "a", ()), Proof("p2", "b", ()))
    coded = Concept("recolor object", "routine", used_in=("p1", "p2"), helper="def a(): 1", proofs=proofs)
    other = replace(coded, helper="def b(): 1", proofs=())
    assert united(coded, other) == coded
    assert united(other, coded) == other
    assert united(replace(other, helper=None), coded) == coded
    after = merge(ConceptMemory({"recolor object": coded}), [FIRST], "p3").memory.concepts["recolor object"]
    assert (after.helper, after.proofs) == (coded.helper, proofs)
    memory = without_problem(ConceptMemory({"recolor object": coded}), "p1").memory
    assert memory.concepts["recolor object"] == replace(coded, used_in=("p2",), proofs=proofs[1:])
    by_hand = without_problem(ConceptMemory({"recolor object": other}), "p1").memory.concepts["recolor object"]
    assert by_hand.helper == other.helper


def test_lists_that_grew_too_long_are_taken_shorter_and_never_empty_or_longer() -> None:
    nine = tuple(f"c{number}" for number in range(CONSOLIDATE_ABOVE + 1))
    concept = Concept("a", "routine", cues=nine, implementation=("n1", "n2"))
    assert needs_consolidation(concept)
    assert not needs_consolidation(Concept("a", "routine", cues=nine[1:], implementation=nine[1:]))
    assert needs_consolidation(Concept("a", "routine", implementation=nine))
    shorter = consolidated(concept, ["c0 and c1", " c0  and c1", "rest"], [])
    assert (shorter.cues, shorter.implementation) == (("c0 and c1", "rest"), ("n1", "n2"))
    longer = consolidated(concept, [" "], ["x", "y", "z"])
    assert longer == concept


def test_a_problem_is_taken_out_with_what_it_alone_used() -> None:
    bare = ConceptEntry(name="recolor object")
    frame = ConceptEntry(name="frame", kind="structure")
    memory = merge_batch(ConceptMemory(), {"p1": [FIRST], "p2": [bare, frame]}).memory
    left = without_problem(memory, "p2")
    assert left.changed == ("frame", "recolor object")
    assert left.memory == merge(ConceptMemory(), [FIRST], "p1").memory
    assert without_problem(memory, "p9").memory == memory
