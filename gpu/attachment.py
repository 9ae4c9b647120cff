"""Comes to a model server: shares the one that runs on the port, or starts one; and ends the one it started.

One process at a time decides, under the lock of the port (`running.py`). Source: ours.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio

from gpu.child_process import first_error, supervised
from gpu.file_lock import exclusive
from gpu.launch import Launch
from gpu.running import Record, RunFolder, holder_of, is_going, is_running, port_is_free, started_at
from runtime.errors import EngineError

ENDING_S = 10.0  # what a supervisor may take beyond its grace to end what it supervises


@dataclass(frozen=True, slots=True)
class Attached:
    """The server in use. `process` is its supervisor, and there only when this process started it."""

    record: Record
    process: subprocess.Popen[bytes] | None
    log_offset: int

    def alive(self) -> bool:
        return is_running(self.record) if self.process is None else self.process.poll() is None

    def epitaph(self, run: RunFolder) -> str:
        """Why a dead one died, as far as its log says."""
        if self.process is None:
            return f"the shared server of process {self.record.owner_pid} is gone"
        why = first_error(run.log_path, self.log_offset)
        return f"ended with status {self.process.returncode}: {why}; log: {run.log_path}"


async def attach(run: RunFolder, launch: Launch, *, grace_s: float) -> Attached:
    """Share the server that `run` records when it serves the same, else start one.

    Raises `EngineError` when the port is held by a server with other settings or by another program.
    """
    async with exclusive(run.lock_path):
        record = run.read()
        if record is not None:
            await _let_go(run, record, grace_s)
            if is_running(record):
                if record.fingerprint != launch.fingerprint:
                    raise EngineError(
                        f"port {run.port}: held by a model server with other settings (model {record.model!r}, "
                        f"process {record.pid}, started by process {record.owner_pid}); stop that process or set "
                        "engine.port to a free port"
                    )
                return Attached(record, None, 0)
            await anyio.to_thread.run_sync(run.end_leftovers, record)
            run.forget(record)
        if not port_is_free(launch.host, run.port):
            raise EngineError(
                f"port {run.port}: taken by {holder_of(run.port)}; stop that, set engine.port to a free port, or, if "
                f"it is a model server, use it with llm.base_url=http://127.0.0.1:{run.port}/v1"
            )
        return _spawn(run, launch, grace_s)


async def end(run: RunFolder, attached: Attached, *, grace_s: float) -> None:
    """End the server if this process started it, and wait until it is gone with everything it started."""
    process = attached.process
    if process is None:
        return
    with anyio.CancelScope(shield=True):
        if process.poll() is None:
            run.write(attached.record.model_copy(update={"retiring": True}))
            process.terminate()
            try:
                await anyio.to_thread.run_sync(process.wait, grace_s + ENDING_S)
            except subprocess.TimeoutExpired:
                process.kill()
                await anyio.to_thread.run_sync(process.wait)
        async with exclusive(run.lock_path):
            current = run.read()
            # Another record: somebody has started the next server, and cleared away what was left of this one.
            if current is not None and current.pid == attached.record.pid:
                await anyio.to_thread.run_sync(run.end_leftovers, attached.record)
                run.forget(current)


async def _let_go(run: RunFolder, record: Record, grace_s: float) -> None:
    """Wait for a server whose owner is gone or stopping it; its supervisor needs a moment."""
    deadline = time.monotonic() + grace_s + ENDING_S
    while is_running(record) and time.monotonic() < deadline:
        current = run.read()
        if not is_going(record) and (current is None or not current.retiring):
            return
        await anyio.sleep(0.1)


def _spawn(run: RunFolder, launch: Launch, grace_s: float) -> Attached:
    run.rotate_log()
    run.work_path.mkdir(exist_ok=True)
    with run.log_path.open("ab") as log:
        log.write(f"\n{datetime.now(UTC).isoformat(timespec='seconds')} {' '.join(launch.command)}\n".encode())
        log.flush()
        offset = log.tell()
        process = subprocess.Popen(
            supervised(launch.command, grace_s=grace_s),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=dict(launch.env),
            cwd=run.work_path,
            start_new_session=True,
        )
    record = Record(
        pid=process.pid,
        started=started_at(process.pid),
        owner_pid=os.getpid(),
        fingerprint=launch.fingerprint,
        model=launch.model,
    )
    run.write(record)
    return Attached(record, process, offset)
