"""Programs in replies: which block counts, what is no program; and attempts as steps keep them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.arc_memo.programs import Attempt, NoProgram, Shown, linked, program_of
from agents.arc_memo.prompting import PROMPTS
from agents.arc_memo.selecting import Numbers
from agents.arc_memo.writing import Abstraction, ExecutableAbstraction, Pseudocode
from agents.thinking import visible
from runtime.llm.structured import first_object
from runtime.prompts import load_prompt

ONE = "def transform(g):\n    return 1\n"
TWO = "def transform(g):\n    return 2\n"


@pytest.mark.parametrize(
    "text",
    [
        f"```python\n{ONE}```",
        f"First\n```python\n{ONE}```\nor\n```python\n{TWO}```",
        f"```text\nthe rule\n```\n```py\n{ONE}```",
        f"```\nnot this one\n```\n```Python\n{ONE}```",
        f"```\n{ONE}```",
        f"```python title='a'\n{ONE}```",
        f"1. Do this:\n   ```python3\n{ONE}   ```",
        f"```python\r\n{ONE}```",
        "```python\ntransform = lambda g: 1\n```",
    ],
)
def test_the_first_python_block_is_the_program(text: str) -> None:
    program = program_of(text)
    assert isinstance(program, str)
    assert "1" in program
    assert "2" not in program


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "was empty"),
        (" \n", "was empty"),
        (ONE, "no fenced Python block"),
        ("```json\n[1]\n```", "no fenced Python block"),
        (f"```python\n{ONE}", "has no end"),
        ("```python\ndef solve(g):\n    return transform(g)\n```", "no function 'transform'"),
        (f"```python\n{ONE}{'# long' * 10_000}\n```", "longer than"),
    ],
)
def test_anything_else_is_none_and_the_reason_is_said(text: str, why: str) -> None:
    found = program_of(text)
    assert isinstance(found, NoProgram)
    assert why in found.why


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    found = program_of(f"{text}\n```python\n{ONE}```\n")
    assert found == ONE or "```" in text
    assert isinstance(program_of(text), str | NoProgram)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<think>```python\nx\n```</think>yes", "yes"),
        ("so it is </think>\nyes", "yes"),
        ("<think>and on and on", ""),
        ("yes", "yes"),
    ],
)
def test_thinking_is_no_part_of_a_reply(text: str, left: str) -> None:
    assert visible(text) == left


def test_an_attempt_is_kept_as_it_is() -> None:
    train = (Shown(True, [[1]], None), Shown(False, None, "error: no"))
    attempt = Attempt(2, 1, ONE, None, train, ([[1, 2]], None), "strong")
    assert Attempt.from_json(json.loads(json.dumps(attempt.to_json()))) == attempt
    assert (attempt.share, attempt.passes) == (0.5, False)
    assert attempt.whole == ONE


def test_helpers_stand_ahead_of_the_program_and_its_own_functions_count() -> None:
    helper = "def one():\n    return 1"
    program = '"""Why."""\nfrom __future__ import annotations\n\ndef transform(g: Grid):\n    return one()\n'
    attempt = Attempt(0, 0, program, None, (), (), None, {"one": helper})
    assert "helpers" not in attempt.to_json()
    for source, value in (
        (attempt.whole or "", 1),
        (linked([helper], attempt.whole or ""), 1),
        (linked([helper], program + "\n\ndef one():\n    return 2\n"), 2),
    ):
        space: dict[str, Any] = {}
        exec(compile(source, "program", "exec", dont_inherit=True), space)
        assert space["transform"](None) == value
    assert linked([], program) == program


def test_what_prompts_show_as_an_example_can_be_read() -> None:
    def last_object(name: str) -> str:
        text = load_prompt(PROMPTS / f"{name}.md").text
        return first_object(text[text.rindex('{"') if not name.startswith("abstract") else text.index('{"concepts"') :])

    made = Abstraction.model_validate_json(last_object("abstract"))
    assert [(entry.name, entry.kind) for entry in made.concepts] == [
        ("enclosed region", "structure"),
        ("fill region", "routine"),
        ("select object", None),
    ]
    coded = ExecutableAbstraction.model_validate_json(last_object("abstract_helpers"))
    space: dict[str, Any] = {}
    exec(linked([each.helper for each in coded.concepts if each.helper], coded.program or ""), space)
    assert space["transform"]([[1, 2], [3, 4]]) == [[2, 4], [1, 3]]
    assert Numbers.model_validate_json(last_object("select_lessons")).numbers == [3, 1]
    assert Pseudocode.model_validate_json(last_object("pseudocode")).summary == "one sentence"


def test_the_selection_shows_the_form_of_a_reply_and_no_names_that_could_be_copied() -> None:
    text = load_prompt(PROMPTS / "select_concepts.md").text
    assert re.findall(r'"([^"]*)"', text) == ["names"]
