"""`data`: each type has its fields, and what is stored is what every database gives back."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from memory.payloads import MAX_BYTES, MODELS, checked, names
from memory.types import SemanticType
from runtime import textsafe
from runtime.errors import InvalidInput

GOOD: dict[SemanticType, dict[str, Any]] = {
    "experience": {
        "method": "m",
        "keys": [{"text": "What is 2 + 2?", "problem_id": "run_1"}],
        "lineage": ["mem_1"],
        "problem": "p",
        "insight": "i",
        "category": "c",
        "op": "add",
        "reward": 0.5,
        "detail": {"a": [1]},
    },
    "concept": {
        "concept": "flood fill",
        "kind": "routine",
        "routine_subtype": "grid manipulation",
        "description": "fill what a border encloses",
        "parameters": [{"name": "colour", "typing": "int", "description": "of the area"}],
        "output_typing": "grid",
        "cues": ["enclosed areas"],
        "implementation": ["walk"],
        "used_in": ["t1"],
    },
    "lesson": {"situation": "s", "suggestion": "t", "source": "arc"},
    "note": {"run_id": "run_1", "segments": ["a"], "tokens": 3},
    "file": {"path": "a.py", "language": "python", "run_id": "run_1", "sha256": "0"},
    "memory_point": {"vertices": ["Ana"], "passages": ["p"], "order": 1, "step": 0},
    "tool_trace": {"tool": "add", "arguments": {"a": 1}, "result": [2], "ok": True},
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=10,
)


def test_every_learned_type_has_an_example_here() -> None:
    assert GOOD.keys() == MODELS.keys() <= set(get_args(SemanticType))


@pytest.mark.parametrize("semantic_type", list(GOOD))
def test_the_fields_of_a_type_are_kept_as_they_are(semantic_type: SemanticType) -> None:
    assert checked(semantic_type, GOOD[semantic_type]) == GOOD[semantic_type]


@pytest.mark.parametrize("semantic_type", list(GOOD))
def test_an_empty_payload_is_a_memory_of_which_only_the_text_is_known(semantic_type: SemanticType) -> None:
    assert checked(semantic_type, {}) == {}


@pytest.mark.parametrize("semantic_type", list(GOOD))
def test_an_unknown_key_is_refused_and_the_known_ones_are_named(semantic_type: SemanticType) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked(semantic_type, {**GOOD[semantic_type], "extra": 1})
    assert refused.value.param == "data.extra"
    assert all(name in refused.value.message for name in GOOD[semantic_type])


@pytest.mark.parametrize(
    ("semantic_type", "data", "param"),
    [
        ("concept", {"kind": "routine"}, "data.concept"),
        ("concept", {"concept": "c", "parameters": [{"typing": "int"}]}, "data.parameters.0.name"),
        ("lesson", {"situation": "s"}, "data.suggestion"),
        ("experience", {"op": "burn"}, "data.op"),
        ("experience", {"keys": [{"problem_id": "run_1"}]}, "data.keys.0.text"),
        ("note", {"tokens": -1}, "data.tokens"),
        ("memory_point", {"order": 0}, "data.order"),
        ("file", {"language": "python"}, "data.path"),
    ],
)
def test_a_wrong_field_is_named(semantic_type: SemanticType, data: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked(semantic_type, data)
    assert refused.value.param == param


def test_full_text_is_given_the_questions_of_an_experience_and_of_nothing_else() -> None:
    assert names("experience", GOOD["experience"]) == ("What is 2 + 2?",)
    assert names("experience", {}) == ()
    assert names("fact", {"keys": [{"text": "a"}]}) == ()


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, [{"deep": -math.inf}], 2**64, "\ud800", {1: 2}, object(), {"a", "b"}]
)
def test_what_is_not_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        checked("fact", {"x": value})
    assert refused.value.param == "data"


def test_what_is_too_large_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at most"):
        checked("document", {"x": "a" * MAX_BYTES})


@how(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), JSON, max_size=4))
def test_a_type_without_fields_of_its_own_takes_any_object_and_it_comes_back(data: dict[str, Any]) -> None:
    kept = checked("fact", data)
    assert kept == data
    assert textsafe.loads(textsafe.dumps(kept)) == data
