"""The vocabulary: the types of the contract, and every payload comes back from its wire form."""

from __future__ import annotations

import typing
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from runtime import textsafe
from runtime.events import (
    TERMINAL_TYPES,
    AnyPayload,
    Event,
    LlmCall,
    NodeBackedUp,
    NodeCreated,
    Payload,
    RunFinished,
    RunResumed,
    TextDelta,
    UsageData,
    data_of,
    parse_payload,
)

CONTRACT = """
run.queued run.started run.finished run.failed run.cancelled run.resumed llm.call text.delta reasoning.delta memory.read
memory.written node.created node.scored node.selected node.backed_up task.opened task.closed span.pruned span.recalled
tool.call tool.result file.written check.failed step.completed budget.warning
"""
KINDS: tuple[type[Payload], ...] = get_args(get_args(AnyPayload)[0])
TEXTS = st.text(st.characters(codec=None), max_size=5)
JSON = st.recursive(st.none() | st.booleans() | st.integers() | TEXTS, st.lists, max_leaves=3)


def a_value(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a field, as wide as its type; hypothesis knows nothing of JSON values."""
    if "JsonValue" in str(annotation):
        return st.dictionaries(TEXTS, JSON, max_size=2)
    if annotation is str or annotation == (str | None):
        return TEXTS if annotation is str else st.none() | TEXTS
    if annotation is float or annotation == (float | None):
        return st.floats(allow_nan=False, allow_infinity=False)
    return st.from_type(annotation)


@st.composite
def payloads(draw: st.DrawFn) -> AnyPayload:
    kind = draw(st.sampled_from(KINDS))
    hints = typing.get_type_hints(kind)
    values = {name: draw(a_value(hints[name])) for name in kind.model_fields if name != "type"}
    return typing.cast(AnyPayload, kind(**values))


def test_the_types_are_those_of_the_contract() -> None:
    assert sorted(kind.model_fields["type"].default for kind in KINDS) == sorted(CONTRACT.split())
    assert set(CONTRACT.split()) > TERMINAL_TYPES


@given(payloads())
def test_every_payload_comes_back_from_its_stored_form(payload: AnyPayload) -> None:
    stored = textsafe.loads(textsafe.dumps(data_of(payload)))
    assert parse_payload(payload.type, stored) == payload


def test_data_leaves_out_the_type_and_what_is_not_set_but_no_null_inside_a_value() -> None:
    finished = RunFinished(status="succeeded", output={"text": "x", "score": None})
    assert data_of(finished) == {"status": "succeeded", "output": {"text": "x", "score": None}}


def test_the_root_of_a_search_tree_has_no_parent_and_comes_back() -> None:
    root = NodeCreated(id="n0", parent=None, depth=0)
    assert parse_payload("node.created", data_of(root)) == root


def test_a_call_carries_what_the_contract_names() -> None:
    call = LlmCall(purpose="direct.answer", model="m", usage=UsageData(prompt_tokens=3), cached_tokens=1, ms=2.5)
    assert {"purpose", "model", "usage", "cached_tokens", "ms"} <= data_of(call).keys()


def test_an_event_on_the_wire_has_the_fields_of_the_contract() -> None:
    at = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    event = Event(7, "run_1", at, TextDelta(text="hi"))
    assert event.wire() == {
        "seq": 7,
        "run_id": "run_1",
        "at": "2030-01-02T03:04:05+00:00",
        "type": "text.delta",
        "data": {"text": "hi"},
    }
    assert Event(7, "run_1", at, TextDelta(text="hi"), "answer").wire()["step"] == "answer"


def test_void_ranges_keep_their_shape() -> None:
    resumed = RunResumed(executor="e", attempt=2, reason="recovered", void=[(3, 4), (9, 9)])
    assert parse_payload("run.resumed", textsafe.loads(textsafe.dumps(data_of(resumed)))) == resumed


@pytest.mark.parametrize(
    ("kind", "data"), [("text.deltas", {"text": ""}), ("text.delta", {"text": "", "more": 1}), ("text.delta", {})]
)
def test_an_unknown_type_or_field_and_a_missing_one_are_refused(kind: str, data: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse_payload(kind, data)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_does_not_have_is_refused(value: float) -> None:
    with pytest.raises(ValidationError):
        NodeBackedUp(id="n", value=value, visits=1)


def test_payloads_do_not_change() -> None:
    with pytest.raises(ValidationError):
        TextDelta(text="a").text = "b"  # type: ignore[misc]
