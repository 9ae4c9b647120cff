"""DBOS in one place: a queued run is a workflow, and so is every run that is picked up after its process died.

DBOS knows only `run_agent(run_id)`, and one such function for each further lane (jobs of the memory store); what the work
has done so far stands in our own tables, so executing a workflow again goes on behind the last finished step. DBOS's
open part recovers by itself only what an executor id and application version of its own left behind; for the work of a
process that died, `recover` is called by a survivor (runtime/sweeper.py). The application version is a constant: a
release that cannot continue an old run says so run by run (agents/runner.py) and must not leave it lying in the queue
of a version that no process serves.
Source: ours, over DBOS 3.4.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import anyio.to_thread
from dbos import DBOS, DBOSConfig, SetWorkflowID, WorkflowStatus

from runtime.errors import StorageError, boundary
from runtime.settings import Settings

APPLICATION_VERSION: Final = "1"
QUEUE: Final = "runs"
POLL_S: Final = 0.2

Execute = Callable[[str], Awaitable[None]]


class Lane:
    """A queue of its own beside the runs, with its own limit; made by `DurableRuns.lane` before the start.

    The parts of a workflow's name are joined by dots: the id of the work, the number of the attempt, maybe a mark.
    """

    def __init__(self, name: str, execute: Execute, concurrency: int) -> None:
        self.name = name
        self.concurrency = concurrency
        self._execute = execute
        self._workflow: Callable[[str], Coroutine[Any, Any, None]] | None = None

    def register(self) -> None:
        """Make the workflow known to DBOS, which must have been made and not launched."""
        execute = self._execute

        @DBOS.workflow(name=f"run_{self.name}", max_recovery_attempts=None)
        async def run_lane(work_id: str) -> None:
            await execute(work_id)

        self._workflow = run_lane

    async def enqueue(self, work_id: str, attempt: int, mark: str = "") -> None:
        """Put the work into the queue; doing it twice with the same attempt and mark is the same as once."""
        assert self._workflow is not None, "the lane belongs to a DurableRuns that was not started"
        name = f"{work_id}.{attempt}.{mark}" if mark else f"{work_id}.{attempt}"
        with boundary(f"workflow of {work_id!r}", StorageError), SetWorkflowID(name):
            await DBOS.enqueue_workflow_async(self.name, self._workflow, work_id)

    async def waiting(self, work_id: str) -> bool:
        """True when a workflow of this work is queued or being executed somewhere."""
        return bool(await self._open(workflow_id_prefix=f"{work_id}."))

    async def holders(self) -> dict[str, frozenset[str]]:
        """The work that has been taken from this queue and is not finished, by the id of the executor that took it."""
        held: dict[str, set[str]] = {}
        for status in await self._open(queue_name=self.name, taken=True):
            if status.executor_id:
                held.setdefault(status.executor_id, set()).add(status.workflow_id.partition(".")[0])
        return {executor: frozenset(ids) for executor, ids in held.items()}

    async def _open(
        self, *, workflow_id_prefix: str | None = None, queue_name: str | None = None, taken: bool = False
    ) -> list[WorkflowStatus]:
        with boundary(f"workflows of the lane {self.name!r}", StorageError):
            return await DBOS.list_workflows_async(
                workflow_id_prefix=workflow_id_prefix,
                queue_name=queue_name,
                status=["PENDING"] if taken else ["PENDING", "ENQUEUED", "DELAYED"],
                load_input=False,
                load_output=False,
            )


class DurableRuns:
    """Queues runs and hands them to `execute`. One per process, because DBOS is; belongs to one event loop."""

    def __init__(self, settings: Settings, executor_id: str, execute: Execute) -> None:
        self._settings = settings
        self._executor_id = executor_id
        self._execute = execute
        self._lanes: dict[str, Lane] = {}

    def lane(self, name: str, execute: Execute, *, concurrency: int) -> Lane:
        """Add a queue for other work; before `start`."""
        self._lanes[name] = Lane(name, execute, concurrency)
        return self._lanes[name]

    async def start(self, *, take_queued: bool = True) -> None:
        """Open the workflow database and begin to take queued runs, if this process is to. Raises `StorageError`."""
        execute = self._execute
        with boundary("workflow database", StorageError):
            _use_wal(self._settings)
            DBOS(
                config=DBOSConfig(
                    name="mneme",
                    system_database_url=system_database_url(self._settings),
                    application_version=APPLICATION_VERSION,
                    executor_id=self._executor_id,
                    log_level="ERROR",
                    enable_otlp=False,
                    use_listen_notify=False,
                    max_executor_threads=16,
                )
            )

            @DBOS.workflow(name="run_agent", max_recovery_attempts=None)
            async def run_agent(run_id: str) -> None:
                await execute(run_id)

            self._workflow = run_agent
            for lane in self._lanes.values():
                lane.register()
            if not take_queued:
                DBOS.listen_queues([])
            # Launched on the loop's own thread, so that queued workflows run on this loop and not on one of DBOS's.
            DBOS.launch()
            await DBOS.register_queue_async(
                QUEUE,
                worker_concurrency=self._settings.runs.concurrency,
                polling_interval_sec=POLL_S,
                on_conflict="always_update",
            )
            for lane in self._lanes.values():
                await DBOS.register_queue_async(
                    lane.name,
                    worker_concurrency=lane.concurrency,
                    polling_interval_sec=POLL_S,
                    on_conflict="always_update",
                )

    async def stop(self) -> None:
        """Stop taking runs. Runs that are still going stay open and are picked up by the next process."""
        await anyio.to_thread.run_sync(lambda: DBOS.destroy(destroy_registry=True))

    async def enqueue(self, run_id: str, attempt: int, mark: str = "") -> None:
        """Put the run into the queue that every process takes from; twice with the same attempt and mark is once.

        A workflow that ended without a claim (the database refused it) is never executed again; a mark makes another.
        """
        name = f"{run_id}.{attempt}.{mark}" if mark else f"{run_id}.{attempt}"
        with boundary(f"workflow of run {run_id!r}", StorageError), SetWorkflowID(name):
            await DBOS.enqueue_workflow_async(QUEUE, self._workflow, run_id)

    async def holders(self) -> set[str]:
        """The executors that have taken runs from the queue and not finished them."""
        with boundary("workflows of runs", StorageError):
            taken = await DBOS.list_workflows_async(
                queue_name=QUEUE, status=["PENDING"], load_input=False, load_output=False
            )
        return {status.executor_id for status in taken if status.executor_id}

    async def recover(self, executor_ids: Sequence[str]) -> None:
        """Put what dead executors were working on back into the queue. Safe to call twice and from two survivors."""
        with boundary("recovery of runs", StorageError):
            await anyio.to_thread.run_sync(DBOS._recover_pending_workflows, list(executor_ids))

    async def waiting(self, run_id: str) -> bool:
        """True when a workflow of this run is queued or being executed somewhere."""
        with boundary(f"workflow of run {run_id!r}", StorageError):
            rows = await DBOS.list_workflows_async(
                workflow_id_prefix=f"{run_id}.",
                status=["PENDING", "ENQUEUED", "DELAYED"],
                load_input=False,
                load_output=False,
            )
        return bool(rows)


def system_database_url(settings: Settings) -> str:
    """Beside our own tables: a second file of SQLite, or the schema `dbos` of the same PostgreSQL database."""
    url = settings.database_url
    return f"sqlite:///{settings.database_folder / 'workflows.db'}" if url.startswith("sqlite") else url


def _use_wal(settings: Settings) -> None:
    # DBOS opens SQLite with a rollback journal: two syncs a commit, and readers wait for writers. WAL is a property of
    # the file, so setting it once is enough.
    if settings.database_url.startswith("sqlite"):
        settings.database_folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            settings.database_folder / "workflows.db", timeout=settings.database.busy_timeout_s
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
