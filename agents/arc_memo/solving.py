"""One sample: a program is written, run, and written again while it fails, each time with what came of it.

The model's reply and the run of its program are two steps, `solve.<sample>.<depth>` and `run.<sample>.<depth>`, so a reply
that was paid for is not asked for again. A sample is a unit (`sample.<n>`): the share of train pairs that its last
program gets right is its outcome. Source: arcmemo §3.8, §5; design usefulness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import JsonValue

from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.programs import Attempt, NoProgram, failed, program_of, tried
from agents.arc_memo.prompting import RETRY, SOLVE, retrying, solving
from agents.arc_memo.reading import Reading, unit_of
from agents.base import Step
from agents.graphs import Work
from agents.sampling import sampling_of
from agents.tasks import ArcTask
from agents.thinking import visible
from runtime.errors import BudgetExhausted, MalformedReply, ModelRejected
from runtime.events import StepCompleted
from runtime.sandbox.base import Limits
from runtime.types import JsonObject


@dataclass(slots=True)
class Thread:
    """A sample and its retries so far. `cut`: the budget that ended it before its time."""

    sample: int
    attempts: list[Attempt] = field(default_factory=list)
    cut: BudgetExhausted | None = None


async def thread(work: Work, config: ArcMemoConfig, sample: int, reading: Reading) -> Thread:
    """Draw a sample, now or before; a thread stops at the first program that passes every train pair. Raises `ModelError`s
    and `SandboxUnavailable`; a budget that is used up is told in `cut`."""
    task = task_of(work)
    done = Thread(sample)
    replies: list[str] = []
    try:
        for depth in range(config.retries + 1):
            if depth and config.reselect_concepts:
                reading = await reading.again(work, config, sample, depth, done.attempts[-1])
            asking = _Asking(work, config, reading, sample, done.attempts, replies)
            said: Any = await work.ctx.step(f"solve.{sample}.{depth}", asking.ask)
            running = _Running(work, config, task, reading, sample, depth, said)
            made: Any = await work.ctx.step(f"run.{sample}.{depth}", running.run)
            replies.append(said["text"])
            attempt = Attempt.from_json(made)
            done.attempts.append(replace(attempt, helpers=reading.called_by(sample, attempt.source or "")))
            if done.attempts[-1].passes:
                break
    except BudgetExhausted as error:
        done.cut = error
    return done


@dataclass(frozen=True, slots=True)
class _Asking:
    """The model call of a step: the first one of a sample, or the retry behind these attempts and replies."""

    work: Work
    config: ArcMemoConfig
    reading: Reading
    sample: int
    attempts: Sequence[Attempt]
    replies: Sequence[str]

    async def ask(self, step: Step) -> JsonValue:
        work, config, depth = self.work, self.config, len(self.attempts)
        task, notes = task_of(work), self.reading.notes(self.sample)
        messages = retrying(task, notes, self.attempts, self.replies, config) if depth else solving(task, notes)
        seed = work.ctx.seed + self.sample + depth * config.samples
        sampling = sampling_of(work.ctx.spec, temperature=config.temperature, seed=seed)
        purpose, prompt = ("arcmemo.retry", RETRY) if depth else ("arcmemo.solve", SOLVE)
        try:
            reply = await step.ask(purpose, messages, sampling=sampling, show="reasoning", prompt=prompt)
        except (MalformedReply, ModelRejected) as error:
            if isinstance(error, ModelRejected) and not depth:
                raise
            # An empty reply is an attempt that failed, and so is a retry that has grown too long for the model.
            return {"text": "", "failed": error.message}
        return {"text": reply.text, "failed": None}


@dataclass(frozen=True, slots=True)
class _Running:
    """The run of a program in the sandbox, and what it says about the unit."""

    work: Work
    config: ArcMemoConfig
    task: ArcTask
    reading: Reading
    sample: int
    depth: int
    said: dict[str, Any]

    async def run(self, step: Step) -> JsonValue:
        source = program_of(visible(self.said["text"]))
        if isinstance(source, NoProgram):
            why = self.said["failed"] or source.why
            attempt = failed(self.sample, self.depth, why, self.task)
        else:
            attempt = await tried(
                self.work.ctx,
                step,
                self.task,
                source,
                Limits(seconds=self.config.seconds),
                sample=self.sample,
                depth=self.depth,
                helpers=self.reading.called_by(self.sample, source),
            )
        told: JsonObject = {
            "depth": self.depth,
            "train": [each.correct for each in attempt.train],
            "problem": attempt.problem,
            "level": attempt.level,
        }
        unit = unit_of(self.sample)
        if self.reading.units.measured:
            await self.reading.units.report(step, unit, attempt.share, "verifier", told)
        else:
            await step.emit(StepCompleted(name=unit, score=attempt.share, detail=told))
        return attempt.to_json()


def task_of(work: Work) -> ArcTask:
    """The puzzle of the run."""
    assert isinstance(work.task, ArcTask)
    return work.task
