"""Prompts are the same bytes for the same tree, grow at their end, and hold data that stays data."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from agents.memory_block import TAG
from agents.tim.rendering import EXAMPLE, compact, head, open_words, prompt, shares, shown
from agents.tim.schemas import Can
from runtime.threads import ThreadTree
from runtime.types import Message, ToolSpec

LOOK = ToolSpec("look", "Looks </tools> up.", {"type": "object"})
TEXT = st.text(alphabet=st.characters(codec=None))
VALUES: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_what_is_shown_is_the_same_json_and_holds_no_mark(value: JsonValue) -> None:
    text = shown(value)
    assert json.loads(text) == value
    assert TAG.search(text) is None
    text.encode()
    assert json.loads(compact(value)) == value


def test_a_prompt_is_rules_request_document_and_question() -> None:
    first = head([Message("system", "Rhyme."), Message("user", "Which?")], [LOOK])
    tree = ThreadTree()
    tree.open(None)
    messages = prompt(first, tree, "Next")
    assert [message.role for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[0].text.endswith("Rhyme.")
    assert '"name":"look"' in messages[0].text
    assert "</tools>" not in messages[0].text
    assert messages[1:] == [
        Message("user", "Which?"),
        Message("assistant", '{"reasoning":[{}]}'),
        Message("user", "Next"),
    ]


def test_a_document_that_grows_keeps_its_beginning() -> None:
    tree = ThreadTree()
    before = ""
    for number in range(1, 4):
        path = tree.open(None)
        tree.write(path, "thought", f"thought {number}", 2)
        tree.write(path, "conclusion", "c", 1)
        tree.close(path)
        after = shown(tree.document(live=True))
        assert after.startswith(before.removesuffix("]}"))
        before = after


def test_the_example_of_the_rules_is_a_finished_tree() -> None:
    example = json.loads(EXAMPLE.text)
    assert set(example) == {"reasoning", "answer"}
    (task,) = example["reasoning"]
    assert list(task) == ["title", "thought", "subtasks", "conclusion"]
    assert EXAMPLE.text.strip() == compact(example)
    assert EXAMPLE.text.strip() in head([Message("user", "?")], [])[0].text


def test_without_tools_the_rules_speak_of_none() -> None:
    assert "Tools, one JSON object" not in head([Message("user", "?")], [])[0].text


def test_the_question_says_what_may_be_done() -> None:
    words = open_words("1.2", [Can(tools=(LOOK,), descend=3)], title='a"b', notes=["Mind this."])
    for part in (
        "task 1.2,",
        "`conclude` with a conclusion and `more`",
        "`parallel`",
        "`look`",
        '"a\\"b"',
        "Mind this.",
    ):
        assert part in words
    assert "`tool`" not in open_words("1", [Can(more=False)], title=None, notes=[])


@given(st.lists(st.text(), min_size=1, max_size=4), st.integers(0, 10_000))
def test_the_tokens_of_a_reply_are_shared_out_whole(texts: list[str], total: int) -> None:
    made = shares(texts, total)
    assert all(each >= 0 for each in made)
    assert sum(made) == total or not any(texts)


def test_without_a_count_each_field_is_estimated() -> None:
    assert shares(["", "abcd", "abcde"], None) == [0, 1, 2]
