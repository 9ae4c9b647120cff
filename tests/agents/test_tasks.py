"""What can be asked: every form of `input`, what a model is shown, and the words for what cannot be used."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.tasks import PROMPTS, ArcTask, ChatTask, CodeTask, MathTask, QATask, parse_input
from runtime.errors import InvalidInput
from runtime.types import JsonObject, Message, ToolCall

ARC: JsonObject = {"kind": "arc", "train": [{"input": [[0, 1]], "output": [[1, 0]]}], "test": [{"input": [[5]]}]}


def test_text_is_a_chat_of_one_message() -> None:
    assert parse_input("Hello").messages() == [Message("user", "Hello")]


def test_a_chat_keeps_roles_parts_names_and_tool_calls() -> None:
    chat = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Add"}], "name": "ada"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}],
        },
        {"role": "tool", "content": "2", "tool_call_id": "c1"},
    ]
    assert parse_input(chat).messages() == [  # type: ignore[arg-type]
        Message("developer", "Be brief."),
        Message("user", [{"type": "text", "text": "Add"}], "ada"),
        Message("assistant", None, tool_calls=(ToolCall("c1", "add", '{"a": 1}'),)),
        Message("tool", "2", tool_call_id="c1"),
    ]


@pytest.mark.parametrize(
    ("given", "kind", "shown"),
    [
        ({"kind": "math", "problem": "1 + {{1}}?"}, MathTask, ["1 + {{1}}?", "\\boxed{}"]),
        ({"kind": "qa", "question": "Who?"}, QATask, ["Who?", "(none)"]),
        (
            {"kind": "qa", "question": "Who?", "documents": ["Ada.", {"title": "T", "text": "Bob."}]},
            QATask,
            ["[1] Ada.", "[2] T\nBob."],
        ),
        ({"kind": "code", "task": "A clock", "requirements": ["ticks", "rings"]}, CodeTask, ["- ticks\n- rings"]),
        ({"kind": "code", "task": "A clock"}, CodeTask, ["A clock", "- none beyond the task"]),
        (
            {"kind": "code", "task": "A clock", "tests": ["assert tick() == {{1}}", "assert ring()"]},
            CodeTask,
            ["A clock", "assert tick() == {{1}}\nassert ring()"],
        ),
        (ARC, ArcTask, ['"output":[[1,0]]', '"test":[{"input":[[5]]}]']),
    ],
)
def test_a_typed_task_is_shown_in_full_through_its_prompt(given: dict[str, Any], kind: type, shown: list[str]) -> None:
    task = parse_input(given)
    assert isinstance(task, kind)
    assert task.prompt in PROMPTS.values()
    (message,) = task.messages()
    for part in shown:
        assert part in message.text


def test_the_check_of_a_problem_is_not_shown() -> None:
    task = parse_input({"kind": "math", "problem": "Which x?", "check": {"equations": ["3x = 51"]}})
    assert "51" not in task.messages()[0].text


def test_code_without_tests_is_asked_for_without_a_word_of_tests() -> None:
    assert "test" not in parse_input({"kind": "code", "task": "A clock"}).messages()[0].text


def test_an_arc_task_reaches_the_model_as_json_that_reads_back() -> None:
    text = parse_input(ARC).messages()[0].text
    shown = json.loads(text[text.index("{") :])
    assert {"kind": "arc", **shown} == ARC


@pytest.mark.parametrize(
    ("given", "param", "words"),
    [
        ("", "input", "empty text"),
        ("  \n", "input", "empty text"),
        ([], "input", "no message"),
        (None, "input", "expected text, a list of messages or a typed task"),
        (7, "input", "got int"),
        ({}, "input.kind", "expected one of math, qa, arc, code"),
        ({"kind": "poem"}, "input.kind", "'poem'"),
        ({"kind": ["math"]}, "input.kind", "expected one of"),
        ({"kind": "math"}, "input.problem", "Field required"),
        ({"kind": "math", "problem": ""}, "input.problem", "at least 1 character"),
        ({"kind": "math", "problem": "x", "gold": "1"}, "input.gold", "not permitted"),
        ({"kind": "math", "problem": "x", "check": {"equations": []}}, "input.check.equations", "at least 1"),
        ({"kind": "math", "problem": "x", "check": {"equations": ["x+1"]}}, "input.check", "exactly one '='"),
        ({"kind": "math", "problem": "x", "check": {"equations": ["y=1"]}}, "input.check", "'y' is not the variable"),
        (
            {"kind": "math", "problem": "x", "check": {"equations": ["x=1"], "variable": "xy"}},
            "input.check.variable",
            "",
        ),
        ({"kind": "qa", "question": "Who?", "documents": [3]}, "input.documents.0", ""),
        ({"kind": "qa", "question": "Who?", "documents": [{"title": "T"}]}, "input.documents.0.text", "required"),
        ({"kind": "code", "task": "t", "tests": [""]}, "input.tests.0", "at least 1 character"),
        ({"kind": "code", "task": "t", "tests": ["x" * 4001]}, "input.tests.0", "at most 4000"),
        ({"kind": "code", "task": "t", "tests": ["x"] * 101}, "input.tests", "at most 100"),
        ({**ARC, "train": []}, "input.train", "at least 1"),
        ({**ARC, "test": [{"input": [[10]]}]}, "input.test.0.input.0.0", "less than or equal to 9"),
        ({**ARC, "test": [{"input": []}]}, "input.test.0.input", "at least 1"),
        ({**ARC, "test": [{"input": [[1, 2], [3]]}]}, "input.test.0.input", "rows of one length"),
        ([{"role": "robot", "content": "x"}], "input.0.role", "'system'"),
        ([{"role": "user"}], "input.0", "without content"),
        ([{"role": "assistant", "content": None}], "input.0", "without content"),
        ([{"role": "tool", "content": "x"}], "input.0", "tool_call_id"),
        (["hello"], "input.0", "a list of chat messages"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_path_of_the_field(given: Any, param: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_input(given)
    assert caught.value.param == param
    assert words in caught.value.message


def test_a_plain_chat_has_no_prompt_file() -> None:
    assert ChatTask.prompt is None
