"""Guards: what counts as a repetition, how a result is cut, and in which order the window is relieved."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.tim.guards import MARKER, NOTICE, Guards, min_conclusion, relief, shorten
from runtime.errors import InvalidInput


def test_the_same_call_in_one_list_is_noticed_the_third_time_and_ends_the_task_the_fifth() -> None:
    guards = Guards()
    calls = [guards.note_tool("1", "web", {"q": "x", "n": 1}), guards.note_tool("1", "web", {"n": 1, "q": "x"})]
    calls += [guards.note_tool("1", "web", {"q": "x", "n": 1}) for _ in range(4)]
    assert calls == ["ok", "ok", "notice", "notice", "conclude", "conclude"]
    assert guards.note_tool("2", "web", {"q": "x", "n": 1}) == "ok"
    assert guards.note_tool("1", "other", {"q": "x", "n": 1}) == "ok"
    assert guards.note_tool("1", "web", {"q": "x", "n": "1"}) == "ok"


def test_other_calls_in_between_do_not_start_the_count_anew() -> None:
    guards = Guards()
    found = [guards.note_tool("1", "web", {"q": q}) for q in ("a", "b", "a", "c", "a")]
    assert found == ["ok", "ok", "ok", "ok", "notice"]


def test_only_consecutive_thoughts_count() -> None:
    guards = Guards()
    found = [guards.note_thought(text) for text in ("a b", "a  b\n", "c", "a b", "a b", " a b", "a b", "a b")]
    assert found == ["ok", "ok", "ok", "ok", "ok", "notice", "notice", "conclude"]
    assert [Guards().note_thought("") for _ in range(6)] == ["ok"] * 6
    empty = Guards()
    assert [empty.note_thought(" ") for _ in range(6)] == ["ok"] * 6


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("ab")), max_size=20), st.integers(0, 20))
def test_a_checkpoint_goes_on_where_it_was(steps: list[tuple[bool, str]], at: int) -> None:
    def note(guards: Guards, step: tuple[bool, str]) -> str:
        tool, text = step
        return guards.note_tool("1", "t", {"q": text}) if tool else guards.note_thought(text)

    straight, stopped = Guards(), Guards()
    for step in steps[:at]:
        assert note(straight, step) == note(stopped, step)
    again = Guards.from_json(json.loads(json.dumps(stopped.to_json())))
    assert [note(straight, step) for step in steps[at:]] == [note(again, step) for step in steps[at:]]
    assert again.to_json() == straight.to_json()


@pytest.mark.parametrize("data", [{}, {"calls": {"k": "3"}, "thought": "", "thoughts": 0}])
def test_a_foreign_checkpoint_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="guards"):
        Guards.from_json(data)  # type: ignore[arg-type]


def test_a_list_with_results_needs_more_than_a_word() -> None:
    assert min_conclusion(False) == 1
    assert min_conclusion(True) > len("done")
    assert "repeating" in NOTICE


def words(text: str) -> int:
    return len(text.split())


@given(st.text(max_size=400), st.integers(0, 200), st.sampled_from([len, words, lambda text: -(-len(text) // 4)]))
def test_a_shortened_text_keeps_its_ends_and_its_bound(text: str, tokens_to: int, count: object) -> None:
    assert callable(count)
    short = shorten(text, tokens_to, count)
    if count(text) <= tokens_to:
        assert short == text
        return
    if text.count("…") == 0:
        head, tail = MARKER.split(short, maxsplit=1)
        assert text.startswith(head)
        assert text.endswith(tail)
        assert count(short) <= tokens_to or head + tail == ""


def test_both_ends_survive_and_the_marker_says_how_much_is_missing() -> None:
    text = "start " + "x" * 1000 + " end"
    short = shorten(text, 120, len)
    assert len(short) <= 120
    assert short.startswith("start xx")
    assert short.endswith("xx end")
    found = MARKER.search(short)
    assert found is not None
    kept = len(short) - len(found.group())
    assert f"{len(text) - kept} of {len(text)} characters" in found.group()
    assert f"{len(text)} tokens" in found.group()


@pytest.mark.parametrize(
    ("live", "stack", "long", "forced", "measure"),
    [
        (100, True, True, True, "none"),
        (101, True, True, True, "prune_all"),
        (101, False, True, True, "shorten"),
        (101, False, False, False, "conclude"),
        (101, False, False, True, "overflow"),
    ],
)
def test_the_window_is_relieved_in_the_order_of_the_sheet(
    live: int, stack: bool, long: bool, forced: bool, measure: str
) -> None:
    assert relief(live, 100, has_stack=stack, has_long_results=long, forced=forced) == measure
