"""Drafts and edits: what is stored is checked, whoever writes it, and the defaults of the vault are filled in."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from memory.changes import EDITABLE, MAX_CONTENT, MAX_ITEMS, MAX_NAME, admissible, applied
from memory.types import LIVE, Change, Draft, Vault
from runtime.errors import InvalidInput
from tests.memory.cubes import NOW, cube

VAULT = Vault("vlt_1", "usr_ann", "default", "private", None, (), None, 1, NOW, None)
CUBE = cube()


def refused(**given: Any) -> str | None:
    with pytest.raises(InvalidInput) as error:
        admissible(replace(Draft("Ana lives in Porto"), **given), VAULT, NOW)
    assert (error.value.param or "") in error.value.message
    return error.value.param


def test_a_plain_draft_is_taken_as_it_is() -> None:
    draft = Draft("Ana lives in Porto", subject="Ana", tags=("home",), valid_from=NOW, data={"a": [1]})
    assert admissible(draft, VAULT, NOW) == draft


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"content": " \n"}, "content"),
        ({"content": "a\x00b"}, "content"),
        ({"content": "\ud800"}, "content"),
        ({"content": "a" * (MAX_CONTENT + 1)}, "content"),
        ({"content": None}, "content"),
        ({"semantic_type": "rumour"}, "semantic_type"),
        ({"origin": "dream"}, "origin"),
        ({"kind": "stone"}, "kind"),
        ({"state": "deleted"}, "state"),
        ({"state": "merged"}, "state"),
        ({"subject": " "}, "subject"),
        ({"speaker": "a" * (MAX_NAME + 1)}, "speaker"),
        ({"session_id": "a" * 201}, "session_id"),
        ({"title": "a\x00"}, "title"),
        ({"tags": ("",)}, "tags"),
        ({"tags": tuple(map(str, range(MAX_ITEMS + 1)))}, "tags"),
        ({"entities": ("Ana\nBen",)}, "entities"),
        ({"sensitivity": ("\ud800",)}, "sensitivity"),
        ({"confidence": 1.1}, "confidence"),
        ({"confidence": float("nan")}, "confidence"),
        ({"priority": 3}, "priority"),
        ({"position": -1}, "position"),
        ({"position": 2**31}, "position"),
        ({"valid_from": datetime(2030, 1, 1)}, "valid_from"),
        ({"valid_from": NOW, "valid_to": NOW - timedelta(days=1)}, "valid_to"),
        ({"expires_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))}, "expires_at"),
        ({"data": {"x": float("inf")}}, "data"),
        ({"semantic_type": "lesson", "data": {"situation": "s"}}, "data.suggestion"),
    ],
)
def test_a_field_that_cannot_be_stored_is_named(given: dict[str, Any], param: str) -> None:
    assert refused(**given) == param


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_new_memory_begins_alive(state: Any) -> None:
    assert admissible(Draft("a", state=state), VAULT, NOW).state == state


def test_the_vault_gives_lifetime_and_sensitivity() -> None:
    home = replace(VAULT, default_ttl_s=60, default_sensitivity=("work", "health"))
    made = admissible(Draft("a", sensitivity=("health", "home")), home, NOW)
    assert made.expires_at == NOW + timedelta(seconds=60)
    assert made.sensitivity == ("health", "home", "work")
    soon = NOW + timedelta(seconds=5)
    assert admissible(Draft("a", expires_at=soon), home, NOW).expires_at == soon


def test_times_are_kept_in_utc_and_names_without_spaces_around_them() -> None:
    local = datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    made = admissible(Draft("a", valid_from=local, subject=" Ana ", tags=("x", " x", "y")), VAULT, NOW)
    assert (made.valid_from, made.valid_from.tzinfo) == (local, UTC) if made.valid_from else False
    assert (made.subject, made.tags) == ("Ana", ("x", "y"))


@how(max_examples=60, deadline=None)
@given(st.text(max_size=50), st.text(max_size=50), st.floats(), st.integers())
def test_what_is_admissible_is_admissible_again(content: str, name: str, confidence: float, priority: int) -> None:
    draft = Draft(content, subject=name or None, tags=(name,), confidence=confidence, priority=priority)
    try:
        made = admissible(draft, VAULT, NOW)
    except InvalidInput:
        return
    assert admissible(made, VAULT, NOW) == made
    assert made.content.encode()


def test_only_what_a_draft_says_can_be_edited() -> None:
    assert {item.name for item in fields(Draft)} - EDITABLE == {"sources", "state", "origin", "kind"}
    for name in ("state", "version", "vault_id", "recorded_at"):
        with pytest.raises(InvalidInput) as error:
            applied(CUBE, Change({name: 1}))
        assert error.value.param == name


def test_an_edit_without_a_change_is_refused() -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        applied(CUBE, Change({}))


def test_an_appended_text_stands_below_the_one_that_is_there() -> None:
    assert applied(CUBE, Change({"content": "and likes it"}, "append")) == {
        "content": "Ana lives in Porto\nand likes it"
    }
    assert applied(CUBE, Change({"content": "Ana left"}, "overwrite")) == {"content": "Ana left"}


def test_a_text_that_grew_too_long_is_refused() -> None:
    long = replace(CUBE, content="a" * (MAX_CONTENT - 1))
    with pytest.raises(InvalidInput, match="split it"):
        applied(long, Change({"content": "ab"}, "append"))


@pytest.mark.parametrize("name", ["content", "semantic_type", "data", "tags", "confidence", "priority", "pinned"])
def test_what_every_memory_has_cannot_be_taken_away(name: str) -> None:
    with pytest.raises(InvalidInput) as error:
        applied(CUBE, Change({name: None}))
    assert error.value.param == name


def test_what_a_memory_may_lack_can() -> None:
    assert applied(CUBE, Change({"subject": None, "valid_from": None})) == {"subject": None, "valid_from": None}


def test_an_edit_is_checked_together_with_what_stays() -> None:
    with pytest.raises(InvalidInput) as error:
        applied(CUBE, Change({"valid_to": NOW - timedelta(days=1)}))
    assert error.value.param == "valid_to"
    with pytest.raises(InvalidInput) as error:
        applied(replace(CUBE, data={"free": 1}), Change({"semantic_type": "concept"}))
    assert error.value.param == "data.concept"
