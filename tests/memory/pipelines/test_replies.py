"""What a model may answer: the fields of the sheet and no others, signs that every text has, times as far as known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st
from pydantic import ValidationError

from memory.pipelines.replies import (
    Extraction,
    Fusion,
    Judgement,
    PairLabel,
    ParsedQuery,
    Reply,
    Summary,
    moment,
)

FIELDS: dict[type[Reply], set[str]] = {
    Extraction: {"memories", "summary"},
    ParsedQuery: {"queries", "entities", "time", "kinds", "intent"},
    PairLabel: {"label", "reason", "quotes", "newer"},
    Fusion: {"resolved", "text", "kept_claims", "dropped_claims"},
    Judgement: {"items"},
    Summary: {"title", "text", "child_ids"},
}
PARTS = {
    "Extracted": {"key", "text", "kind", "tags", "subject", "attribute", "valid_from", "confidence", "span"},
    "Span": {"message_id", "start", "end"},
    "Period": {"from", "to"},
    "Correction": {"validity", "attitude", "corrected_text", "memory_ids"},
}


@pytest.mark.parametrize("reply", FIELDS)
def test_the_schema_has_the_fields_of_the_sheet_and_is_closed(reply: type[Reply]) -> None:
    schema = reply.model_json_schema(by_alias=True)
    assert set(schema["properties"]) == FIELDS[reply]
    for name, part in {reply.__name__: schema, **schema.get("$defs", {})}.items():
        assert part["additionalProperties"] is False, name
        if name in PARTS:
            assert set(part["properties"]) == PARTS[name]


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Summary.model_validate_json('{"title": "t", "text": "x", "child_ids": ["a"], "mood": "good"}')


@pytest.mark.parametrize(
    "memory",
    [
        {"confidence": 1.5},
        {"confidence": None},
        {"text": ""},
        {"kind": "rumour"},
        {"span": {"message_id": "m", "start": -1, "end": 2}},
        {"tags": ["t"] * 21},
    ],
)
def test_a_claim_out_of_bounds_is_refused(memory: dict[str, Any]) -> None:
    good = {
        "key": "k",
        "text": "Ana",
        "kind": "user",
        "confidence": 1,
        "span": {"message_id": "m", "start": 0, "end": 3},
    }
    Extraction.model_validate({"memories": [good]})
    with pytest.raises(ValidationError):
        Extraction.model_validate({"memories": [good | memory]})


@pytest.mark.parametrize("quotes", [[], ["a"], ["a", "b", "c"]])
def test_a_label_has_a_quote_from_each_side(quotes: list[str]) -> None:
    with pytest.raises(ValidationError):
        PairLabel(label="redundant", reason="r", quotes=quotes, newer="a")


@how(max_examples=60, deadline=None)
@given(st.text(max_size=50))
def test_signs_that_no_text_has_become_spaces(text: str) -> None:
    said = Fusion.model_validate({"resolved": True, "text": text, "kept_claims": [text]})
    assert len(said.text) == len(text)
    assert said.text == said.kept_claims[0]
    assert len(said.text.encode()) >= len(text)
    assert not any(sign < " " and sign not in "\t\n" for sign in said.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024", datetime(2024, 1, 1, tzinfo=UTC)),
        ("2024-05", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024-5-3", datetime(2024, 5, 3, tzinfo=UTC)),
        (" 2024-05-03 ", datetime(2024, 5, 3, tzinfo=UTC)),
        ("2024-05-03T10:00:00", datetime(2024, 5, 3, 10, tzinfo=UTC)),
        ("2024-05-03T10:00:00+02:00", datetime(2024, 5, 3, 8, tzinfo=UTC)),
        ("2024-13", None),
        ("2024-02-30", None),
        ("0000", None),
        ("in spring", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_is_read_as_far_as_it_is_known(text: str | None, expected: datetime | None) -> None:
    assert moment(text) == expected
