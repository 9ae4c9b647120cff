"""What a model writes is taken as far as it can be read; a memory survives being written down."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.arc_memo.concept import (
    MAX_HELPER,
    MAX_NAME,
    CodedEntry,
    Concept,
    ConceptEntry,
    ConceptMemory,
    LessonEntry,
    Parameter,
    Proof,
    as_code,
    as_line,
    definitions,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from([*ConceptEntry.model_fields, "concept", "notes"])
TEXT = st.text(max_size=12)
CONCEPT = st.builds(
    Concept,
    name=st.sampled_from(["draw line", "grow: object", "frame", "Ünïcode ✓"]),
    kind=st.sampled_from(["structure", "routine"]),
    routine_subtype=st.none() | TEXT,
    output_typing=st.none() | TEXT,
    parameters=st.lists(st.builds(Parameter, TEXT, st.none() | TEXT, st.none() | TEXT), max_size=3).map(tuple),
    description=st.none() | TEXT,
    cues=st.lists(TEXT, max_size=3).map(tuple),
    implementation=st.lists(TEXT, max_size=3).map(tuple),
    used_in=st.lists(TEXT, max_size=3).map(tuple),
    helper=st.none() | TEXT.map(as_code),
    proofs=st.lists(st.builds(Proof, TEXT, TEXT, st.just((([[1]], [[2, 0]]),))), max_size=2).map(tuple),
)
MEMORY = st.lists(CONCEPT, max_size=4).map(lambda found: ConceptMemory({each.name: each for each in found}))


@settings(max_examples=40)
@given(MEMORY)
def test_d_a_memory_that_is_saved_and_loaded_is_saved_as_the_same_bytes(memory: ConceptMemory) -> None:
    saved = orjson.dumps(memory.to_json())
    loaded = ConceptMemory.from_json(orjson.loads(saved))
    assert orjson.dumps(loaded.to_json()) == saved
    assert loaded.concepts == memory.concepts
    assert loaded.categories == memory.categories


def test_a_concept_without_a_helper_does_not_speak_of_one() -> None:
    assert set(Concept("frame", "structure").to_json()) == {
        "concept",
        "kind",
        "routine_subtype",
        "output_typing",
        "parameters",
        "description",
        "cues",
        "implementation",
        "used_in",
    }


def test_what_a_model_writes_for_a_helper_is_taken_as_it_stands_or_not_at_all() -> None:
    assert as_code("\ndef f(x):\r\n    return x  \n\n") == "def f(x):\n    return x"
    assert [as_code(said) for said in (None, 7, "", " \n", "x" * (MAX_HELPER + 1))] == [None] * 5
    assert CodedEntry.model_validate({"name": "f", "helper": ["no text"]}).helper is None
    assert CodedEntry.model_validate("f") == CodedEntry(name="f")


def test_d_categories_and_custom_types_are_made_anew_from_the_concepts() -> None:
    frame = Concept("frame", "structure")
    recolor = Concept(
        "recolor", "routine", parameters=(Parameter("scheme", "color scheme := Callable[[object], color]"),)
    )
    told = ConceptMemory({"recolor": recolor, "frame": frame}).to_json()
    loaded = ConceptMemory.from_json({"concepts": told["concepts"]})
    assert loaded.categories == {"structure": ["frame"], "routine": ["recolor"]}
    assert loaded.custom_types == told["custom_types"] == {"color scheme": "Callable[[object], color]"}


def test_of_two_definitions_that_of_the_first_name_counts_whatever_the_order() -> None:
    a = Concept("a", "routine", output_typing="side := up | down")
    b = Concept("b", "routine", output_typing="side := int")
    assert ConceptMemory({"b": b, "a": a}).custom_types == ConceptMemory({"a": a, "b": b}).custom_types
    assert ConceptMemory({"b": b, "a": a}).custom_types == {"side": "up | down"}


@pytest.mark.parametrize(
    ("typing", "found"),
    [
        ("color", []),
        ("color scheme := Callable[[object], color]", [("color scheme", "Callable[[object], color]")]),
        ("list[cell pair := tuple[cell, cell]]", [("cell pair", "tuple[cell, cell]")]),
        ("color | side := up | down", [("side", "up | down")]),
        ("a := int; b  c := list[a]", [("a", "int"), ("b c", "list[a]")]),
        ("a :=", []),
        (":= int", []),
        ("3 := int", []),
    ],
)
def test_types_are_declared_in_typing_fields(typing: str, found: list[tuple[str, str]]) -> None:
    assert definitions(typing) == found


@settings(max_examples=40)
@given(st.dictionaries(FIELDS, JSON, max_size=5) | JSON)
def test_no_entry_is_refused_and_its_texts_stand_on_one_line(said: Any) -> None:
    entry = ConceptEntry.model_validate(said)
    texts = [entry.name, *entry.cues, *entry.implementation, *(each.name for each in entry.parameters)]
    assert all("\n" not in text and "\x00" not in text and text == text.strip() for text in texts)
    assert len(entry.name) <= MAX_NAME
    again = ConceptEntry.model_validate(entry.model_dump())
    assert again == entry


def test_names_that_parse_as_mappings_because_of_a_colon_are_names_again() -> None:
    assert ConceptEntry.model_validate({"grow": "object"}).name == "grow: object"
    assert ConceptEntry.model_validate({"name": {"grow": "object"}, "kind": "routine"}).name == "grow: object"
    assert as_line({"grow": {"object": "big"}}) == "grow: object: big"


def test_a_bare_name_is_an_entry() -> None:
    entry = ConceptEntry.model_validate("recolor object")
    assert (entry.name, entry.kind, entry.parameters) == ("recolor object", None, [])
    assert ConceptEntry.model_validate({"concept": "recolor object"}) == entry


def test_lists_are_read_in_every_form_and_unknown_keys_ignored() -> None:
    entry = ConceptEntry.model_validate(
        {
            "name": " recolor\nobject ",
            "kind": "routine",
            "weight": 3,
            "parameters": [{"object": "object"}, "color: color", "scheme", {"name": "n", "typing": "int", "x": 1}],
            "cues": [{"note": "same shape"}, {"a": 1, "b": [2]}, 7, None, "  "],
            "implementation": "one note",
        }
    )
    assert entry.name == "recolor object"
    parameters = [(each.name, each.typing) for each in entry.parameters]
    assert parameters == [("object", "object"), ("color", "color"), ("scheme", None), ("n", "int")]
    assert entry.cues == ["note: same shape", '{"a": 1, "b": [2]}', "7"]
    assert entry.implementation == ["one note"]
    named = ConceptEntry.model_validate({"name": "x", "parameters": {"a": "int", "b": {"typing": "grid"}}})
    assert [(each.name, each.typing) for each in named.parameters] == [("a", "int"), ("b", "grid")]


def test_what_no_database_holds_is_taken_out() -> None:
    assert as_line("a\x00b\ud800c") == "a bc"


def test_a_lesson_may_lack_a_field() -> None:
    assert LessonEntry.model_validate({"situation": "s", "x": 1}) == LessonEntry(situation="s", suggestion="")


def test_the_schema_names_the_fields_of_the_sheet() -> None:
    schema = ConceptEntry.model_json_schema()
    assert set(schema["properties"]) == {
        "name",
        "kind",
        "routine_subtype",
        "output_typing",
        "parameters",
        "description",
        "cues",
        "implementation",
    }
    assert schema["required"] == ["name"]
