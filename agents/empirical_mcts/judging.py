"""The judge: one call that invents criteria, compares two answers, scores both, writes lessons and a better prompt.

The seven fields come in this order because the later ones rest on the earlier ones. Which answer is shown first is drawn,
and undone when the scores are read. Scores are necessary, whatever else is missing is empty; a score outside of 1 to 10
is brought inside. What the judge is shown are the answers and the prompts that made them, cut to a length: no hidden
thinking, no verdict of a checker, no gold answer. Source: empirical_mcts §3.4, §5.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from agents.base import Step
from agents.empirical_mcts.prompting import PROMPTS, cut
from runtime.errors import ModelError
from runtime.prompts import load_prompt
from runtime.types import JsonObject, Message, Sampling
from search.base import Evaluation

JUDGE: Final = load_prompt(PROMPTS / "judge.md")
PURPOSE: Final = "empirical_mcts.judge"
LOW, HIGH = 1.0, 10.0
# Scores that are closer are judged again in the other order, when that is asked for.
CLOSE: Final = 1.0
MAX_TOKENS: Final = 4096
MAX_LESSONS: Final = 10
MAX_LESSON_CHARS: Final = 2_000
NUMBER: Final = re.compile(r"[-+]?\d+(?:\.\d+)?")


def _text(value: object) -> object:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _texts(value: object) -> object:
    if value is None:
        return []
    return [_text(item) for item in value] if isinstance(value, list) else [_text(value)]


def _scores(value: object) -> object:
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise ValueError(f"expected two numbers from {LOW:g} to {HIGH:g}, got {value!r}")
    return [_score(item) for item in value[:2]]


def _score(value: object) -> float:
    found = NUMBER.match(value.strip()) if isinstance(value, str) else None
    number = float(found.group()) if found else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise ValueError(f"expected a number from {LOW:g} to {HIGH:g}, got {value!r}")
    return min(max(float(number), LOW), HIGH)


def _all_asked_for(schema: dict[str, Any]) -> None:
    schema["required"] = list(schema["properties"])


Text = Annotated[str, BeforeValidator(_text)]


class Judgement(BaseModel):
    """What the judge writes. All seven are asked for; only the scores are necessary."""

    model_config = ConfigDict(json_schema_extra=_all_asked_for)
    specific_criteria: Text = ""
    critique: Text = ""
    weight_allocation: Text = ""
    scoring_process: Text = ""
    final_score: Annotated[list[float], BeforeValidator(_scores), Field(min_length=2, max_length=2)]
    new_experiences: Annotated[list[str], BeforeValidator(_texts)] = []
    new_system_prompt: Text = ""


@dataclass(frozen=True, slots=True)
class Side:
    """An answer and the prompt that it was written under."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Case:
    """What is judged: a new answer beside another one. `swapped`: the new one is shown first. `dual_order`: a close
    result is judged again in the other order, and the scores are averaged."""

    question: str
    experiences: str
    child: Side
    opponent: Side
    swapped: bool
    dual_order: bool


async def judge(step: Step, case: Case, sampling: Sampling) -> Evaluation | None:
    """Scores, lessons and the next prompt; None when the judge gave nothing usable in three tries.

    Raises `BudgetExhausted`, `RunCancelled`. A second call that fails leaves what the first one said.
    """
    first = await _ask(step, case, sampling, swapped=case.swapped)
    if first is None:
        return None
    child, opponent = _sides(first, swapped=case.swapped)
    said, swapped = [first], case.swapped
    if case.dual_order and abs(child - opponent) < CLOSE:
        second = await _ask(step, case, sampling, swapped=not case.swapped)
        if second is not None:
            again = _sides(second, swapped=not case.swapped)
            child, opponent = (child + again[0]) / 2, (opponent + again[1]) / 2
            return _evaluation([first, second], child, opponent, None)
    return _evaluation(said, child, opponent, swapped)


async def _ask(step: Step, case: Case, sampling: Sampling, *, swapped: bool) -> Judgement | None:
    one, two = (case.child, case.opponent) if swapped else (case.opponent, case.child)
    text = JUDGE.render(
        question=case.question,
        experiences=case.experiences,
        prompt_1=one.prompt,
        answer_1=cut(one.answer),
        prompt_2=two.prompt,
        answer_2=cut(two.answer),
    )
    try:
        return await step.ask_structured(PURPOSE, [Message("user", text)], Judgement, sampling=sampling, prompt=JUDGE)
    except ModelError:
        return None  # its `llm.call` tells why; one judgement that fails does not end the search


def _sides(said: Judgement, *, swapped: bool) -> tuple[float, float]:
    first, second = said.final_score
    return (first, second) if swapped else (second, first)


def _evaluation(said: Sequence[Judgement], child: float, opponent: float, swapped: bool | None) -> Evaluation:
    lessons = lessons_of([lesson for each in said for lesson in each.new_experiences])
    first = said[0]
    data: JsonObject = {
        "criteria": first.specific_criteria,
        "critique": first.critique,
        "weights": first.weight_allocation,
        "scoring": first.scoring_process,
        "lessons": [*lessons],
        "new_prompt": next((each.new_system_prompt for each in said if each.new_system_prompt.strip()), ""),
    }
    return Evaluation(child, opponent, swapped, data)


def lessons_of(texts: Sequence[str]) -> list[str]:
    """Lessons as they are kept: each on one line and of a bounded length, none empty, none twice."""
    lines = (" ".join(text.replace("\x00", " ").encode("utf-8", "ignore").decode().split()) for text in texts)
    return list(dict.fromkeys(line[:MAX_LESSON_CHARS].strip() for line in lines if line))[:MAX_LESSONS]
