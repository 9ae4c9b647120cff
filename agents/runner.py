"""Executes a run: claims it, lets its agent work, writes how it ended.

The same function serves the first execution and every later one; what was finished before is not done again (see
`Context.step`). However an execution ends, the run is in one of four states behind it: ended (one terminal event),
queued to go on, interrupted by a shutdown, or taken over by another process, about which nothing is written here.
Source: ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from langgraph.checkpoint.base import BaseCheckpointSaver

from agents import registry
from agents.base import Agent, Context
from agents.learning import Learning
from agents.live import End, LiveRun
from agents.remembering import Remembering
from agents.tasks import parse_input
from agents.tooling.opening import Tooling
from agents.verifiers.base import Verifiers
from memory.service import Memory
from runtime.db import Database
from runtime.errors import (
    BudgetExhausted,
    MnemeError,
    ModelOverloaded,
    ModelRejected,
    ModelUnavailable,
    RunCancelled,
    RunLost,
    StorageError,
    UnknownName,
    boundary,
)
from runtime.events import RunCancelledEvent, RunFailed, RunFinished, RunStarted
from runtime.executors import Executors
from runtime.hub import EventHub
from runtime.llm.metering import Meter
from runtime.llm.pool import LLMs
from runtime.recorder import Recorder
from runtime.retry import RetryPolicy
from runtime.runs import Claim, RunRecord, RunSpec, RunStore
from runtime.sandbox.base import Sandbox
from runtime.settings import Settings
from runtime.telemetry import get_logger, metrics, span_run

log = get_logger(__name__)

MODEL_POLL_S = 0.5
INTERRUPTED = RunFailed(code="interrupted", message="the service is shutting down; the run goes on when it is back")


@dataclass(frozen=True, slots=True)
class Parts:
    """What every execution needs; wired once in agents/build.py."""

    settings: Settings
    db: Database
    store: RunStore
    executors: Executors
    hub: EventHub
    llms: LLMs
    saver: BaseCheckpointSaver[str]
    verifiers: Verifiers
    memory: Memory
    sandbox: Sandbox | None = None
    tooling: Tooling | None = None


class Runner:
    """Executes runs in this process and knows which ones it has in hand."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._tooling = parts.tooling or Tooling(parts.settings)
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._reasons: dict[str, str] = {}
        self._freed = anyio.Event()
        self.stopping = False

    def active(self) -> frozenset[str]:
        """The runs being executed here."""
        return frozenset(self._scopes)

    def stop(self, run_id: str, reason: str) -> None:
        """Cancel the execution here, and with it the model call; the run ends as cancelled."""
        scope = self._scopes.get(run_id)
        if scope is not None:
            self._reasons[run_id] = reason
            scope.cancel()

    def interrupt_all(self) -> None:
        """Break off every execution because the process ends; the runs are picked up by the next one."""
        self.stopping = True
        for scope in self._scopes.values():
            scope.cancel()

    async def drain(self, timeout_s: float) -> None:
        """Wait until nothing is in hand any more, at most `timeout_s` seconds."""
        with anyio.move_on_after(timeout_s, shield=True):
            while self._scopes:
                await self._freed.wait()
                self._freed = anyio.Event()

    def started(self, record_agent: str, model: str, seed: int) -> RunStarted:
        """The payload that opens the log of an execution by this process."""
        agent = registry.get(record_agent)
        return RunStarted(
            agent=agent.spec.name,
            agent_version=agent.spec.version,
            model=model,
            executor=self._parts.executors.id,
            seed=seed,
            prompts={name: prompt.sha256 for name, prompt in sorted(agent.spec.prompts.items())},
        )

    def check_tools(self, spec: RunSpec) -> None:
        """Refuse a run whose option `tools` names what there is not. Raises `InvalidInput`."""
        names = spec.config.get("tools")
        if isinstance(names, list):
            self._tooling.check([str(name) for name in names])

    async def execute(self, run_id: str) -> None:
        """Claim a queued or orphaned run and execute it; does nothing when it has ended or is in somebody's hand.

        A database that refuses the claim is logged; the sweeper queues the run again.
        """
        try:
            claim = await self._claim(run_id)
        except StorageError as error:
            log.warning("run.not_claimed", run_id=run_id, error=error.message)
            return
        if claim is not None:
            await self.execute_claimed(claim)

    async def _claim(self, run_id: str) -> Claim | None:
        record = await self._parts.store.get(run_id, owner=None)
        if run_id in self._scopes or self.stopping:
            return None
        elsewhere = record.status == "running" and record.executor != self._parts.executors.id
        if elsewhere and record.executor in await self._parts.executors.alive():
            return None
        await self._wait_for_model(record)
        if self.stopping:
            return None
        try:
            started = self.started(record.agent, record.model, record.spec.seed)
        except UnknownName:
            # A run of another release: end it with a clear text instead of leaving it in the queue for ever.
            started = RunStarted(
                agent=record.agent,
                agent_version=record.agent_version,
                model=record.model,
                executor=self._parts.executors.id,
                seed=record.spec.seed,
            )
        claim = await self._parts.store.start(
            run_id, executor=self._parts.executors.id, started=started, expect_epoch=record.epoch
        )
        self._parts.hub.notify(run_id)
        return claim

    async def _wait_for_model(self, record: RunRecord) -> None:
        """Nobody waits for a queued run, so it may wait for a model server that is coming up, as after a restart.

        It is not claimed meanwhile: a cancel ends it at once. When the time is up it runs, and its log says what failed.
        """
        with anyio.move_on_after(self._parts.settings.runs.model_wait_s):
            while not self.stopping:
                try:
                    await (await self._parts.llms.get(record.spec.model)).models()
                except ModelUnavailable:
                    await anyio.sleep(MODEL_POLL_S)
                except MnemeError:
                    return  # not a matter of waiting: the execution meets it again and writes it down
                else:
                    return

    async def execute_claimed(self, claim: Claim, live: LiveRun | None = None) -> None:
        """Execute a run that this process has claimed. Raises nothing: whatever happens is written or logged."""
        record = claim.record
        recorder = Recorder(
            self._parts.store,
            claim,
            flush_s=self._parts.settings.runs.flush_ms / 1000,
            on_commit=lambda _: self._parts.hub.notify(record.id),
            listener=live.hear if live else None,
        )
        end: End | None = None
        with span_run(record.agent, record.id), anyio.CancelScope() as scope:
            self._scopes[record.id] = scope
            async with anyio.create_task_group() as flushing:
                flushing.start_soon(recorder.keep_flushing, scope)
                end = await self._work(claim, recorder)
                flushing.cancel_scope.cancel()
        reason = self._reasons.pop(record.id, None)
        if end is None:
            end = self._end_of_cancelled(recorder, reason)
        try:
            with anyio.CancelScope(shield=True):
                if end is None:
                    await self._parts.store.interrupt(record.id, claim.epoch)
                else:
                    await recorder.finish(end)
                    metrics.runs.labels(record.agent, _status(end)).inc()
        except RunLost:
            log.info("run.lost", run_id=record.id, executor=self._parts.executors.id)
        except RunCancelled as error:
            await self._finish_cancelled(recorder, record, error)
        except StorageError as error:
            # The log cannot say it, so the listener and the process log must; the sweeper tries again later.
            log.error("run.end_not_written", run_id=record.id, error=error.message)
            end = RunFailed(code=error.code, message=error.message)
        finally:
            self._scopes.pop(record.id, None)
            self._freed.set()
            self._parts.hub.notify(record.id)
            if live is not None:
                live.close(end or INTERRUPTED)

    async def _finish_cancelled(self, recorder: Recorder, record: RunRecord, error: RunCancelled) -> None:
        try:
            await recorder.finish(RunCancelledEvent(reason=error.message))
        except (RunLost, StorageError) as failure:
            log.error("run.end_not_written", run_id=record.id, error=failure.message)

    def _end_of_cancelled(self, recorder: Recorder, reason: str | None) -> End | None:
        """How a cancelled execution ends; None when only the process does."""
        if isinstance(recorder.failure, RunCancelled):
            return RunCancelledEvent(reason=recorder.failure.message)
        if recorder.failure is not None:
            return RunFailed(code=recorder.failure.code, message=recorder.failure.message)
        if reason is not None:
            return RunCancelledEvent(reason=reason)
        return None

    async def _work(self, claim: Claim, recorder: Recorder) -> End:
        record = claim.record
        ctx: Context | None = None
        try:
            with boundary(f"agent {record.agent!r}"):
                agent = self._agent_of(record)
                if record.attempt > self._parts.settings.runs.max_recoveries:
                    raise MnemeError(f"run {record.id!r} was picked up {record.attempt} times without finishing")
                remembering = Remembering(self._parts.memory, record.spec, owner=record.owner)
                ctx = Context(
                    run_id=record.id,
                    spec=record.spec,
                    config=agent.spec.config.model_validate(record.spec.config),
                    llm=await self._parts.llms.get(record.spec.model),
                    meter=Meter(record.spec.budget, claim.spent),
                    retry=RetryPolicy.of(self._parts.settings.llm),
                    recorder=recorder,
                    saver=self._parts.saver,
                    verifiers=self._parts.verifiers,
                    done=claim.steps,
                    remembering=remembering,
                    learning=Learning(self._parts.memory, record.spec, run_id=record.id, owner=record.owner),
                    sandbox=self._parts.sandbox,
                    tooling=self._tooling.of_run(
                        sandbox=self._parts.sandbox, remembering=remembering, owner=record.owner
                    ),
                    owner=record.owner,
                )
                answer = await agent.run(parse_input(record.spec.input), ctx)
                await ctx.settle()
                return RunFinished(status="succeeded", output=answer.to_json())
        except BudgetExhausted as error:
            best = ctx.best.to_json() if ctx is not None and ctx.best is not None else None
            return RunFinished(status="budget_exhausted", output=best, reason=error.message)
        except RunCancelled as error:
            return RunCancelledEvent(reason=error.message)
        except MnemeError as error:
            level = log.warning if error.code != "internal_error" else log.error
            level("run.failed", run_id=record.id, agent=record.agent, code=error.code, exc_info=error.__cause__)
            status = error.status if isinstance(error, ModelRejected | ModelOverloaded) else None
            return RunFailed(code=error.code, message=error.message, status=status)

    def _agent_of(self, record: RunRecord) -> Agent:
        agent = registry.get(record.agent)
        if agent.spec.version != record.agent_version:
            raise MnemeError(
                f"run {record.id!r} was begun by version {record.agent_version} of agent {record.agent!r}, which "
                f"version {agent.spec.version} cannot continue; start it again as a new run"
            )
        return agent


def _status(end: End) -> str:
    match end:
        case RunFinished():
            return end.status
        case RunFailed():
            return "failed"
        case RunCancelledEvent():
            return "cancelled"
