"""What each sample is told beside the puzzle: the concepts or lessons that were selected, less what chance holds out.

The selection is made once for the run. For every sample it is drawn anew which of the selected memories it is shown
(agents/remembering.py), so the samples tell what a memory is worth. A sample that is shown none of them gets no word of
memory at all, not even names. Helpers are those of the concepts that the sample is shown. Source: arcmemo §3.5-3.8;
design usefulness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from pydantic import JsonValue

from agents.arc_memo.captioning import description_of
from agents.arc_memo.concept import Concept, ConceptMemory
from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.helpers import Helper, apart, called, described, listed
from agents.arc_memo.merging import united
from agents.arc_memo.programs import Attempt
from agents.arc_memo.prompting import PROMPTS, data, feedback
from agents.arc_memo.rendering import as_hint, render_lessons
from agents.arc_memo.selecting import EMPTY, NO_CALL, selected
from agents.arc_memo.wording import concept_of, lesson_of
from agents.base import Step
from agents.graphs import Work
from agents.remembering import Find, Units, reads_memories
from agents.tasks import ArcTask
from memory.revisit import revisited
from memory.service import Memory
from memory.types import Actor, MemCube, RecallHit
from runtime.prompts import load_prompt
from runtime.run_types import RunSpec

CONCEPTS: Final = load_prompt(PROMPTS / "concepts.md")
LESSONS: Final = load_prompt(PROMPTS / "lessons_hint.md")
DESCRIPTION: Final = load_prompt(PROMPTS / "description.md")
WHY: Final = "selected by the model"
Kept = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Reading:
    """See the module. `others`: names of concepts that were not selected; `more`: what retries selected, by sample;
    `helpers`: what is known of the helpers of all of them, by their texts."""

    lessons: bool = False
    units: Units = field(default_factory=Units)
    chosen: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    description: str | None = None
    why: str = "off"
    more: Mapping[int, tuple[MemCube, ...]] = field(default_factory=dict)
    helpers: Mapping[str, Helper] = field(default_factory=dict)

    def notes(self, sample: int) -> str:
        """What the sample is told; empty when there is nothing to tell."""
        memory = self._lessons(self._cubes(sample)) if self.lessons else self._concepts(self._shown(sample))
        description = DESCRIPTION.render(description=data(self.description)) if self.description else ""
        return "\n\n".join(part for part in (description, memory, listed(self._helpers(sample))) if part)

    def called_by(self, sample: int, program: str) -> dict[str, str]:
        """The texts of the helpers that a program of the sample is run with, by concept."""
        return called(self._helpers(sample), program)

    def _cubes(self, sample: int) -> list[MemCube]:
        return [*self.units.shown.get(unit_of(sample), ()), *self.more.get(sample, ())]

    def _shown(self, sample: int) -> dict[str, Concept]:
        shown: dict[str, Concept] = {}
        for concept in map(concept_of, self._cubes(sample)):
            shown[concept.name] = united(shown[concept.name], concept) if concept.name in shown else concept
        return shown

    def _helpers(self, sample: int) -> dict[str, Helper]:
        sources = [concept.helper or "" for concept in self._shown(sample).values()] if self.helpers else []
        return apart(self.helpers[source] for source in sources if source in self.helpers)

    def _concepts(self, shown: Mapping[str, Concept]) -> str:
        by_name = {name: Concept(name, "routine") for name in self.others}
        hint = as_hint(ConceptMemory({**by_name, **shown}), shown.keys())
        return CONCEPTS.render(concepts=hint) if hint else ""

    def _lessons(self, cubes: Sequence[MemCube]) -> str:
        return LESSONS.render(lessons=render_lessons([*map(lesson_of, cubes)])) if cubes else ""

    async def again(self, work: Work, config: ArcMemoConfig, sample: int, depth: int, attempt: Attempt) -> Reading:
        """With what is selected in view of an attempt that failed. Nothing of it is held out, and what was held out of the
        sample stays so. Raises as `read` does."""
        task = work.task
        assert isinstance(task, ArcTask)
        unit = unit_of(sample)

        async def select(step: Step) -> JsonValue:
            told = f"A program that failed:\n\n{data(attempt.source or '(none)')}\n{feedback(attempt, task, config)}"
            return (await selected(work, config, task, step, told)).to_json()

        kept: Any = await work.ctx.step(f"reselect.{sample}.{depth}", select)
        known = {cube.id for cube in (*self.units.shown.get(unit, ()), *self.units.held_out.get(unit, ()))}
        known |= {cube.id for cube in self.more.get(sample, ())}
        new = [(id_, version) for id_, version in kept["chosen"] if id_ not in known]
        if not new:
            return self
        drawn = await work.ctx.recalled(f"memories.{sample}.{depth}", _finding(new), [unit], explore=0.0)
        mine = (*self.more.get(sample, ()), *drawn.shown.get(unit, ()))
        helpers = {**self.helpers, **await _helpers_of(work, config, drawn.shown.get(unit, ()))}
        return replace(self, more={**self.more, sample: mine}, helpers=helpers)


def unit_of(sample: int) -> str:
    """The name of a sample as a unit."""
    return f"sample.{sample}"


async def read(work: Work, config: ArcMemoConfig) -> Reading:
    """Select and draw, now or before. Raises `BudgetExhausted`, and `UnknownName` for a vault that may not be read."""
    task = work.task
    assert isinstance(task, ArcTask)
    if config.format == "none" or not reads_memories(work.ctx.spec):
        return Reading()
    lessons = config.format == "oe"

    async def select(step: Step) -> JsonValue:
        return (await selected(work, config, task, step)).to_json()

    kept: Any = await work.ctx.step("select", select)
    described = None
    if lessons and kept["why"] not in (EMPTY, NO_CALL):
        described = await description_of(work, config, task)
    if not kept["chosen"]:
        return Reading(lessons, description=described, why=kept["why"])
    units = await work.ctx.recalled(
        "memories", _finding(kept["chosen"]), [unit_of(number) for number in range(config.samples)]
    )
    found = await work.ctx.look(lambda memory, actor, spec: _revisited(memory, actor, spec, kept["others"]))
    others = dict.fromkeys(concept_of(cube).name for cube in found or ())
    chosen = tuple(id_ for id_, _ in kept["chosen"])
    helpers = await _helpers_of(work, config, [cube for cubes in units.shown.values() for cube in cubes])
    return Reading(lessons, units, chosen, tuple(others), described, kept["why"], helpers=helpers)


async def _helpers_of(work: Work, config: ArcMemoConfig, cubes: Sequence[MemCube]) -> dict[str, Helper]:
    """What is known of the helpers of these memories, by their texts; one that cannot be read is left out."""
    if not config.executable or config.format != "ps":
        return {}
    coded = {concept.helper: concept for concept in map(concept_of, cubes) if concept.helper}
    found = await described(work.ctx, [*coded.values()], config.seconds)
    return {helper.source: helper for helper in found if isinstance(helper, Helper)}


def _finding(kept: Kept) -> Find:
    async def find(memory: Memory, actor: Actor, spec: RunSpec) -> list[RecallHit]:
        cubes = await _revisited(memory, actor, spec, kept)
        return [RecallHit(cube, 1 / place, {}, {}, WHY) for place, cube in enumerate(cubes, start=1)]

    return find


async def _revisited(memory: Memory, actor: Actor, spec: RunSpec, kept: Kept) -> list[MemCube]:
    wanted = dict(kept)
    found = await memory.core.read(actor, lambda tx: revisited(tx, spec.vaults, wanted))
    return [found[id_] for id_ in wanted if id_ in found]
