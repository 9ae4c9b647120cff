"""How a run reads memories: a recall, units that are shown a part of it by chance, outcomes that tell what it was worth.

    units = await ctx.memories(task, ["answer.0", "answer.1"])
    messages = units.placed("answer.0", task.messages())          # the memories that this unit is shown, as data
    await units.report(step, "answer.0", 1.0, "verifier")         # an event of the log; counted when the run succeeds

An agent that looks for memories in its own way, or unit by unit, uses `ctx.recalled`.

Only a run that names vaults and whose memory is not `off` reads any; every other gets units without memories, and its
prompts, events and steps are as if there were no store. The run acts as its owner, in its context: the access decision is
that of every other door. The recall is a step, so its draws are the same when the run is picked up again. Source: design
usefulness; memos §3.10; ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import JsonValue

from agents.memory_block import PROMPT, block, placed
from agents.tasks import CodeTask, MathTask, QATask, Task
from memory import access
from memory.measuring.outcomes import OutcomeKind
from memory.revisit import revisited
from memory.service import Memory
from memory.types import Actor, MemCube, Query, RecallHit
from runtime.errors import StorageError, UnknownName
from runtime.events import MemoryRead, StepCompleted
from runtime.run_types import RunSpec
from runtime.telemetry import get_logger
from runtime.types import Message

if TYPE_CHECKING:
    from agents.base import Step

STEP: Final = "memories"
K: Final = 10
MAX_TOKENS: Final = 2000
MAX_QUESTION: Final = 2000
Find = Callable[[Memory, Actor, RunSpec], Awaitable[Sequence[RecallHit]]]
Read = TypeVar("Read")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Units:
    """Who is shown what. `measured`: some memory was held out by chance, so outcomes say something."""

    shown: Mapping[str, tuple[MemCube, ...]] = field(default_factory=dict)
    held_out: Mapping[str, tuple[MemCube, ...]] = field(default_factory=dict)
    measured: bool = False

    def block(self, unit: str) -> str:
        """The memories of a unit as text for its prompt; empty when it is shown none."""
        return block(self.shown.get(unit, ()))

    def placed(self, unit: str, messages: Sequence[Message]) -> list[Message]:
        """The prompt of a unit with its memories in it."""
        return placed(messages, self.block(unit))

    async def report(self, step: Step, unit: str, outcome: float, kind: OutcomeKind, detail: JsonValue = None) -> None:
        """Say how well a unit did, from 0 to 1; the last word counts. Nothing is said where nothing is measured."""
        if self.measured:
            await step.emit(StepCompleted(name=unit, score=outcome, detail=detail, outcome=kind))


class Remembering:
    """The memories of one run."""

    def __init__(self, memory: Memory, spec: RunSpec, *, owner: str) -> None:
        self._memory = memory
        self._spec = spec
        self._actor = actor_of(spec, owner)
        self._recalled: dict[str, MemCube] = {}
        self._shown: set[str] = set()
        self._held_out: set[str] = set()

    @property
    def reads(self) -> bool:
        """Whether the run reads memories at all."""
        return reads_memories(self._spec)

    @property
    def withheld(self) -> frozenset[str]:
        """The ids of the memories that were held out so far and shown to no unit: the run does without them."""
        return frozenset(self._held_out - self._shown)

    async def recall(
        self, step: Step, question: str, units: Sequence[str], *, k: int, max_tokens: int
    ) -> dict[str, Any]:
        """Search, then `draw`. Raises `UnknownName` for a vault that the owner of the run may not read."""
        spec = self._spec
        query = Query(question, vaults=spec.vaults, k=k, max_tokens=max_tokens, explore=spec.explore, seed=spec.seed)
        found = await self._memory.search(self._actor, query, counts=False)
        return await self.draw(step, found.hits, units, degraded=found.degraded)

    async def find(self, find: Find) -> Sequence[RecallHit]:
        """What an agent finds in its own way, as the owner of the run. Raises as `recall` does."""
        return await find(self._memory, self._actor, self._spec)

    async def look(self, read: Callable[[Memory, Actor, RunSpec], Awaitable[Read]]) -> Read:
        """What an agent reads of the vaults before it recalls anything, as the owner of the run. Raises as `read` does."""
        return await read(self._memory, self._actor, self._spec)

    async def draw(
        self,
        step: Step,
        found: Sequence[RecallHit],
        units: Sequence[str],
        *,
        among: Sequence[str] = (),
        explore: float | None = None,
        degraded: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Draw for the units and write down what was drawn: the output of a step, without the text of any memory.

        `among`: all units that the run will have, where some are drawn for later; `explore` 0: nothing is held out.
        """
        spec = self._spec
        cubes = [hit.memory for hit in found]
        plan = await self._memory.usefulness.plan(
            self._actor,
            cubes,
            among or units,
            seed=spec.seed,
            agent=spec.agent,
            explore=spec.explore if explore is None else explore,
        )
        hits = {hit.memory.id: hit for hit in found}
        draws = [draw for draw in plan.draws if draw.unit in units]
        for draw in draws:
            hit = hits[draw.memory_id]
            await step.emit(
                MemoryRead(
                    id=draw.memory_id,
                    version=draw.version,
                    score=hit.score,
                    why=hit.why,
                    unit=draw.unit,
                    shown="shown" if draw.shown else "held_out",
                    p=draw.p,
                )
            )
        # What is held out was found, and not used.
        self._memory.uses.note({draw.memory_id for draw in draws if draw.shown})
        centres: dict[str, JsonValue] = {vault_id: dict(means) for vault_id, means in plan.centres.items()}
        missed: list[JsonValue] = [*degraded]
        await step.emit(
            StepCompleted(
                name=step.key,
                detail={"found": len(cubes), "degraded": missed, "centres": centres, "prompt": PROMPT.sha256},
            )
        )
        self._recalled |= {cube.id: cube for cube in cubes}
        return {
            "versions": {cube.id: cube.version for cube in cubes},
            "shown": {unit: [d.memory_id for d in draws if d.unit == unit and d.shown] for unit in units},
            "held_out": {unit: [d.memory_id for d in draws if d.unit == unit and not d.shown] for unit in units},
            "measured": any(draw.measured for draw in plan.draws),
        }

    async def units(self, drawn: Mapping[str, Any]) -> Units:
        """What a `draw` gave, in this execution or in one before. Raises as `recall` does."""
        self._shown.update(*drawn["shown"].values())
        self._held_out.update(*drawn["held_out"].values())
        wanted: Mapping[str, int] = drawn["versions"]
        known = self._recalled
        if not wanted.keys() <= known.keys():
            known = await self._memory.core.read(self._actor, lambda tx: revisited(tx, self._spec.vaults, wanted))

        def sides(of: Mapping[str, Sequence[str]]) -> dict[str, tuple[MemCube, ...]]:
            return {unit: tuple(known[id_] for id_ in ids if id_ in known) for unit, ids in of.items()}

        return Units(sides(drawn["shown"]), sides(drawn["held_out"]), drawn["measured"])

    async def settle(self, run_id: str) -> None:
        """Count the outcomes that are in the log. An answer is not lost because the database would not count it."""
        try:
            await self._memory.usefulness.settle(run_id)
        except StorageError as error:
            log.warning("run.not_measured", run_id=run_id, error=error.message)


def actor_of(spec: RunSpec, owner: str) -> Actor:
    """Who a run acts as."""
    return Actor(owner, spec.context)


def reads_memories(spec: RunSpec) -> bool:
    """Whether the run reads memories: it names where from, and nobody has switched it off."""
    return bool(spec.vaults) and spec.memory != "off"


async def check_vaults(memory: Memory, spec: RunSpec, *, owner: str) -> None:
    """Raise `UnknownName` when the run names a vault that there is not or that its owner may not read."""
    if not reads_memories(spec):
        return
    actor = actor_of(spec, owner)
    await memory.core.default_vault(actor)
    try:
        await memory.core.read(actor, lambda tx: access.vaults(tx, spec.vaults, "read"))
    except UnknownName as error:
        error.param = "vaults"
        raise


def question_of(task: Task) -> str:
    """What to look for: the problem, the question, or the last thing that the user said."""
    match task:
        case MathTask():
            question = task.problem
        case QATask():
            question = task.question
        case CodeTask():
            question = task.task
        case _:
            said = [message.text for message in task.messages() if message.role == "user"]
            question = said[-1] if said else ""
    return question[:MAX_QUESTION].strip()
