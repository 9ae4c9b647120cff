"""The judge of `best-of-n`: one call that reads all answers and names the best. Source: ours."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, create_model

from agents.base import Step
from agents.graphs import Work
from runtime.prompts import load_prompt
from runtime.types import Message, Sampling

JUDGE = load_prompt(Path(__file__).parent / "prompts" / "judge.md")
# A small model that judges may not find an end.
MAX_TOKENS = 512


class Judgement(BaseModel):
    """What the judge says: why, and the number of the best answer, counted from 1."""

    model_config = ConfigDict(extra="forbid")
    reason: str
    best: int = Field(ge=1)


@lru_cache(maxsize=64)
def judgement_of(count: int) -> type[Judgement]:
    """A `Judgement` that can only name one of `count` answers."""
    return create_model("Judgement", __base__=Judgement, best=(int, Field(ge=1, le=count)))


async def judge(answers: Sequence[str], work: Work, step: Step) -> tuple[int, str]:
    """The place of the best answer, and why. Raises `MalformedReply` when the judge names none after the repair turns.

    The answers are shown in an order shuffled by the run's seed, so that no place is always the same answer's.
    """
    order = list(range(len(answers)))
    random.Random(work.ctx.seed).shuffle(order)
    shown = "\n\n".join(f"--- answer {number} ---\n{answers[i]}" for number, i in enumerate(order, start=1))
    task = "\n\n".join(f"{message.role}: {message.text}" for message in work.task.messages())
    said = await step.ask_structured(
        "eval.judge",
        [Message("user", JUDGE.render(task=task, answers=shown))],
        judgement_of(len(answers)),
        sampling=Sampling(temperature=0.0, seed=work.ctx.seed, max_tokens=MAX_TOKENS),
        prompt=JUDGE,
    )
    return order[said.best - 1], said.reason
