"""Our own model server: started when nobody has, shared when somebody has, watched, restarted, stopped with us.

    start() ─▶ installing ─▶ converting ─▶ starting ─▶ ready ─▶ (died) restarting ─▶ ready …
                     └───────────┴────────────┴─▶ failed            stop() ─▶ stopped

Processes with the same settings share one server: whoever comes first owns it, the others attach to its record
(`running.py`) and start their own when it goes. The owner's server ends with the owner, however that ends
(`supervise.py`). What vLLM needs to start is known by `launch.py`. Source: ours.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, Self

import anyio
import httpx

from gpu import launch as launching
from gpu.attachment import Attached, attach, end
from gpu.launch import Launch
from gpu.prepare import prepare
from gpu.progress import Progress
from gpu.running import RunFolder
from gpu.server_state import Phase, ServerState, Timing
from runtime.errors import EngineError, MnemeError, boundary
from runtime.settings import Settings


class _Died(Exception):
    """The server went away, or never came up, for this reason."""


class ModelServer:
    """One model server for this process. `command` stands in for vLLM: nothing is installed or converted then."""

    def __init__(
        self,
        settings: Settings,
        *,
        on_state: Callable[[ServerState], None] | None = None,
        command: Sequence[str] | None = None,
        timing: Timing | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._settings, self._command, self._environ = settings, command, environ
        self._timing = timing or Timing()
        self._on_state = on_state
        host = settings.engine.host
        self._url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{settings.engine.port}"
        self._run = RunFolder(settings.home, settings.engine.port)
        self._state = ServerState(
            "stopped", "not started", datetime.now(UTC), f"{self._url}/v1", str(self._run.log_path)
        )
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._attached: Attached | None = None

    @property
    def state(self) -> ServerState:
        """How it stands; a snapshot."""
        return self._state

    @property
    def base_url(self) -> str:
        """Where the OpenAI protocol is spoken, ending in /v1."""
        return self._state.base_url

    async def start(self) -> None:
        """Begin to bring the server up and to watch it, in the background; again after `failed` or `stop()`."""
        if self._task is None or self._task.done():
            self._set("starting", "looking for a running server", restarts=0)
            self._task = asyncio.create_task(self._live(), name="model-server")

    async def wait_ready(self, timeout_s: float | None = None) -> str:
        """`base_url` as soon as the server answers. Raises `EngineError` when it failed, is stopped, or takes longer."""
        with anyio.move_on_after(timeout_s):
            while self._state.phase != "ready":
                if self._state.phase in {"failed", "stopped"}:
                    raise EngineError(f"model server: {self._state.phase}: {self._state.detail}")
                await self._changed.wait()
            return self.base_url
        raise EngineError(f"model server: not ready after {timeout_s} s: {self._state.phase}: {self._state.detail}")

    async def ensure_running(self) -> str:
        """`start` and `wait_ready` in one."""
        await self.start()
        return await self.wait_ready()

    async def stop(self) -> None:
        """Stop watching; end the server if this process started it. Others who use it start their own."""
        with anyio.CancelScope(shield=True):
            if self._task is not None:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)
                self._task = None
            await self._end()
        self._set("stopped", "stopped", pid=None, owner=False)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _live(self) -> None:
        try:
            with boundary("model server", EngineError):
                launch = await self._prepared()
                async with httpx.AsyncClient(base_url=self._url, timeout=5.0, trust_env=False) as http:
                    await self._keep_running(launch, http)
        except MnemeError as error:
            await self._end()
            self._set("failed", error.message, pid=None, owner=False)

    async def _prepared(self) -> Launch:
        if self._command is not None:
            return launching.plain(self._command, self._settings, environ=self._environ)

        def report(progress: Progress) -> None:
            self._set("starting" if progress.stage == "done" else progress.stage, progress.detail)

        engine, model = await prepare(self._settings, report, environ=self._environ)
        return launching.vllm(self._settings, engine, model, environ=self._environ)

    async def _keep_running(self, launch: Launch, http: httpx.AsyncClient) -> None:
        failures = 0
        while True:
            ready_at = None
            try:
                attached = self._attached = await attach(self._run, launch, grace_s=self._timing.grace_s)
                shared = attached.process is None
                self._set(
                    "starting",
                    f"shared with process {attached.record.owner_pid}" if shared else f"loading {launch.model}",
                    pid=attached.record.pid,
                    model=launch.model,
                    owner=not shared,
                )
                await self._until_ready(attached, http)
                ready_at = time.monotonic()
                await self._watch(attached, http)
            except _Died as news:
                reason = str(news)
            await self._end()
            stable = ready_at is not None and time.monotonic() - ready_at >= self._timing.stable_s
            failures = 1 if stable else failures + 1
            if failures >= self._timing.give_up_after:
                raise EngineError(f"given up after {failures} failures in a row: {reason}")
            pause_s = min(self._timing.backoff_s * 2 ** (failures - 1), self._timing.backoff_max_s)
            restarts = self._state.restarts + 1
            self._set("restarting", f"{reason}; next try in {pause_s:g} s", restarts=restarts, pid=None, owner=False)
            await anyio.sleep(pause_s)

    async def _until_ready(self, attached: Attached, http: httpx.AsyncClient) -> None:
        limit_s = self._settings.engine.ready_timeout_s
        deadline = time.monotonic() + limit_s
        while not await self._healthy(http):
            self._check_alive(attached)
            if time.monotonic() > deadline:
                raise _Died(f"not ready within {limit_s:g} s (engine.ready_timeout_s); log: {self._state.log}")
            await anyio.sleep(self._timing.poll_s)
        # Somebody else may have answered for a server that is already dead.
        self._check_alive(attached)
        self._set("ready", f"serving {attached.record.model}")

    async def _watch(self, attached: Attached, http: httpx.AsyncClient) -> None:
        """Returns never; raises `_Died` when the process is gone, or silent for too long and ours to restart."""
        answered = time.monotonic()
        while True:
            await anyio.sleep(self._timing.poll_s)
            self._check_alive(attached)
            if await self._healthy(http):
                answered = time.monotonic()
                if self._state.phase != "ready":
                    self._set("ready", f"serving {attached.record.model}")
            elif (silent_s := time.monotonic() - answered) > self._timing.unhealthy_s:
                reason = f"no answer to /health for {silent_s:.0f} s; log: {self._state.log}"
                if attached.process is not None:
                    raise _Died(reason)
                if self._state.phase == "ready":
                    self._set("restarting", f"{reason}; process {attached.record.owner_pid} restarts it")

    def _check_alive(self, attached: Attached) -> None:
        if not attached.alive():
            raise _Died(attached.epitaph(self._run))

    async def _healthy(self, http: httpx.AsyncClient) -> bool:
        try:
            return (await http.get("/health")).status_code == 200
        except httpx.HTTPError:
            return False

    async def _end(self) -> None:
        attached, self._attached = self._attached, None
        if attached is not None:
            await end(self._run, attached, grace_s=self._timing.grace_s)

    def _set(
        self,
        phase: Phase,
        detail: str,
        *,
        restarts: int | None = None,
        pid: int | Literal["same"] | None = "same",
        model: str | None = None,
        owner: bool | None = None,
    ) -> None:
        old = self._state
        self._state = replace(
            old,
            phase=phase,
            detail=detail,
            since=old.since if old.phase == phase else datetime.now(UTC),
            restarts=old.restarts if restarts is None else restarts,
            pid=old.pid if pid == "same" else pid,
            model=old.model if model is None else model,
            owner=old.owner if owner is None else owner,
        )
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if self._on_state is not None:
            self._on_state(self._state)
