"""The ledger of a run: nothing is lost, every count follows from the records."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import Conflict, InvalidInput, UnknownName
from runtime.textsafe import dumps
from runtime.working_memory import Cut, Record, WorkingMemory

Step = tuple[str, int, int, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(["append", "append", "append", "prune", "fold", "replace", "recall", "checkpoint"]),
        st.integers(0, 50),
        st.integers(0, 99),
        st.integers(1, 4),
    ),
    max_size=40,
)


def record(name: str, tokens: int = 5, **more: tuple[str, ...]) -> Record:
    return Record(name, "task", "note", f"text of {name}", tokens, **more)


def filled(*sizes: int, prompt_tokens: int = 100) -> WorkingMemory:
    """Records "a", "b", … of these sizes."""
    memory = WorkingMemory(prompt_tokens=prompt_tokens)
    for name, tokens in zip("abcdefgh", sizes, strict=False):
        memory.append(record(name, tokens))
    return memory


def apply(memory: WorkingMemory, step: Step, name: str) -> Cut | None:
    """One random step; `name` is an id that was not given before. Steps that need records do nothing without them."""
    kind, tokens, pick, count = step
    live, archived = list(memory.live), list(memory.archived)
    chosen = [live[(pick + 3 * n) % len(live)] for n in range(count)] if live else []
    if kind == "append":
        assert memory.append(record(name, tokens)) == memory.position(name)
    elif kind == "recall" and archived:
        wanted = archived[pick % len(archived)]
        assert [each.id for each in memory.recall([wanted])] == [wanted]
        memory.append(record(name, tokens, evidence=(wanted,)))
    elif kind == "prune" and chosen:
        return memory.prune(chosen, why="test")
    elif kind == "fold" and chosen:
        return memory.fold(chosen, record(name, tokens), why="test")
    elif kind == "replace" and chosen:
        return memory.replace(chosen[0], record(name, tokens), why="test")
    return None


@settings(max_examples=40, deadline=None)
@given(steps)
def test_nothing_is_ever_lost_and_all_counts_follow_from_the_records(script: list[Step]) -> None:
    memory = WorkingMemory(prompt_tokens=7)
    given_ids: set[str] = set()
    peak, reencoded, cuts = 7, 0, 0
    for number, step in enumerate(script):
        name = f"r{number}"
        before = dict(memory.live)
        cut = apply(memory, step, name)
        given_ids |= {name} & {*memory.live, *memory.archived}

        assert {*memory.live, *memory.archived} == given_ids
        assert not {*memory.live} & {*memory.archived}
        assert memory.live_tokens == 7 + sum(each.tokens for each in memory.live.values())
        assert memory.pruned == sum(each.tokens for each in memory.archived.values())
        position = 7
        for each in memory.live.values():
            assert memory.position(each.id) == position
            position += each.tokens
        if cut is not None:
            order = list(before)
            assert cut.ids == tuple(each for each in order if each in cut.ids)
            assert cut.tokens == sum(before[each].tokens for each in cut.ids)
            behind = order[order.index(cut.ids[0]) :]
            assert cut.tail == sum(before[each].tokens for each in behind if each not in cut.ids)
            assert all(memory.archived[each] == before[each] for each in cut.ids)
            if name in memory.live:
                assert memory.live[name].evidence == cut.ids
                assert list(memory.live).index(name) == order.index(cut.ids[0])
            cuts, reencoded = cuts + 1, reencoded + cut.tail
        peak = max(peak, memory.live_tokens)
        assert (memory.peak_tokens, memory.reencoded, memory.prunes) == (peak, reencoded, cuts)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_a_saved_memory_goes_on_identically(script: list[Step]) -> None:
    memory, saved = WorkingMemory(prompt_tokens=7), WorkingMemory(prompt_tokens=7)
    for number, step in enumerate(script):
        assert apply(memory, step, f"r{number}") == apply(saved, step, f"r{number}")
        if step[0] == "checkpoint":
            saved = WorkingMemory.from_json(saved.to_json())
            assert dumps(saved.to_json()) == dumps(memory.to_json())
    assert dumps(saved.to_json()) == dumps(memory.to_json())


def test_a_cut_names_what_went_and_what_moves() -> None:
    memory = filled(10, 20, 30, 40)
    assert memory.weigh(["d", "b"], why="w") == Cut(("b", "d"), 60, 30, "w")
    assert memory.live_tokens == 200
    assert memory.prune(["d", "b"], why="w") == Cut(("b", "d"), 60, 30, "w")
    assert (memory.live_tokens, memory.position("c"), memory.peak_tokens) == (140, 110, 200)


def test_a_fold_stands_where_the_first_stood_and_names_its_evidence() -> None:
    memory = filled(10, 20, 30, 40)
    cut = memory.fold(["c", "b"], record("note", 15, evidence=("b", "x")), why="w")
    assert cut == Cut(("b", "c"), 50, 40, "w")
    assert list(memory.live) == ["a", "note", "d"]
    assert memory.live["note"].evidence == ("b", "c", "x")
    assert (memory.position("d"), memory.live_tokens) == (125, 165)


def test_a_note_longer_than_what_it_replaces_raises_the_peak() -> None:
    memory = filled(10)
    memory.replace("a", record("long", 500), why="w")
    assert (memory.live_tokens, memory.peak_tokens) == (600, 600)


def test_recall_reads_the_archive_and_is_counted() -> None:
    memory = filled(10, 20, 30)
    memory.prune(["a", "b"], why="w")
    assert [each.tokens for each in memory.recall(["b", "a", "b"])] == [20, 10]
    assert (memory.recalls, memory.recalled, list(memory.live)) == (1, 30, ["c"])


def test_a_fork_goes_its_own_way_and_can_be_absorbed() -> None:
    memory = filled(10, 20)
    fork = memory.fork()
    fork.append(record("x", 30))
    fork.append(record("y", 40))
    fork.prune(["x"], why="w")
    assert list(memory.live) == ["a", "b"]
    memory.absorb(fork, {"x", "y"}, moved=True)
    assert (list(memory.live), list(memory.archived)) == (["a", "b", "y"], ["x"])
    assert (memory.live_tokens, memory.peak_tokens, memory.prunes, memory.reencoded) == (170, 200, 1, 80)
    with pytest.raises(Conflict, match="'y'"):
        memory.absorb(fork, {"x", "y"}, moved=True)


def test_mistakes_are_named_and_change_nothing() -> None:
    memory = filled(10, 20)
    memory.prune(["a"], why="w")
    before = memory.to_json()
    with pytest.raises(Conflict, match="record 'a': expected an id that was not given before"):
        memory.append(record("a"))
    with pytest.raises(Conflict, match="record 'b'"):
        memory.replace("b", record("b"), why="w")
    with pytest.raises(InvalidInput, match="record 'c' of -1 tokens"):
        memory.append(record("c", -1))
    with pytest.raises(UnknownName, match=r"live records \['a', 'z'\]: expected some of \['b'\]"):
        memory.prune(["a", "b", "z"], why="w")
    with pytest.raises(UnknownName, match="live records"):
        memory.fold(["a"], record("c"), why="w")
    with pytest.raises(InvalidInput, match="at least one live id"):
        memory.prune([], why="w")
    with pytest.raises(UnknownName, match=r"archived records \['b'\]: expected some of \['a'\]"):
        memory.recall(["a", "b"])
    with pytest.raises(UnknownName, match="live records"):
        memory.position("a")
    assert memory.to_json() == before


def test_an_error_about_many_records_stays_short() -> None:
    memory = WorkingMemory()
    for number in range(500):
        memory.append(record(f"r{number}"))
    with pytest.raises(UnknownName, match="the last of 500") as caught:
        memory.position("nowhere")
    assert len(str(caught.value)) < 400


def test_only_what_was_saved_is_read_back() -> None:
    saved = filled(10, 20).to_json()
    for broken in ({}, saved | {"live": "all"}, {key: saved[key] for key in saved if key != "peak_tokens"}):
        with pytest.raises(InvalidInput, match="saved working memory"):
            WorkingMemory.from_json(broken)
    twice = replace(record("a"), tokens=10)
    memory = WorkingMemory()
    memory.append(twice)
    doubled = memory.to_json()
    doubled["archived"] = doubled["live"]
    with pytest.raises(Conflict, match="'a'"):
        WorkingMemory.from_json(doubled)
    with pytest.raises(InvalidInput, match="prompt of -1 tokens"):
        WorkingMemory(prompt_tokens=-1)
