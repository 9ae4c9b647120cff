"""The rules for a plan, without a store: check F in numbers, and what holds of every plan."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.empirical_mcts.experiences import PROMPT
from agents.empirical_mcts.memory_plan import Decision, MemoryPlan, Op, Skipped, additions, decide, union_of_keys


@dataclass
class Numbers:
    """Experiences by number; `changed` and `gone` are no longer what was shown."""

    texts: Mapping[int, str] = field(default_factory=lambda: {1: "a", 2: "b", 3: "c"})
    changed: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()

    def state(self, number: int) -> Literal["unknown", "gone", "changed", "there"]:
        if number not in self.texts:
            return "unknown"
        return "gone" if number in self.gone else "changed" if number in self.changed else "there"

    def same(self, text: str) -> Sequence[int | str]:
        return [number for number, other in self.texts.items() if other == text and number not in self.gone]

    def alike(self, a: str, b: str) -> bool:
        return a == b


def op(option: str, text: str | None = None, **more: object) -> Op:
    return Op.model_validate({"option": option, "experience": text, **more})


def test_f_the_worked_plan_in_numbers() -> None:
    ops = [
        op("add", "d"),
        op("modify", "b'", modified_from_id=2),
        op("merge", "e", merged_from_ids=[1, 3]),
        op("delete", delete_id=2),
        op("delete", delete_id=99),
    ]
    decided = decide(ops, Numbers())
    assert decided[:3] == [Decision("add", "d"), Decision("modify", "b'", (2,)), Decision("merge", "e", (1, 3))]
    assert decided[3:] == [
        Skipped("delete 2: the plan has touched it already"),
        Skipped("delete 99: it is unknown"),
    ]


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (op("modify", "x", modified_from_id=9), Decision),
        (op("modify", "x"), Decision),
        (op("modify", "x", modified_from_id=2), Decision),
        (op("merge", "x", merged_from_ids=[8, 9]), Decision),
        (op("merge", "x", merged_from_ids=[1]), Decision),
        (op("merge", "x", merged_from_ids=[2, 3]), Decision),
        (op("delete", delete_id=2), Skipped),
        (op("delete", delete_id=3), Skipped),
        (op("delete"), Skipped),
        (op("add", "a"), Skipped),
        (op("add"), Skipped),
    ],
)
def test_what_is_not_what_it_was_is_never_written_over_or_deleted(done: Op, expected: type) -> None:
    (decided,) = decide([done], Numbers(changed=frozenset({2}), gone=frozenset({3})))
    assert isinstance(decided, expected)
    if isinstance(decided, Decision):
        assert decided == Decision("add", "x", why=decided.why)
        assert "so its text is added" in decided.why


def test_a_merge_takes_those_that_are_there() -> None:
    (decided,) = decide([op("merge", "x", merged_from_ids=[1, 3, 1, 9])], Numbers(gone=frozenset({3})))
    assert decided == Decision("merge", "x", (1,))


def test_a_text_may_come_back_when_what_said_it_gives_way() -> None:
    decided = decide([op("delete", delete_id=1), op("add", "a"), op("add", "a")], Numbers())
    assert decided == [
        Decision("delete", numbers=(1,)),
        Decision("add", "a"),
        Skipped("add: the plan has written this already"),
    ]


OPS = st.builds(
    Op,
    option=st.sampled_from(["add", "modify", "merge", "delete"]),
    experience=st.none() | st.sampled_from(["", " ", "a", "b", "x", "y"]),
    modified_from_id=st.none() | st.integers(0, 6),
    merged_from_ids=st.none() | st.lists(st.integers(0, 6), max_size=4),
    delete_id=st.none() | st.integers(0, 6),
)


@given(
    st.lists(OPS, max_size=8),
    st.frozensets(st.integers(1, 5), max_size=3),
    st.frozensets(st.integers(1, 5), max_size=3),
)
def test_no_plan_does_more_than_it_may(ops: list[Op], changed: frozenset[int], gone: frozenset[int]) -> None:
    there = Numbers({number: f"t{number}" for number in range(1, 6)}, changed, gone)
    decided = decide(ops, there)
    assert len(decided) == len(ops)
    done = [each for each in decided if isinstance(each, Decision)]
    touched = [number for each in done for number in each.numbers]
    assert len(touched) == len(set(touched))
    assert all(there.state(number) == "there" for number in touched)
    assert sum(each.kind == "delete" for each in done) <= 1
    assert all(each.text for each in done if each.kind != "delete")
    added = [each.text for each in done if each.kind == "add"]
    assert len(added) == len(set(added))
    assert decide(ops, there) == decided


def test_lessons_without_a_plan_are_all_added() -> None:
    assert decide(additions(["one", "two", "one"]), Numbers()) == [
        Decision("add", "one"),
        Decision("add", "two"),
        Skipped("add: the plan has written this already"),
    ]


def test_keys_are_united_and_none_stands_twice() -> None:
    old = {"keys": [{"text": "q1", "problem_id": "r1"}, {"text": "q2"}]}
    assert union_of_keys([{"text": "q1", "problem_id": "r9"}, {"text": "q3"}], [old, {}]) == [
        {"text": "q1", "problem_id": "r1"},
        {"text": "q2"},
        {"text": "q3"},
    ]


def test_the_example_of_the_prompt_is_a_plan() -> None:
    text = PROMPT.render(existing="none", lessons="none")
    (example,) = [line for line in text.splitlines() if line.startswith('{"think"')]
    plan = MemoryPlan.model_validate(json.loads(example))
    assert [each.option for each in plan.plan] == ["modify", "add"]
    shown = [line[2:] for line in text.splitlines() if line.startswith('- {"option"')]
    assert [Op.model_validate(json.loads(line)).option for line in shown] == ["add", "modify", "merge", "delete"]
