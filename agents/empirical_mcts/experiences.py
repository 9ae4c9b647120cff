"""The experiences of a run: which are shown to whom, and how a plan for them is made and written.

Shown are those that fit the question, beside other memories of the vaults; for each answer it is drawn anew which
(agents/remembering.py). The memory agent sees the nearest of the vault that is written, by number, and its plan is
applied to the versions that it saw. Making the plan and writing it are two steps, so no plan is asked for twice.
Source: empirical_mcts §3.7, §3.8.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import orjson
from pydantic import JsonValue

from agents.base import Context, Step
from agents.empirical_mcts.config import EmpiricalMCTSConfig
from agents.empirical_mcts.memory_plan import Decision, MemoryPlan, Op, Skipped, additions, decide, union_of_keys
from agents.empirical_mcts.prompting import NOTHING, PROMPTS
from agents.empirical_mcts.tracing import unit_of
from agents.memory_block import TAG
from agents.remembering import MAX_TOKENS, Units
from memory.experiences import Wanted, tag_of
from memory.indices.base import Filter
from memory.revisions import Insert, Remove, Revision, Rewrite, Skip, There
from memory.service import Memory
from memory.types import Actor, Change, Draft, MemCube, Query, RecallHit, Source
from runtime.errors import Forbidden, InvalidInput, ModelError
from runtime.events import CheckFailed, StepCompleted
from runtime.ids import new_id
from runtime.prompts import load_prompt
from runtime.run_types import RunSpec
from runtime.types import JsonObject, Message, Sampling

PROMPT: Final = load_prompt(PROMPTS / "memory.md")
PURPOSE: Final = "empirical_mcts.memory"
SNAPSHOT: Final = 10
PLAN_TOKENS: Final = 2048
CONFIDENCE: Final = 0.7
DoStep = Callable[[str, Callable[[Step], Awaitable[JsonValue]]], Awaitable[JsonValue]]


@dataclass(frozen=True, slots=True)
class Shown:
    """What one answer is shown: experiences, and other memories of the vaults."""

    units: Units
    unit: str

    @property
    def experiences(self) -> list[MemCube]:
        return [cube for cube in self.units.shown.get(self.unit, ()) if cube.data.get("method")]

    @property
    def others(self) -> list[MemCube]:
        return [cube for cube in self.units.shown.get(self.unit, ()) if not cube.data.get("method")]


class Experiences:
    """Reads and writes experiences for one question. `question` is the text that they are looked for and kept by, `step`
    does a step of the run."""

    def __init__(self, ctx: Context, config: EmpiricalMCTSConfig, question: str, step: DoStep) -> None:
        self._ctx = ctx
        self._step = step
        self._config = config
        self._retrieval = config.retrieval()
        # What both databases hold as it is.
        self._question = question.replace("\x00", " ").encode("utf-8", "ignore").decode().strip()
        self._units = [unit_of(number) for number in range(config.rollouts + 1)]

    @property
    def learns(self) -> bool:
        """Whether the run writes experiences."""
        learning = self._ctx.learning
        return learning is not None and learning.writes and bool(self._question)

    async def shown(self, number: int) -> Shown:
        """What the answer of node `number` is shown. Raises `UnknownName` for a vault that may not be read."""
        unit = unit_of(number)
        if not self._question:
            return Shown(Units(), unit)
        explore = None if self._retrieval.robust else 0.0
        drawn = await self._ctx.recalled(f"memories.{number}", self._find, [unit], among=self._units, explore=explore)
        return Shown(drawn, unit)

    async def learn(self, number: str, node: int, lessons: Sequence[str]) -> None:
        """Have the lessons of a node taken in. Raises `BudgetExhausted`."""
        if not self.learns or not lessons:
            return

        async def plan(step: Step) -> JsonValue:
            return await self._plan(step, lessons)

        suffix = f".{number}" if number else ""
        made: Any = await self._step(f"learn{suffix}", plan)

        async def write(step: Step) -> JsonValue:
            return await self._write(step, made, node)

        await self._step(f"write{suffix}", write)

    # -- reading -------------------------------------------------------------------------------------------------------

    async def _find(self, memory: Memory, actor: Actor, spec: RunSpec) -> list[RecallHit]:
        found: list[RecallHit] = []
        if self._retrieval.memories:
            query = Query(
                self._question,
                vaults=spec.vaults,
                k=2 * self._retrieval.memories,
                max_tokens=MAX_TOKENS,
                explore=spec.explore,
                seed=spec.seed,
            )
            others = (await memory.search(actor, query, counts=False)).hits
            # Experiences of other methods are no business of this one; its own are found below.
            found += [hit for hit in others if not hit.memory.data.get("method")][: self._retrieval.memories]
        if self._retrieval.k:
            wanted = Wanted(
                self._question,
                self._config.method,
                spec.vaults,
                self._retrieval.k,
                self._retrieval.by,
                self._retrieval.threshold,
                distinct=self._retrieval.robust,
                measured=self._retrieval.robust and spec.explore != 0,
                seed=spec.seed,
            )
            found += await memory.experiences.find(actor, wanted)
        return found

    # -- writing -------------------------------------------------------------------------------------------------------

    async def _plan(self, step: Step, lessons: Sequence[str]) -> JsonObject:
        learning = self._ctx.learning
        assert learning is not None

        # Those that nearly say the same are what a plan may merge.
        wanted = Wanted(
            self._question,
            self._config.method,
            (learning.vault,),
            SNAPSHOT,
            self._retrieval.by,
            distinct=False,
            measured=False,
        )

        async def nearest(memory: Memory, actor: Actor, spec: RunSpec) -> list[RecallHit]:
            return await memory.experiences.find(actor, wanted)

        shown = sorted(await learning.look(nearest), key=lambda cube: cube.seq)
        text = PROMPT.render(
            existing=_lines([{"number": place, "text": cube.content} for place, cube in enumerate(shown, 1)]),
            lessons=_lines([{"text": lesson} for lesson in lessons]),
        )
        sampling = Sampling(temperature=0.0, seed=self._ctx.seed, max_tokens=PLAN_TOKENS)
        try:
            made = await step.ask_structured(
                PURPOSE, [Message("user", text)], MemoryPlan, sampling=sampling, prompt=PROMPT
            )
            ops, how = made.plan, "plan"
        except ModelError:
            # Its `llm.call` tells why. A lesson that nobody has looked through is better than one that is lost.
            ops, how = additions(lessons), "every lesson as it is"
        await step.emit(StepCompleted(name=step.key, detail={"by": how, "shown": [cube.id for cube in shown]}))
        return {
            "ops": [op.model_dump(mode="json", exclude_none=True) for op in ops],
            "shown": [[cube.id, cube.version] for cube in shown],
            "new_ids": [new_id("mem") for _ in ops],
        }

    async def _write(self, step: Step, made: Mapping[str, Any], node: int) -> JsonValue:
        learning = self._ctx.learning
        assert learning is not None
        ops = [Op.model_validate(op) for op in made["ops"]]
        plan = _Plan(
            ops=ops,
            shown={place: (id_, version) for place, (id_, version) in enumerate(made["shown"], 1)},
            new_ids=made["new_ids"],
            published=self._config.profile == "published",
            key={"text": self._question, "problem_id": self._ctx.run_id},
            method=self._config.method,
            source=Source("run", uri=self._ctx.run_id, message_id=unit_of(node), role="assistant"),
        )
        try:
            revised = await learning.write(
                step,
                plan.revisions,
                about=[id_ for id_, _ in made["shown"]],
                new_ids=made["new_ids"],
                texts=[op.text for op in ops if op.text],
                alike=Filter((), semantic_types=("experience",), tags=(tag_of(self._config.method),)),
            )
        except (InvalidInput, Forbidden) as error:
            # The vault was locked, archived or taken away meanwhile; the answer is not lost for that.
            await step.emit(CheckFailed(name=step.key, detail=error.message))
            await step.emit(StepCompleted(name=step.key, detail={"written": 0, "skipped": [error.message]}))
            return []
        return [[each.id, each.version, each.op] for each in revised.written]


@dataclass(frozen=True, slots=True)
class _Plan:
    """The plan with all that its operations need to become memories."""

    ops: Sequence[Op]
    shown: Mapping[int, tuple[str, int]]
    new_ids: Sequence[str]
    published: bool
    key: JsonObject
    method: str
    source: Source

    def revisions(self, there: There) -> list[Revision]:
        """Called inside the transaction, with what is there."""
        decisions = decide(self.ops, _Seen(there, self.shown))
        return [self._revision(place, decision, there) for place, decision in enumerate(decisions)]

    def _revision(self, place: int, decision: Decision | Skipped, there: There) -> Revision:
        if isinstance(decision, Skipped):
            return Skip(decision.why)
        ids = tuple(self.shown[number][0] for number in decision.numbers)
        sources = [there.memories[id_].data for id_ in ids]
        why = decision.why or f"{decision.kind}, learned in run {self.source.uri}"
        match decision.kind:
            case "add":
                return Insert(self.new_ids[place], self._draft(decision.text, [self.key], []), "add", why=why)
            case "delete":
                return Remove(ids[0], why)
            case "modify" if not self.published:
                data = {**sources[0], "keys": union_of_keys([self.key], sources), "method": self.method}
                return Rewrite(ids[0], Change({"content": decision.text, "data": data}), (self.source,), why)
            case op:
                keys = [self.key] if self.published else union_of_keys([self.key], sources)
                lineage = [*dict.fromkeys([id_ for data in sources for id_ in _lineage(data)] + [*ids])]
                return Insert(self.new_ids[place], self._draft(decision.text, keys, lineage), op, ids, why)

    def _draft(self, text: str, keys: list[JsonObject], lineage: list[str]) -> Draft:
        return Draft(
            text,
            semantic_type="experience",
            data={"method": self.method, "keys": cast(JsonValue, keys), "lineage": cast(JsonValue, lineage)},
            tags=(tag_of(self.method),),
            origin="inference_extraction",
            confidence=CONFIDENCE,
            sources=(self.source,),
        )


@dataclass(frozen=True, slots=True)
class _Seen:
    """See `Collection`: the numbers of the model beside what is there."""

    there: There
    shown: Mapping[int, tuple[str, int]]

    def state(self, number: int) -> Literal["unknown", "gone", "changed", "there"]:
        if number not in self.shown:
            return "unknown"
        id_, version = self.shown[number]
        now = self.there.memories.get(id_)
        return "gone" if now is None else "there" if now.version == version else "changed"

    def same(self, text: str) -> Sequence[int | str]:
        number_of = {id_: number for number, (id_, _) in self.shown.items()}
        return [number_of.get(id_, id_) for id_ in self.there.near(text)]

    def alike(self, a: str, b: str) -> bool:
        return self.there.alike(a, b)


def _lineage(data: Mapping[str, Any]) -> list[str]:
    return [*(data.get("lineage") or [])]


def _lines(items: Sequence[JsonObject]) -> str:
    text = "\n".join(orjson.dumps(item).decode() for item in items)
    return TAG.sub(lambda found: f"\\u{ord(found.group()):04x}", text) or NOTHING
