"""The collection as values: the tasks that were solved, the concepts found in them, and the memories to store.

What the text of such a memory looks like is settled by the agent that reads it (agents/arc_memo/wording.py), which takes
any other text for a person's correction. Source: arcmemo §2, §3.2; ours.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from memory.payloads import Concept, Parameter
from memory.types import Draft, Source

FOLDER: Final = Path(__file__).parent
ORIGIN: Final = "builtin:arc-concepts/arc-agi-1/train"
TAG: Final = "arc-concepts"
# By this tag the agent finds concepts of two tasks or more.
REUSED: Final = "reused"


@dataclass(frozen=True, slots=True)
class Solution:
    """A training task of ARC-AGI-1 that was solved: its rule in one line, the steps in the words of the concepts, and
    the program. `text` is the file that holds all of it."""

    task_id: str
    summary: str
    pseudocode: str
    program: str
    text: str


def solutions() -> list[Solution]:
    """All solved tasks, by id."""
    return [_solution(path) for path in sorted((FOLDER / "programs").glob("t_*.py"))]


def concepts() -> list[Concept]:
    """All concepts, in the order of the file: structures, routines that change a grid, other routines."""
    return [Concept.model_validate(each) for each in orjson.loads((FOLDER / "concepts.json").read_bytes())]


def drafts() -> list[Draft]:
    """A memory for each concept; its sources are the tasks that it is used in, with their programs."""
    solved = {solution.task_id: solution for solution in solutions()}
    return [_draft(concept, solved) for concept in concepts()]


def _solution(path: Path) -> Solution:
    text = path.read_text(encoding="utf-8")
    module = ast.parse(text)
    summary, _, pseudocode = (ast.get_docstring(module) or "").partition("\n\n")
    program = "".join(text.splitlines(keepends=True)[module.body[0].end_lineno :]).strip() + "\n"
    return Solution(path.stem.removeprefix("t_"), summary, pseudocode, program, text)


def _draft(concept: Concept, solved: Mapping[str, Solution]) -> Draft:
    sources = tuple(Source("document", uri=f"{ORIGIN}/{id_}", quote=solved[id_].text) for id_ in concept.used_in)
    return Draft(
        _text(concept),
        semantic_type="concept",
        data=concept.model_dump(mode="json"),
        subject=concept.concept,
        tags=(TAG, REUSED) if len(concept.used_in) > 1 else (TAG,),
        origin="import",
        sources=sources,
    )


def _text(concept: Concept) -> str:
    subtype = f": {concept.routine_subtype}" if concept.routine_subtype else ""
    lists = (
        ("Parameters", [_parameter(each) for each in concept.parameters]),
        ("Cues", concept.cues),
        ("Notes", concept.implementation),
    )
    lines = [f"{concept.concept} ({concept.kind}{subtype}) -> {concept.output_typing}", concept.description or ""]
    for title, items in lists:
        if items:
            lines += [f"{title}:", *(f"- {item}" for item in items)]
    return "\n".join(lines)


def _parameter(parameter: Parameter) -> str:
    return f"{parameter.name}: {parameter.typing} -- {parameter.description}"
