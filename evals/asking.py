"""One slot: its run, through the same door as every other run, and what is written down of it.

The run is executed in this process and read from its log. A gold answer is not in the request, and the grader sees only the
output. What broke for a reason outside the agent gives no record. Source: evaluation sheet §3.7, §3.9; contract §6.6.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import anyio

from agents.base import Answer
from agents.service import Service
from evals.base import Grader, Suite
from evals.guards import label
from evals.plan import Plan, Slot
from evals.records import Record, Usage
from evals.stores import Reading
from runtime.errors import MnemeError
from runtime.events import Event, LlmCall, MemoryRead, MemoryWritten, ToolResult
from runtime.run_types import RunRecord, RunSpec
from runtime.types import JsonObject

# Failures of what stands around the agent: the slot is asked again when the evaluation is resumed.
PASSING: Final = frozenset(
    {"model_unavailable", "model_overloaded", "storage_error", "interrupted", "cancelled", "run_lost"}
)
READ: Final = ("llm.call", "memory.read", "memory.written", "tool.result")
# The steps of a later depth; its depth is the last part of the name.
LATER: Final = re.compile(r"(?:solve|reselect)\.\d+\.(?P<depth>\d+)")
MAX_EVENTS: Final = 1_000_000
CANCEL_S: Final = 10.0
STOPPED: Final = "the evaluation was interrupted"


class NotAsked(MnemeError):
    """A run broke for a reason outside the agent."""

    code = "not_asked"


@dataclass(frozen=True, slots=True)
class Desk:
    """What every slot of an evaluation is asked with. `digests`: the SHA-256 of each data set."""

    service: Service
    owner: str
    plan: Plan
    suite: Suite
    grader: Grader
    digests: dict[str, str]

    async def ask(self, slot: Slot, reading: Reading, config: JsonObject) -> Record:
        """Run and grade. Raises `NotAsked`, `InvalidInput` for a request that the agent does not take."""
        spec = self._spec(slot, reading, config)
        live = await self.service.foreground(spec, owner=self.owner)
        try:
            async for _ in live.items():
                pass
        finally:
            if live.end is None:
                with anyio.move_on_after(CANCEL_S, shield=True):
                    await self.service.cancel(live.run_id, owner=self.owner, reason=STOPPED)
                    async for _ in live.items():
                        pass
        run = await self.service.get(live.run_id, owner=self.owner)
        if run.status not in ("succeeded", "failed", "budget_exhausted"):
            raise NotAsked(f"item {slot.sample.id!r}: run {run.id} is {run.status}")
        if run.error is not None and run.error["code"] in PASSING:
            raise NotAsked(f"item {slot.sample.id!r}: run {run.id} failed: {run.error['message']}")
        events = await self.service.store.events(run.id, types=READ, limit=MAX_EVENTS)
        return await self._graded(slot, reading, run, events)

    def _spec(self, slot: Slot, reading: Reading, config: JsonObject) -> RunSpec:
        plan = self.plan
        return RunSpec(
            agent=plan.agent,
            input=slot.sample.task,
            model=plan.model,
            vaults=reading.vaults,
            memory=reading.memory,
            budget=plan.budget,
            config=config,
            seed=slot.run_seed,
            sampling=plan.sampling,
            # Holding memories back by chance measures them; here it would only blur what is compared.
            explore=0.0,
            suite=label(plan.suite, slot.sample.split),
        )

    async def _graded(self, slot: Slot, reading: Reading, run: RunRecord, events: Sequence[Event]) -> Record:
        sample = slot.sample
        # A run may end on its budget before it has any answer.
        answer = Answer.from_json(run.output) if isinstance(run.output, dict) and "text" in run.output else Answer("")
        score = await self.suite.score(sample, answer, self.grader)
        stop = {"failed": "failed", "budget_exhausted": "budget_exhausted"}.get(run.status, answer.finish_reason)
        read, written = memories(events, reading)
        error = None if run.error is None else f"{run.error['code']}: {run.error['message']}"
        return Record(
            suite=self.plan.suite,
            data_sha256=self.digests[sample.set],
            set=sample.set,
            item_id=sample.id,
            agent=run.agent,
            model=run.model,
            seed=slot.seed,
            order=slot.order,
            attempt=slot.attempt,
            place=slot.place,
            run_id=run.id,
            run_seed=slot.run_seed,
            answer=score.answer,
            how=score.how,
            correct=score.correct,
            score=score.value,
            fallback=score.fallback,
            stop_reason=stop,
            ms=milliseconds(run),
            usage=usage_of(run, events),
            finished_at=None if run.finished_at is None else run.finished_at.isoformat(),
            memory_ids=read,
            written_ids=written,
            output=answer.text,
            detail=score.detail,
            error=error,
            chance=sample.chance,
            meta=dict(sample.meta),
            parts=score.parts,
        )


def usage_of(run: RunRecord, events: Sequence[Event]) -> Usage:
    """What a run cost, from its record and its calls; calls that failed count as well."""
    calls = [event.payload for event in events if isinstance(event.payload, LlmCall)]
    results = [event.payload for event in events if isinstance(event.payload, ToolResult)]
    total = run.total_usage
    return Usage(
        calls=sum(part.calls for part in run.usage.values()),
        prompt_tokens=total.prompt_tokens,
        cached_tokens=total.cached_tokens,
        completion_tokens=total.completion_tokens,
        reasoning_tokens=total.reasoning_tokens,
        retries=sum(call.attempts - 1 for call in calls),
        peak_tokens=max((call.usage.prompt_tokens + call.usage.completion_tokens for call in calls), default=0),
        model_ms=round(sum(part.ms for part in run.usage.values()), 3),
        memory_reads=sum(isinstance(e.payload, MemoryRead) and e.payload.shown == "shown" for e in events),
        memory_writes=sum(isinstance(event.payload, MemoryWritten) for event in events),
        programs=sum(result.cpu_seconds is not None for result in results),
        sandbox_seconds=round(sum(result.cpu_seconds or 0.0 for result in results), 4),
        estimated=any(call.estimated for call in calls),
        by_depth=by_depth(events),
    )


def by_depth(events: Sequence[Event]) -> tuple[tuple[int, int], ...]:
    """Calls and tokens up to each depth; see `Usage`. The name of a step says to which depth its calls belong: a second try
    is made in `solve.<sample>.<depth>`, and what it is told is selected in `reselect.<sample>.<depth>`."""
    spent: dict[int, list[int]] = {}
    for event in events:
        call = event.payload
        if isinstance(call, LlmCall):
            found = LATER.fullmatch(event.step or "")
            depth = int(found["depth"]) if found else 0
            here = spent.setdefault(depth, [0, 0])
            here[0] += 1
            here[1] += call.usage.prompt_tokens + call.usage.completion_tokens
    if not any(spent):
        return ()
    each = [spent.get(depth, (0, 0)) for depth in range(max(spent) + 1)]
    calls, tokens = ([number[n] for number in each] for n in range(2))
    return tuple(zip(itertools.accumulate(calls), itertools.accumulate(tokens), strict=True))


def memories(events: Sequence[Event], reading: Reading) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The memories that were shown, and those that were written, each once; copies by the id of the original."""
    read = [e.payload.id for e in events if isinstance(e.payload, MemoryRead) and e.payload.shown == "shown"]
    written = [event.payload.id for event in events if isinstance(event.payload, MemoryWritten)]

    def known(ids: list[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(reading.originals.get(id_, id_) for id_ in ids))

    return known(read), known(written)


def milliseconds(run: RunRecord) -> float:
    """From its beginning to its end, by the clock of the service."""
    if run.started_at is None or run.finished_at is None:
        return 0.0
    return round((run.finished_at - run.started_at).total_seconds() * 1000, 3)
