"""The one place where parts are wired: settings in, a running service out. Source: ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

import anyio

from agents.runner import Parts, Runner
from agents.service import Probe, Service
from agents.tooling.opening import Tooling
from agents.verifiers import open_verifiers
from memory.opening import open_memory
from memory.pipelines.asking import Asker
from memory.workers import Workers
from runtime.checkpoints import open_saver
from runtime.db import open_database
from runtime.durable import DurableRuns
from runtime.executors import Executors, identify
from runtime.hub import EventHub
from runtime.ids import SYSTEM, Clock
from runtime.keys import KeyStore
from runtime.llm.pool import LLMs
from runtime.runs import RunStore
from runtime.sandbox.pool import open_sandbox
from runtime.settings import Settings
from runtime.sweeper import Hands, Sweeper

SHUTDOWN_S = 10.0


@asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    clock: Clock = SYSTEM,
    model_server: Probe | None = None,
    take_queued: bool = True,
    serving: bool = True,
) -> AsyncIterator[Service]:
    """Open the database, take part in executing queued runs, and give out the service; closes all of it behind.

    With `take_queued` false only foreground runs are executed here (`mneme run`). `serving` is false only where somebody
    at the terminal asked for this one run: nothing else runs code at the sandbox level `reduced`. The database must be
    migrated (`mneme db upgrade`). Runs that are going when it closes are marked as interrupted and picked up by the next
    process. Raises `StorageError`.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        db = open_database(settings)
        stack.push_async_callback(db.aclose)
        store = RunStore(db, clock)
        executors = Executors(db, clock, identify(version("mneme")), dead_after_s=settings.runs.dead_after_s)
        await executors.register()
        stack.push_async_callback(executors.leave)
        llms = LLMs(settings, clock)
        stack.push_async_callback(llms.aclose)
        saver = await stack.enter_async_context(open_saver(settings))

        async def leads() -> bool:
            return min(await executors.alive()) == executors.id

        memory = await stack.enter_async_context(open_memory(settings, db, clock, leads=leads if take_queued else None))
        sandbox = await stack.enter_async_context(open_sandbox(settings, serving=serving))
        verifiers = await stack.enter_async_context(open_verifiers(sandbox))
        tooling = Tooling(settings)
        parts = Parts(settings, db, store, executors, EventHub(), llms, saver, verifiers, memory, sandbox, tooling)
        runner = Runner(parts)
        durable = DurableRuns(settings, executors.id, runner.execute)
        workers = Workers(memory.core, durable, executors.alive, memory.handlers(Asker(llms, settings.llm)))
        await durable.start(take_queued=take_queued)
        stack.push_async_callback(durable.stop)
        sweeper = Sweeper(
            store,
            executors,
            durable,
            Hands(runner.active, runner.stop),
            heartbeat_s=settings.runs.heartbeat_s,
            adopts=take_queued,
        )
        # What the caller's block raises is kept until the groups are closed, so that it arrives as itself and not
        # wrapped into an exception group.
        failure: Exception | None = None
        async with anyio.create_task_group() as background, anyio.create_task_group() as runs:
            await background.start(tooling.servers.run)
            background.start_soon(sweeper.run)
            if take_queued:
                background.start_soon(workers.run)
            try:
                yield Service(parts, runner, durable, KeyStore(db, clock), runs, model_server)
            except Exception as error:  # noqa: BLE001 - raised again below
                failure = error
            finally:
                runner.interrupt_all()
                await runner.drain(SHUTDOWN_S)
                await workers.stop(SHUTDOWN_S)
                background.cancel_scope.cancel()
        if failure is not None:
            raise failure
