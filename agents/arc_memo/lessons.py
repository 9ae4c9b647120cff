"""A verified program becomes lessons: how its rule could have been found, then what other puzzles gain from that.

The account is written with the program known, since what a model thought by itself is not to be had. Lessons are appended;
what is there is not consulted. Source: arcmemo §3.4, §5.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue

from agents.arc_memo.concept import Lesson, LessonEntry
from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.grids import examples_text, problem_id
from agents.arc_memo.keeping import source_of, write_lessons
from agents.arc_memo.programs import Attempt
from agents.arc_memo.prompting import PROMPTS, data
from agents.base import Step
from agents.graphs import Work
from agents.tasks import ArcTask
from agents.thinking import visible
from runtime.errors import Forbidden, InvalidInput, ModelError
from runtime.events import CheckFailed, StepCompleted
from runtime.prompts import load_prompt
from runtime.types import Message, Sampling

DERIVE: Final = load_prompt(PROMPTS / "derive.md")
LESSONS: Final = load_prompt(PROMPTS / "lessons.md")
MAX_TOKENS: Final = 4096
MAX_CHARS: Final = 12_000


def _as_list(value: object) -> object:
    items = [value] if isinstance(value, dict) else value
    return [each for each in items if isinstance(each, dict)] if isinstance(items, list) else items


class Learned(BaseModel):
    """The lessons that the model wrote."""

    model_config = ConfigDict(extra="ignore")
    lessons: Annotated[list[LessonEntry], BeforeValidator(_as_list)]


async def learn_lessons(work: Work, config: ArcMemoConfig, task: ArcTask, best: Attempt) -> None:
    """Append the lessons of a program. What the model does not give leaves the memory as it is. Raises
    `BudgetExhausted`."""
    ctx, program, problem = work.ctx, best.source, problem_id(task)
    assert program is not None
    sampling = Sampling(temperature=config.auxiliary_temperature, seed=ctx.seed, max_tokens=MAX_TOKENS)

    async def derive(step: Step) -> JsonValue:
        text = DERIVE.render(examples=examples_text(task), program=data(program))
        try:
            reply = await step.ask("arcmemo.derive", [Message("user", text)], sampling=sampling, prompt=DERIVE)
        except ModelError as error:
            await step.emit(CheckFailed(name=step.key, detail=f"nothing is learned: {error.message}"))
            return None
        return visible(reply.text)[:MAX_CHARS] or None

    async def write_down(step: Step) -> JsonValue:
        text = LESSONS.render(program=data(program), account=data(str(account)))
        try:
            made = await step.ask_structured(
                "arcmemo.lessons", [Message("user", text)], Learned, sampling=sampling, prompt=LESSONS
            )
        except ModelError as error:
            await step.emit(CheckFailed(name=step.key, detail=f"nothing is learned: {error.message}"))
            return None
        kept = [each.model_dump() for each in made.lessons if each.situation and each.suggestion]
        told: dict[str, JsonValue] = {"lessons": len(kept), "left_out": len(made.lessons) - len(kept)}
        await step.emit(StepCompleted(name=step.key, detail=told))
        return [*kept]

    async def write(step: Step) -> JsonValue:
        learning = ctx.learning
        assert learning is not None
        lessons = [Lesson(each["situation"], each["suggestion"], problem) for each in made]
        sources = {problem: source_of(ctx.run_id, f"run.{best.sample}.{best.depth}", program)}
        try:
            revised = await write_lessons(learning, step, lessons, sources=sources)
        except (InvalidInput, Forbidden) as error:
            # The vault was locked, archived or taken away meanwhile; the answer is not lost for that.
            await step.emit(CheckFailed(name=step.key, detail=error.message))
            return []
        return [[each.id, each.version, each.op] for each in revised.written]

    account = await ctx.step("learn.derive", derive)
    if account is None:
        return
    made: Any = await ctx.step("learn.lessons", write_down)
    if made:
        await ctx.step("learn.write", write)
