"""Prompt files: strict in both directions, and values are never looked into."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from runtime.errors import MnemeError
from runtime.prompts import PromptFile, load_prompt


def written(tmp_path: Path, text: str) -> PromptFile:
    path = tmp_path / "tim" / "prompts" / "open.md"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    return load_prompt(path)


def test_name_and_hash_say_which_prompt_it_was(tmp_path: Path) -> None:
    prompt = written(tmp_path, "Grüße an {{name}}\n")
    assert prompt.name == "tim/open"
    assert prompt.sha256 == hashlib.sha256("Grüße an {{name}}\n".encode()).hexdigest()
    assert prompt.placeholders == {"name"}


def test_values_are_put_in_everywhere_and_the_end_is_trimmed(tmp_path: Path) -> None:
    assert written(tmp_path, "{{a}} and {{ b }} and {{a}}\n\n").render(a="1", b="2") == "1 and 2 and 1"


def test_a_value_cannot_pull_in_another_one(tmp_path: Path) -> None:
    prompt = written(tmp_path, "{{a}} | {{b}}")
    assert prompt.render(a="{{b}} \\1 \\g<0>", b="secret") == "{{b}} \\1 \\g<0> | secret"


def test_json_in_a_prompt_is_no_placeholder(tmp_path: Path) -> None:
    assert written(tmp_path, '{"a": {"b": {}}} {{x}}').render(x="1") == '{"a": {"b": {}}} 1'


@pytest.mark.parametrize("values", [{}, {"a": "1"}, {"a": "1", "b": "2", "c": "3"}])
def test_a_missing_and_a_surplus_value_are_errors_that_name_it(tmp_path: Path, values: dict[str, str]) -> None:
    prompt = written(tmp_path, "{{a}} {{b}}")
    with pytest.raises(MnemeError, match=r"prompt 'tim/open'.*expected exactly \['a', 'b'\]"):
        prompt.render(**values)


@pytest.mark.parametrize("text", ["{{Name}}", "{{a-b}}", "{{ }}", "{{a} }"])
def test_braces_that_open_a_placeholder_and_are_none_are_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(MnemeError, match="is no placeholder"):
        written(tmp_path, f"one {text} two")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MnemeError, match=r"gone\.md"):
        load_prompt(tmp_path / "gone.md")
    latin = tmp_path / "latin.md"
    latin.write_bytes(b"\xe4")
    with pytest.raises(MnemeError, match=r"latin\.md"):
        load_prompt(latin)
