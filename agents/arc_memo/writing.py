"""A verified program becomes concepts: pseudocode, entries, a merge.

The program is first rewritten without what only its language needs, then the model says which concepts it uses, with the
collection before its eyes, and the entries are merged by rule (agents/arc_memo/merging.py). Lists that have grown long by it
are rewritten shorter before they are written. With `executable`, an entry may bring a helper, which is tried first
(agents/arc_memo/proving.py). Each call is a step, so is the write; the write is one plan. Source: arcmemo §3.3, §5.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue

from agents.arc_memo.concept import CodedEntry, Concept, ConceptEntry, Lines
from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.grids import problem_id
from agents.arc_memo.keeping import Shorter, source_of, write_concepts
from agents.arc_memo.library import Library, read_concepts, read_named
from agents.arc_memo.merging import merge, needs_consolidation
from agents.arc_memo.programs import Attempt
from agents.arc_memo.prompting import PROMPTS, data
from agents.arc_memo.proving import Proven, proved
from agents.arc_memo.rendering import render
from agents.base import Context, Step
from agents.graphs import Work
from agents.tasks import ArcTask
from runtime.errors import Forbidden, InvalidInput, ModelError
from runtime.events import CheckFailed, StepCompleted
from runtime.prompts import load_prompt
from runtime.types import Message, Sampling

PSEUDOCODE: Final = load_prompt(PROMPTS / "pseudocode.md")
ABSTRACT: Final = load_prompt(PROMPTS / "abstract.md")
ABSTRACT_HELPERS: Final = load_prompt(PROMPTS / "abstract_helpers.md")
CONSOLIDATE: Final = load_prompt(PROMPTS / "consolidate.md")
MAX_TOKENS: Final = 4096
NONE: Final = "(none)"


class Pseudocode(BaseModel):
    """A program without what only its language needs, and what it does in one sentence."""

    model_config = ConfigDict(extra="ignore")
    pseudocode: str
    summary: str = ""


def _as_list(value: object) -> object:
    return value if isinstance(value, list) else [value] if isinstance(value, dict | str) else value


class Abstraction(BaseModel):
    """The concepts that a solution uses."""

    model_config = ConfigDict(extra="ignore")
    concepts: Annotated[list[ConceptEntry], BeforeValidator(_as_list)]


class ExecutableAbstraction(Abstraction):
    """The same with helpers, and the program written anew to call them."""

    concepts: Annotated[list[CodedEntry], BeforeValidator(_as_list)]  # type: ignore[assignment]
    program: str | None = None


class Consolidation(BaseModel):
    """The lists of a concept, shorter."""

    model_config = ConfigDict(extra="ignore")
    cues: Lines = []
    implementation: Lines = []


async def learn_concepts(work: Work, config: ArcMemoConfig, task: ArcTask, best: Attempt) -> None:
    """Take the concepts of a program in. What the model does not give leaves the memory as it is. Raises
    `BudgetExhausted`."""
    writing = _Writing(work.ctx, config, task, best)
    said: Any = await work.ctx.step("learn.pseudocode", writing.pseudocode)

    async def abstract(step: Step) -> JsonValue:
        return await writing.abstract(step, said)

    made: Any = await work.ctx.step("learn.abstract", abstract)
    if not made:
        return
    entries = [ConceptEntry.model_validate(each) for each in made["concepts"]]
    proven: list[Proven] = []
    if config.executable:

        async def prove(step: Step) -> JsonValue:
            return [each.to_json() for each in await writing.prove(step, made)]

        kept: Any = await work.ctx.step("learn.helpers", prove)
        proven = [Proven.from_json(each) for each in kept]
        # A program that needs the helper of a concept uses the concept, whether the model names it or not.
        unnamed = [each.concept for each in proven if all(each.concept != entry.name for entry in entries)]
        entries += [ConceptEntry(name=name) for name in unnamed]
    if not entries:
        return
    shorter = await writing.consolidated(entries)

    async def write(step: Step) -> JsonValue:
        return await writing.write(step, entries, shorter, proven)

    await work.ctx.step("learn.write", write)


@dataclass(frozen=True, slots=True)
class _Writing:
    ctx: Context
    config: ArcMemoConfig
    task: ArcTask
    best: Attempt

    @property
    def problem(self) -> str:
        return problem_id(self.task)

    @property
    def program(self) -> str:
        assert self.best.whole is not None
        return self.best.whole

    def sampling(self) -> Sampling:
        return Sampling(temperature=self.config.auxiliary_temperature, seed=self.ctx.seed, max_tokens=MAX_TOKENS)

    async def pseudocode(self, step: Step) -> JsonValue:
        text = PSEUDOCODE.render(program=data(self.program))
        try:
            said = await step.ask_structured(
                "arcmemo.pseudocode",
                [Message("user", text)],
                Pseudocode,
                sampling=self.sampling(),
                prompt=PSEUDOCODE,
            )
        except ModelError as error:
            # The program itself will do.
            await step.emit(CheckFailed(name=step.key, detail=error.message))
            return None
        return said.model_dump() if said.pseudocode.strip() else None

    async def abstract(self, step: Step, said: dict[str, str] | None) -> JsonValue:
        solution = said["pseudocode"] if said else self.program
        summary = said["summary"] if said else ""
        library = await self.library(f"{summary}\n{solution}")
        text = ABSTRACT.render(
            concepts=render(library.memory, threshold=self.config.usage_threshold) or NONE,
            summary=data(summary) or NONE,
            solution=data(solution),
        )
        asked = Abstraction
        if self.config.executable:
            asked = ExecutableAbstraction
            text += "\n\n" + ABSTRACT_HELPERS.render(program=self.given())
        try:
            made = await step.ask_structured(
                "arcmemo.abstract", [Message("user", text)], asked, sampling=self.sampling(), prompt=ABSTRACT
            )
        except ModelError as error:
            await step.emit(CheckFailed(name=step.key, detail=f"nothing is learned: {error.message}"))
            return None
        await step.emit(StepCompleted(name=step.key, detail={"entries": len(made.concepts)}))
        return made.model_dump(mode="json")

    def given(self) -> str:
        """The program behind the helpers that it was run with, each under the name of its concept."""
        helpers = [f"# concept: {name}\n{source}" for name, source in self.best.helpers.items()]
        return data("\n\n".join([*helpers, self.best.source or ""]))

    async def prove(self, step: Step, made: dict[str, Any]) -> list[Proven]:
        """Try the helpers that came with the entries, and those that the program was run with."""
        offered = {each["name"]: each["helper"] for each in made["concepts"] if each["name"] and each["helper"]}
        names, vaults = [*offered, *self.best.helpers], self.ctx.spec.vaults
        library = await self.ctx.look(lambda memory, actor, _: read_named(memory, actor, vaults, names)) or Library()
        return await proved(
            self.ctx,
            step,
            self.config,
            self.task,
            self.best,
            offered=offered,
            program=made["program"],
            known=library.memory.concepts,
        )

    async def library(self, question: str = "") -> Library:
        """What there is, or of a memory too large for a prompt what fits the question."""
        spec = self.ctx.spec
        read = await self.ctx.look(
            lambda memory, actor, _: read_concepts(
                memory,
                actor,
                spec.vaults,
                question=question,
                budget_tokens=self.config.context_tokens,
                threshold=self.config.usage_threshold,
                explore=0.0,
            )
        )
        return read or Library()

    async def consolidated(self, entries: list[ConceptEntry]) -> list[Shorter]:
        """Shorter lists for the concepts whose lists the entries make too long. Each has a step of its own, by its name, and
        the step says for which lists: what other runs write meanwhile gives no concept the lists of another, nor of other
        texts."""
        library = await self.library(" ".join(entry.name for entry in entries))
        merged = merge(library.memory, entries, self.problem)
        long = [merged.memory.concepts[name] for name in merged.changed]
        found: list[Shorter] = []
        for concept in filter(needs_consolidation, long):
            key = f"learn.consolidate.{_digest(concept.name)}"
            said: Any = await self.ctx.step(key, _Consolidating(self, concept).ask)
            if said and said["of"] == _digest(*concept.cues, "", *concept.implementation):
                found.append(Shorter(concept, tuple(said["cues"]), tuple(said["implementation"])))
        return found

    async def write(
        self, step: Step, entries: list[ConceptEntry], shorter: list[Shorter], proven: list[Proven]
    ) -> JsonValue:
        learning = self.ctx.learning
        assert learning is not None
        run = f"run.{self.best.sample}.{self.best.depth}"
        sources = {self.problem: source_of(self.ctx.run_id, run, self.program)}
        try:
            revised = await write_concepts(
                learning, step, {self.problem: entries}, sources=sources, shorter=shorter, proven=proven
            )
        except (InvalidInput, Forbidden) as error:
            # The vault was locked, archived or taken away meanwhile; the answer is not lost for that.
            await step.emit(CheckFailed(name=step.key, detail=error.message))
            return []
        return [[each.id, each.version, each.op] for each in revised.written]


@dataclass(frozen=True, slots=True)
class _Consolidating:
    writing: _Writing
    concept: Concept

    async def ask(self, step: Step) -> JsonValue:
        concept = self.concept
        text = CONSOLIDATE.render(
            name=data(concept.name),
            description=data(concept.description or NONE),
            cues=_list(concept.cues),
            implementation=_list(concept.implementation),
        )
        try:
            said = await step.ask_structured(
                "arcmemo.consolidate",
                [Message("user", text)],
                Consolidation,
                sampling=self.writing.sampling(),
                prompt=CONSOLIDATE,
            )
        except ModelError as error:
            # The long lists stay.
            await step.emit(CheckFailed(name=step.key, detail=error.message))
            return None
        return {**said.model_dump(), "of": _digest(*concept.cues, "", *concept.implementation)}


def _digest(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]


def _list(lines: tuple[str, ...]) -> str:
    return "\n".join(f"- {data(line)}" for line in lines) or NONE
