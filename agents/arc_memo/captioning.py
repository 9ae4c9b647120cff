"""A puzzle in words: what lessons are chosen by, and what a shortlist of concepts is looked for with.

The model sees the grids as text, and as a picture where the server has a model that looks at pictures; one that refuses
the picture is asked again without it. What it is unsure of is cut out of its speculation. Source: arcmemo §3.7, §5.
"""

from __future__ import annotations

import re
from typing import Final

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, JsonValue

from agents.arc_memo.concept import Line
from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.grids import picture, puzzle_text
from agents.arc_memo.prompting import PROMPTS
from agents.base import Step
from agents.graphs import Work
from agents.tasks import ArcTask
from runtime.errors import ModelError, ModelRejected
from runtime.events import CheckFailed, StepCompleted
from runtime.prompts import load_prompt
from runtime.types import Message, Sampling

CAPTION: Final = load_prompt(PROMPTS / "caption.md")
PURPOSE: Final = "arcmemo.caption"
MAX_TOKENS: Final = 4096
MAX_CHARS: Final = 6_000
DETAILS: Final = re.compile(r"<details>.*?(?:</details>|\Z)", re.DOTALL | re.IGNORECASE)


class Caption(BaseModel):
    """What the model writes of a puzzle."""

    model_config = ConfigDict(extra="ignore")
    observations: Line = ""
    summary: Line = ""
    speculation: Line = ""

    def description(self) -> str:
        """What all examples have in common, or else what there is, and what the rule may be, without the details."""
        parts = (self.summary or self.observations, DETAILS.sub("", self.speculation))
        return "\n".join(" ".join(part.split()) for part in parts if part.strip())[:MAX_CHARS]


async def description_of(work: Work, config: ArcMemoConfig, task: ArcTask) -> str | None:
    """The puzzle in words, asked for once in a run; None when the model gives none. Raises `BudgetExhausted`."""

    async def ask(step: Step) -> JsonValue:
        sampling = Sampling(temperature=config.auxiliary_temperature, seed=work.ctx.seed, max_tokens=MAX_TOKENS)
        text = CAPTION.render(puzzle=puzzle_text(task))
        try:
            seen = await anyio.to_thread.run_sync(picture, task) if config.vision else None
            said = await _asked(step, text, seen, sampling)
        except ModelError as error:
            await step.emit(CheckFailed(name=step.key, detail=error.message))
            return None
        description = said.description()
        await step.emit(StepCompleted(name=step.key, detail={"characters": len(description)}))
        return description or None

    described = await work.ctx.step("caption", ask)
    return str(described) if described is not None else None


async def _asked(step: Step, text: str, image: str | None, sampling: Sampling) -> Caption:
    if image is not None:
        content: list[dict[str, JsonValue]] = [
            {"type": "text", "text": text},
            {"type": "image_url", "image_url": {"url": image}},
        ]
        try:
            return await step.ask_structured(
                PURPOSE, [Message("user", content)], Caption, sampling=sampling, prompt=CAPTION
            )
        except ModelRejected as error:
            await step.emit(CheckFailed(name=step.key, detail=f"without the picture: {error.message}"))
    return await step.ask_structured(PURPOSE, [Message("user", text)], Caption, sampling=sampling, prompt=CAPTION)
