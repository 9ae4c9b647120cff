"""Which concepts or lessons may help with a puzzle: the model reads what there is and names some of it, or none.

A memory that is larger than the budget of the prompt is looked through in two stages: the puzzle is put into words, the
words find a shortlist, and the model reads that. What the model names counts only when it is there. The outcome is ids and
versions, never text, so what is erased is gone. Source: arcmemo §3.6, §3.7, §5; the choice to name nothing is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue

from agents.arc_memo.captioning import description_of
from agents.arc_memo.concept import Lines
from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.grids import puzzle_text
from agents.arc_memo.library import Lessons, Library, read_concepts, read_lessons
from agents.arc_memo.matching import match_names, match_numbers
from agents.arc_memo.prompting import BLANKS, PROMPTS
from agents.arc_memo.rendering import render, render_lessons
from agents.base import Step
from agents.graphs import Work
from agents.tasks import ArcTask
from memory.types import MemCube
from runtime.errors import ModelError
from runtime.events import CheckFailed, StepCompleted
from runtime.prompts import load_prompt
from runtime.types import JsonObject, Message, Sampling

SELECT_CONCEPTS: Final = load_prompt(PROMPTS / "select_concepts.md")
SELECT_LESSONS: Final = load_prompt(PROMPTS / "select_lessons.md")
MAX_OTHERS: Final = 300
ABSTAIN: Final = "If nothing of it fits, choose nothing: an empty list is a good answer."
MUST: Final = "Choose at least one."
EMPTY: Final = "empty memory"
NO_CALL: Final = "the budget leaves no call for a selection"


def _as_numbers(value: object) -> object:
    items = value if isinstance(value, list) else [value]
    return [int(str(item)) for item in items if str(item).strip().lstrip("-").isdecimal()]


class Names(BaseModel):
    """The concepts that the model chose."""

    model_config = ConfigDict(extra="ignore")
    names: Lines


class Numbers(BaseModel):
    """The lessons that the model chose."""

    model_config = ConfigDict(extra="ignore")
    numbers: Annotated[list[int], BeforeValidator(_as_numbers)]


@dataclass(frozen=True, slots=True)
class Selected:
    """What was chosen, in order, and what stands beside it; `why` says what became of the selection."""

    cubes: tuple[MemCube, ...] = ()
    others: tuple[MemCube, ...] = ()
    why: str = "selected"

    def to_json(self) -> JsonObject:
        """As a step keeps it: ids and versions."""
        return {
            "chosen": [[cube.id, cube.version] for cube in self.cubes],
            "others": [[cube.id, cube.version] for cube in self.others],
            "why": self.why,
        }


async def selected(work: Work, config: ArcMemoConfig, task: ArcTask, step: Step, attempt: str = "") -> Selected:
    """Ask the model, unless then no call would be left for a program. `attempt`: a program that failed and what came of it,
    for a second selection. Raises `BudgetExhausted`, `UnknownName` for a vault that may not be read; a model that fails has
    chosen nothing."""
    return await (_concepts if config.format == "ps" else _lessons)(work, config, task, step, attempt)


async def _concepts(work: Work, config: ArcMemoConfig, task: ArcTask, step: Step, attempt: str) -> Selected:
    library = await _library(work, config, task)
    if library is None:
        return await _told(step, Selected(why=NO_CALL))
    if not library.memory.concepts:
        return await _told(step, Selected(why=EMPTY))
    text = SELECT_CONCEPTS.render(
        concepts=render(library.memory, threshold=config.usage_threshold),
        puzzle=puzzle_text(task),
        attempt=attempt,
        abstaining=ABSTAIN if config.abstain else MUST,
    )
    try:
        said = await step.ask_structured(
            "arcmemo.select_concepts",
            [Message("user", BLANKS.sub("\n\n", text))],
            Names,
            sampling=_sampling(work, config),
            prompt=SELECT_CONCEPTS,
        )
    except ModelError as error:
        await step.emit(CheckFailed(name=step.key, detail=error.message))
        return await _told(step, Selected(why="unusable selection"))
    matched = match_names(said.names, library.memory)
    others = [name for name in library.memory.names if name not in matched.found]
    return await _told(
        step,
        Selected(
            _cubes(library, matched.found),
            _cubes(library, others)[:MAX_OTHERS],
            _why(said.names, matched.found),
        ),
        dropped=len(matched.dropped),
    )


async def _library(work: Work, config: ArcMemoConfig, task: ArcTask) -> Library | None:
    """What the model is to read; None when the budget leaves no calls to look for it and answer."""
    spec = work.ctx.spec

    async def read(question: str) -> Library:
        found = await work.ctx.look(
            lambda memory, actor, _: read_concepts(
                memory,
                actor,
                spec.vaults,
                question=question,
                budget_tokens=config.context_tokens,
                threshold=config.usage_threshold,
                explore=spec.explore,
            )
        )
        return found or Library()

    library = await read("")
    if library.whole:
        return library if not library.memory.concepts or _leaves_a_call(work, 1) else None
    if not _leaves_a_call(work, 2):
        return None
    question = await description_of(work, config, task)
    return await read(question) if question else library


async def _lessons(work: Work, config: ArcMemoConfig, task: ArcTask, step: Step, attempt: str) -> Selected:
    spec = work.ctx.spec

    async def read(question: str) -> Lessons:
        found = await work.ctx.look(
            lambda memory, actor, _: read_lessons(
                memory,
                actor,
                spec.vaults,
                question=question,
                budget_tokens=config.context_tokens,
                explore=spec.explore,
            )
        )
        return found or Lessons()

    lessons = await read("")
    if not lessons.lessons:
        return await _told(step, Selected(why=EMPTY))
    if not _leaves_a_call(work, 2):
        return await _told(step, Selected(why=NO_CALL))
    described = await description_of(work, config, task)
    if described and not lessons.whole:
        lessons = await read(described)
    text = SELECT_LESSONS.render(
        lessons=render_lessons(lessons.lessons),
        description="\n\n".join(part for part in (described or puzzle_text(task), attempt) if part),
        count=str(config.top_k),
        abstaining=ABSTAIN if config.abstain else MUST,
    )
    try:
        said = await step.ask_structured(
            "arcmemo.select_lessons",
            [Message("user", text)],
            Numbers,
            sampling=_sampling(work, config),
            prompt=SELECT_LESSONS,
        )
    except ModelError as error:
        await step.emit(CheckFailed(name=step.key, detail=error.message))
        return await _told(step, Selected(why="unusable selection"))
    matched = match_numbers(said.numbers, len(lessons.lessons))
    chosen = matched.found[: config.top_k]
    cubes = tuple(lessons.cubes[number - 1] for number in chosen)
    return await _told(step, Selected(cubes, why=_why(said.numbers, chosen)), dropped=len(matched.dropped))


def _leaves_a_call(work: Work, calls: int) -> bool:
    """Whether a limit of calls leaves one for a program behind so many for a selection."""
    left = work.ctx.calls_left
    return left is None or left > calls


async def _told(step: Step, made: Selected, *, dropped: int = 0) -> Selected:
    told: dict[str, JsonValue] = {"why": made.why, "chosen": [cube.id for cube in made.cubes], "dropped": dropped}
    await step.emit(StepCompleted(name=step.key, detail=told))
    return made


def _why(said: Sequence[object], found: Sequence[object]) -> str:
    if found:
        return "selected"
    return "nothing that was named is there" if said else "abstained"


def _cubes(library: Library, names: Sequence[str]) -> tuple[MemCube, ...]:
    return tuple(cube for name in names for cube in library.cubes.get(name, ()))


def _sampling(work: Work, config: ArcMemoConfig) -> Sampling:
    return Sampling(temperature=config.auxiliary_temperature, seed=work.ctx.seed, max_tokens=config.select_tokens)
