"""LangGraph's filters and conditions on namespaces, compared with its own reading of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import MatchCondition
from langgraph.store.memory import InMemoryStore

from memory.langgraph_filter import BadFilter, check, fits, matches

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b", "2", "10", "x y"])
PARTS = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from("ab"), SCALARS, max_size=2)
VALUES = st.dictionaries(st.sampled_from("abc"), PARTS, max_size=3)
OPERATORS = st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"])
FILTERS = st.dictionaries(
    st.sampled_from("abc"), PARTS | st.dictionaries(OPERATORS, SCALARS, min_size=1, max_size=2), min_size=1, max_size=2
)


@given(VALUES, FILTERS)
def test_filters_agree_with_langgraph_where_it_gives_an_answer(value: dict[str, Any], wanted: dict[str, Any]) -> None:
    store = InMemoryStore()
    store.put(("n",), "k", value)
    try:
        theirs = bool(store.search(("n",), filter=wanted))
    except (TypeError, ValueError):  # it cannot compare a missing field or a word with a number
        return
    assert fits(value, wanted) == theirs


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ({"score": 5}, {"score": {"$gt": 4.99}}),
        ({"day": "2026-01-02"}, {"day": {"$gte": "2026-01-01", "$lt": "2026-02-01"}}),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}),
        ({"a": 1}, {"missing": None}),
    ],
)
def test_what_fits(value: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert fits(value, wanted)


@pytest.mark.parametrize("wanted", [{"a": {"$gt": 1}}, {"a": {"$lt": "z"}}, {"b": {"$gte": 0}}, {"c": {"x": 1}}])
def test_what_cannot_be_compared_does_not_fit(wanted: dict[str, Any]) -> None:
    assert not fits({"a": None, "c": "x"}, wanted)


def test_an_unknown_operator_is_refused_even_when_nothing_is_looked_at() -> None:
    for wanted in ({"a": {"$in": [1]}}, {"a": {"b": {"$regex": "x"}}}, {"a": {"$gt": 1, "b": 2}}):
        with pytest.raises(BadFilter, match="expected one of"):
            check(wanted)
    assert issubclass(BadFilter, ValueError)


LABELS = st.sampled_from(["a", "b", "*"])


@given(
    st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4).map(tuple),
    st.lists(LABELS, min_size=1, max_size=3).map(tuple),
    st.sampled_from(["prefix", "suffix"]),
)
def test_conditions_on_namespaces_agree_with_langgraph(space: Any, path: Any, kind: Any) -> None:
    store = InMemoryStore()
    store.put(space, "k", {})
    theirs = store.list_namespaces(**{kind: path}) == [space]
    assert matches(MatchCondition(kind, path), space) == theirs


def test_an_unknown_kind_of_condition_is_refused() -> None:
    with pytest.raises(BadFilter):
        matches(MatchCondition("middle", ("a",)), ("a",))  # type: ignore[arg-type]
