"""The prompt files of the agents: what stands in them is what the code expects."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from agents import registry
from agents.best_of_n.judge import JUDGE, judgement_of
from agents.memory_block import PROMPT as MEMORIES
from agents.tasks import PROMPTS
from agents.verifiers.answers import extract
from runtime.prompts import load_prompt

FILES = sorted((Path(__file__).parents[2] / "agents").glob("**/prompts/*.md"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_every_prompt_file_is_read_and_belongs_to_somebody(path: Path) -> None:
    prompt = load_prompt(path)
    owned = {p.name for name in registry.names() for p in registry.get(name).spec.prompts.values()}
    assert prompt.name in owned | {p.name for p in PROMPTS.values()} | {MEMORIES.name}
    # What says the same every time is a part of other prompts, which have its name for a place.
    beside = {name for other in path.parent.glob("*.md") for name in load_prompt(other).placeholders}
    assert prompt.placeholders or path.stem in beside


def test_the_example_of_the_judge_is_a_judgement() -> None:
    example = re.search(r"^\{.*\}$", JUDGE.render(task="t", answers="a"), re.MULTILINE)
    assert example is not None
    assert judgement_of(4).model_validate(json.loads(example.group())).best == 2


def test_what_the_problem_prompt_shows_is_not_taken_for_an_answer() -> None:
    shown = PROMPTS["math"].render(problem="How many?")
    assert "\\boxed{}" in shown
    assert extract(shown) is None
