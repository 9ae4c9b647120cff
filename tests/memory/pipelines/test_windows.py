"""Raw memories: every word of a conversation is in one, and each character of them can be traced to its message."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from memory.pipelines.windows import OVERLAP_TOKENS, WINDOW_TOKENS, Turn, Window, raw_draft, tokens, turns_of, windows
from memory.types import Draft
from tests.memory.cubes import cube

AT = datetime(2024, 5, 3, tzinfo=UTC)
TALK = st.lists(
    st.tuples(st.sampled_from(["user", "assistant", "tool"]), st.text("ab 安\n", max_size=120)), min_size=1, max_size=12
)
SIZES = st.tuples(st.integers(20, 60), st.integers(0, 15))


def turns(talk: list[tuple[str, str]]) -> list[Turn]:
    return [Turn(f"m{n}", role, text, AT, "Ana" if role == "user" else None) for n, (role, text) in enumerate(talk)]


@how(max_examples=60, deadline=None)
@given(TALK, SIZES)
def test_no_word_is_lost_and_no_window_is_too_large(talk: list[tuple[str, str]], sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    made = windows(turns(talk), size=size, overlap=overlap)
    assert all(tokens(window.text) <= size for window in made)
    covered: dict[str, set[int]] = {}
    for window in made:
        for turn in window.turns:
            covered.setdefault(turn.id, set()).update(range(turn.offset, turn.offset + len(turn.text)))
    for number, (_, text) in enumerate(talk):
        expected = set(range(len(text))) if text.strip() else set()
        assert covered.get(f"m{number}", set()) == expected


@how(max_examples=60, deadline=None)
@given(TALK, SIZES)
def test_a_raw_memory_gives_its_turns_back(talk: list[tuple[str, str]], sizes: tuple[int, int]) -> None:
    for window in windows(turns(talk), size=sizes[0], overlap=sizes[1]):
        draft = raw_draft(window, Draft("", tags=("chat",), session_id="s1"))
        assert (draft.state, draft.semantic_type, draft.content) == ("generated", "document", window.text)
        assert (draft.tags, draft.session_id) == (("chat",), "s1")
        raw = cube(content=draft.content, data=draft.data, occurred_at=None)
        assert tuple(turns_of(raw)) == window.turns
        for source, turn in zip(draft.sources, window.turns, strict=True):
            assert (source.message_id, source.role, source.span_start) == (turn.id, turn.role, turn.offset)
            assert source.span_end == turn.offset + len(turn.text)


def test_a_short_talk_is_one_window_of_named_lines() -> None:
    (window,) = windows([Turn("m1", "user", "I live in Porto", AT, "Ana"), Turn("m2", "assistant", "Nice.")])
    assert window.text == "Ana: I live in Porto\nassistant: Nice."
    draft = raw_draft(window, Draft(""))
    assert draft.occurred_at == AT
    assert draft.data["messages"] == [
        {"id": "m1", "role": "user", "start": 5, "end": 20, "offset": 0, "speaker": "Ana", "at": AT.isoformat()},
        {"id": "m2", "role": "assistant", "start": 32, "end": 37, "offset": 0},
    ]


def test_a_window_begins_with_the_last_turns_of_the_one_before() -> None:
    talk = [Turn(f"m{n}", "user", "word " * 60) for n in range(40)]
    made = windows(talk)
    assert len(made) > 2
    for before, after in pairwise(made):
        shared = [turn for turn in after.turns if turn in before.turns]
        assert shared == list(after.turns[: len(shared)]) == list(before.turns[-len(shared) :])
        assert 0 < tokens(Window(tuple(shared)).text) <= OVERLAP_TOKENS
    assert all(WINDOW_TOKENS // 2 < tokens(window.text) <= WINDOW_TOKENS for window in made[:-1])


def test_a_long_turn_is_cut_at_spaces_and_its_parts_overlap() -> None:
    text = " ".join(f"word{n}" for n in range(2000))
    made = windows([Turn("m1", "user", text)])
    parts = [turn for window in made for turn in window.turns]
    assert len(parts) > 2
    for before, after in pairwise(parts):
        assert after.offset < before.offset + len(before.text), "they share words"
        assert before.text.endswith(" ")
        assert text[after.offset :].startswith(after.text)


def test_nothing_said_is_no_window() -> None:
    assert windows([]) == []
    assert windows([Turn("m1", "user", " \n")]) == []


@pytest.mark.parametrize(
    ("origin", "role"),
    [
        ("user_input", "user"),
        ("inference_extraction", "assistant"),
        ("import", "document"),
        ("external_retrieval", "document"),
    ],
)
def test_a_memory_that_was_not_cut_is_one_turn_of_who_made_it(origin: str, role: str) -> None:
    raw = cube(origin=origin, speaker="Ana", occurred_at=AT)
    assert turns_of(raw) == [Turn(raw.id, role, raw.content, AT, "Ana")]


def test_other_scripts_count_a_token_for_each_sign() -> None:
    assert tokens("") == 0
    assert tokens("abcd") == 1
    assert tokens("abcde") == 2
    assert tokens("里斯本") == 3
