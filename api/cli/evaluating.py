"""Executes evaluations in this process for `mneme eval run`: a bar, remarks; Ctrl-C stops them. Source: ours."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from typing import Any

import anyio
import anyio.to_thread

from agents.build import open_service
from api.cli.output import remark
from api.cli.progress import bar
from api.model_server import with_model_server
from evals import controls, report
from evals import log as logs
from evals.cost import Prices
from evals.hub import Hub
from evals.loading import Loader
from evals.log import Log
from evals.plan import Plan
from evals.runner import Bench
from runtime import migrate
from runtime.errors import MnemeError
from runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted: a new evaluation, or one to go on with; a store to build before, `batch` items at a time; controls
    behind."""

    plan: Plan | None
    resume: str | None
    build: tuple[str, ...]
    batch: int
    controls: bool
    jobs: int


@dataclass(slots=True)
class Ended:
    """How it ended: the report of the main evaluation as far as it got, and why it stopped."""

    told: dict[str, Any] | None = None
    error: MnemeError | None = None
    interrupted: bool = False
    log: Log | None = None


async def measure(settings: Settings, wish: Wish, prices: Prices) -> Ended:
    """Do what is wanted. What the evaluation itself raises is in the answer, beside the report of what there is."""
    await anyio.to_thread.run_sync(migrate.upgrade, settings)
    ended = Ended()
    async with with_model_server(settings) as ready, open_service(ready, take_queued=False, serving=False) as service:
        owner = (await service.keys.local()).user_id
        with bar("attempts") as progress:
            bench = Bench(service, owner, wish.jobs, remark, progress)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_stop_on_interrupt, tasks.cancel_scope, ended)
                try:
                    await _measure(bench, settings, wish, ended)
                except MnemeError as error:
                    ended.error = error
                tasks.cancel_scope.cancel()
    if ended.log is not None:
        ended.told = await anyio.to_thread.run_sync(report.finish, settings.home, ended.log, prices)
        if ended.interrupted:
            remark(f"interrupted; resume with: mneme eval run --resume {ended.log.id}")
    return ended


async def _measure(bench: Bench, settings: Settings, wish: Wish, ended: Ended) -> None:
    loader = Loader(Hub(logs.folder_of(settings.home) / "data"), remark, settings.evals.data)
    if wish.resume is not None:
        ended.log = logs.find(settings.home, wish.resume)
        await bench.resume(ended.log, loader)
    else:
        assert wish.plan is not None
        plan = wish.plan
        if wish.build:
            learning = replace(loader, split="experience")
            built = await controls.build(bench, plan, wish.build, learning, batch=wish.batch)
            plan = replace(plan, vault=built.vault)
        ended.log = await bench.open(plan, loader)
        await bench.resume(ended.log, loader)
    if wish.controls:
        await controls.run_controls(bench, ended.log, loader)


async def _stop_on_interrupt(scope: anyio.CancelScope, ended: Ended) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            ended.interrupted = True
            scope.cancel()
            return
