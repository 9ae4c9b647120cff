"""The one door to runs, for HTTP, command line and evaluations alike: submit, follow, cancel, resume, fork.

A run that somebody waits for is executed here and at once; any other goes through the queue, from which every process
of the same database takes. Either way the log is the truth, and whoever reads it sees the same. Source: ours.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

import anyio
from anyio.abc import TaskGroup
from pydantic import BaseModel, ValidationError

from agents import registry
from agents.base import Agent, AgentSpec, ChecksModel
from agents.live import LiveRun
from agents.remembering import check_vaults
from agents.replaying import Rebuilt, rebuild
from agents.runner import Parts, Runner
from agents.tasks import parse_input
from memory.measuring.experiment import MAX_HELD_OUT
from memory.service import Memory
from runtime.budget import Budget
from runtime.db import Database
from runtime.durable import DurableRuns
from runtime.errors import InvalidInput, MnemeError
from runtime.events import TERMINAL_TYPES, Event
from runtime.hub import EventHub
from runtime.keys import KeyStore
from runtime.runs import TERMINAL, RunRecord, RunSpec, RunStore
from runtime.settings import Settings

FOLLOW_POLL_S = 0.5
PAGE = 500


@dataclass(frozen=True, slots=True)
class Check:
    """One line of readiness: what was looked at, whether it is well, what was seen, what to do."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


Probe = Callable[[], Check]


class Service:
    """Everything the ways in need. Built by `agents.build.open_service`."""

    def __init__(
        self,
        parts: Parts,
        runner: Runner,
        durable: DurableRuns,
        keys: KeyStore,
        tasks: TaskGroup,
        model_server: Probe | None = None,
    ) -> None:
        self._parts = parts
        self._runner = runner
        self._durable = durable
        self._tasks = tasks
        self._model_server = model_server
        self.keys = keys

    @property
    def settings(self) -> Settings:
        return self._parts.settings

    @property
    def db(self) -> Database:
        return self._parts.db

    @property
    def memory(self) -> Memory:
        return self._parts.memory

    @property
    def store(self) -> RunStore:
        return self._parts.store

    @property
    def hub(self) -> EventHub:
        return self._parts.hub

    @property
    def executor_id(self) -> str:
        return self._parts.executors.id

    def agents(self) -> Sequence[AgentSpec]:
        """Every agent there is, by name."""
        return [registry.get(name).spec for name in registry.names()]

    async def models(self) -> Sequence[str]:
        """The models of the configured server. Raises `ModelUnavailable`."""
        return await self._parts.llms.models()

    async def check_offered(self, model: str) -> None:
        """Raise `UnknownName` when the model server can be asked and does not offer `model`."""
        await self._parts.llms.check(model)

    async def submit(self, spec: RunSpec, *, owner: str) -> RunRecord:
        """Accept a run: it is in the database before this returns, and is executed by whichever process takes it.

        Raises `InvalidInput` naming the field; nothing is kept then.
        """
        spec, agent, model = await self._checked(spec, owner)
        record = await self.store.create(spec, owner=owner, agent_version=agent.spec.version, model=model)
        await self._durable.enqueue(record.id, record.attempt + 1)
        return record

    async def foreground(self, spec: RunSpec, *, owner: str) -> LiveRun:
        """Execute a run here and now; the caller reads `LiveRun.items()`. Raises `InvalidInput`, `StorageError`.

        The first execution is a task of this process. Should the process die, the run is queued like any other.
        """
        spec, agent, model = await self._checked(spec, owner)
        started = self._runner.started(agent.spec.name, model, spec.seed)
        # Cancelled in between, the run would be in the database and in nobody's hand.
        with anyio.CancelScope(shield=True):
            claim = await self.store.create_started(
                spec,
                owner=owner,
                agent_version=agent.spec.version,
                model=model,
                executor=self.executor_id,
                started=started,
            )
            live = LiveRun(claim.record.id, model)
            self._tasks.start_soon(self._runner.execute_claimed, claim, live)
        return live

    async def get(self, run_id: str, *, owner: str | None) -> RunRecord:
        """One run. Raises `UnknownName`, also for a run of somebody else."""
        return await self.store.get(run_id, owner=owner)

    async def cancel(self, run_id: str, *, owner: str | None, reason: str = "cancelled by request") -> RunRecord:
        """Ask the run to stop, wherever it is executed; a run that has ended stays as it is."""
        await self.store.get(run_id, owner=owner)
        record = await self.store.request_cancel(run_id, reason)
        self._runner.stop(run_id, reason)
        self.hub.notify(run_id)
        return record

    async def resume(self, run_id: str, *, owner: str | None, budget: Budget | None = None) -> RunRecord:
        """Queue an ended or interrupted run again, behind its last finished step. Raises `Conflict`."""
        await self.store.get(run_id, owner=owner)
        record = await self.store.requeue(run_id, budget=budget)
        await self._durable.enqueue(record.id, record.attempt + 1)
        return record

    async def fork(self, run_id: str, from_event: int, *, owner: str) -> RunRecord:
        """Queue a new run that shares the log of `run_id` up to and with the event `from_event`."""
        await self.store.get(run_id, owner=owner)
        record = await self.store.fork(run_id, from_event, owner=owner)
        await self._durable.enqueue(record.id, record.attempt + 1)
        return record

    async def prompts(self, run_id: str, *, owner: str | None, step: str | None = None) -> Rebuilt:
        """What the model was sent in a run, or in one step of it; see agents/replaying.py."""
        return await rebuild(self._parts, await self.store.get(run_id, owner=owner), step=step)

    async def wait(self, run_id: str, *, owner: str | None, timeout_s: float) -> RunRecord:
        """Return the run when it has ended, or as it is after `timeout_s` seconds."""
        with anyio.move_on_after(timeout_s), self.hub.listen(run_id) as news:
            while True:
                news.clear()
                record = await self.store.get(run_id, owner=owner)
                if record.status in TERMINAL:
                    return record
                await _news_or_poll(news)
        return await self.store.get(run_id, owner=owner)

    async def follow(self, run_id: str, *, after: int = 0) -> AsyncIterator[Event]:
        """Yield the events behind `after`, the old ones first, then live ones, until the run has ended."""
        with self.hub.listen(run_id) as news:
            while True:
                news.clear()
                events = await self.store.events(run_id, after=after, limit=PAGE)
                for event in events:
                    after = event.seq
                    yield event
                if len(events) == PAGE:
                    continue
                # A run that was resumed has an end in the middle of its log, so the record decides.
                if (not events or events[-1].type in TERMINAL_TYPES) and await self._ended(run_id):
                    return
                await _news_or_poll(news)

    async def ready(self) -> list[Check]:
        """Look at everything a run needs."""
        checks = [await self._check_database(), await self._check_model()]
        return checks if self._model_server is None else [*checks, self._model_server()]

    async def _ended(self, run_id: str) -> bool:
        record = await self.store.get(run_id, owner=None)
        return record.status in TERMINAL

    async def _check_database(self) -> Check:
        try:
            await self._parts.executors.alive()
        except MnemeError as error:
            return Check("database", False, error.message, "see `mneme doctor`")
        return Check("database", True, self.settings.database_url.split("@")[-1])

    async def _check_model(self) -> Check:
        try:
            names = await self.models()
        except MnemeError as error:
            return Check("model", False, error.message, "start the model server, or set MNEME_LLM__BASE_URL")
        return Check("model", True, ", ".join(names))

    async def _checked(self, spec: RunSpec, owner: str) -> tuple[RunSpec, Agent, str]:
        """Refuse what cannot run, and fill in what was left open: model and seed."""
        agent = registry.get(spec.agent)
        task = parse_input(spec.input)
        if task.kind not in agent.spec.kinds:
            raise InvalidInput(
                f"agent {spec.agent!r} does not take tasks of kind {task.kind!r}; expected one of "
                f"{', '.join(sorted(agent.spec.kinds))}",
                param="input.kind",
            )
        config = _checked_config(agent.spec, spec)
        self._runner.check_tools(spec)
        spec.budget.check()
        if spec.explore is not None and not 0 <= spec.explore <= MAX_HELD_OUT:
            raise InvalidInput(f"explore {spec.explore!r}: expected 0 to {MAX_HELD_OUT}", param="explore")
        await check_vaults(self.memory, spec, owner=owner)
        if spec.model is not None:
            await self.check_offered(spec.model)
        llm = await self._parts.llms.get(spec.model)
        if isinstance(agent, ChecksModel):
            agent.check_model(config, llm)
        return (spec if spec.seed >= 0 else replace(spec, seed=secrets.randbits(31))), agent, llm.ref


def _checked_config(agent: AgentSpec, spec: RunSpec) -> BaseModel:
    try:
        return agent.config.model_validate(spec.config)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(agent.config.model_fields) or "none"
        raise InvalidInput(
            f"config {key!r} of agent {agent.name!r}: {first['msg']}; known keys: {known}",
            param=f"config.{key}",
        ) from error


async def _news_or_poll(news: asyncio.Event) -> None:
    # The hub wakes us for runs of this process; the poll finds those of others.
    with anyio.move_on_after(FOLLOW_POLL_S):
        await news.wait()
