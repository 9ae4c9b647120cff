"""Who runs a model server on a port: the record that lets processes share one, and what else may hold the port.

    engines/run/8643.json     process id and start time of the supervisor, fingerprint, owner
    engines/run/8643.lock     held while a process decides whether to start one
    engines/run/8643.log      what the server prints; the older ones are .1 and .2
    engines/run/8643/         its working folder, by which its processes are known

A record is only believed when the process it names still runs and was started at that time. Source: ours.
"""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

LOG_BYTES = 10_000_000
LOGS_KEPT = 2
_SAME_START_S = 1.0


class Record(BaseModel):
    """A server that somebody started. Times are seconds since the epoch, as psutil gives them.

    `retiring` is set by the owner before it stops the server: nobody should start to use it.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    pid: int
    started: float
    owner_pid: int
    fingerprint: str
    model: str
    retiring: bool = False


class RunFolder:
    """The folder of records; `port` says which one is meant."""

    def __init__(self, home: Path, port: int) -> None:
        self.port = port
        path = home / "engines" / "run"
        self.record_path = path / f"{port}.json"
        self.lock_path = path / f"{port}.lock"
        self.log_path = path / f"{port}.log"
        self.work_path = path / str(port)

    def read(self) -> Record | None:
        """The record on file, whether its process runs or not; None when there is none that can be read."""
        try:
            return Record.model_validate_json(self.record_path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write(self, record: Record) -> None:
        partial = self.record_path.with_suffix(".partial")
        partial.write_text(record.model_dump_json(), encoding="utf-8")
        partial.replace(self.record_path)

    def forget(self, record: Record) -> None:
        """Remove the record, if it is still this one."""
        if self.read() == record:
            self.record_path.unlink(missing_ok=True)

    def rotate_log(self) -> None:
        """Move a log that has grown large out of the way; only the newest two are kept beside it."""
        if not self.log_path.is_file() or self.log_path.stat().st_size < LOG_BYTES:
            return
        for number in range(LOGS_KEPT, 0, -1):
            older = self.log_path if number == 1 else self.log_path.with_suffix(f".log.{number - 1}")
            if older.exists():
                older.replace(self.log_path.with_suffix(f".log.{number}"))

    def end_leftovers(self, record: Record, *, wait_s: float = 5.0) -> None:
        """Kill what a server left behind whose supervisor was itself killed; it holds memory and perhaps the port.

        To be called under the lock. Known by working in `work_path`, being younger than the record, and having no
        terminal: somebody's shell in that folder is left alone.
        """
        deadline = time.monotonic() + wait_s
        while (left := self._left_by(record)) and time.monotonic() < deadline:
            for process in left:
                _kill(process)
            psutil.wait_procs(left, timeout=0.2)

    def _left_by(self, record: Record) -> list[psutil.Process]:
        found = []
        work_path = self.work_path.resolve()
        for process in psutil.process_iter():
            try:
                young = process.create_time() >= record.started - _SAME_START_S
                if young and Path(process.cwd()) == work_path and process.terminal() is None:
                    found.append(process)
            except psutil.Error:
                continue
        return found


def started_at(pid: int) -> float:
    """When a process was started, seconds since the epoch. Raises `psutil.NoSuchProcess`."""
    return float(psutil.Process(pid).create_time())


def is_running(record: Record) -> bool:
    """True when the supervisor that the record names is alive, and not another process under its number."""
    try:
        process = psutil.Process(record.pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and abs(process.create_time() - record.started) < _SAME_START_S
    except psutil.NoSuchProcess:
        return False


def is_going(record: Record) -> bool:
    """True when the server still runs but is about to end: retired, or its owner is gone."""
    try:
        return record.retiring or psutil.Process(record.pid).ppid() != record.owner_pid
    except psutil.NoSuchProcess:
        return True


def port_is_free(host: str, port: int) -> bool:
    """True when a server could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def holder_of(port: int) -> str:
    """Name and process id of what listens on a port, as far as this user may see it."""
    try:
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if local and local.port == port and connection.status == psutil.CONN_LISTEN and connection.pid:
                return f"{psutil.Process(connection.pid).name()!r} (process {connection.pid})"
    except psutil.Error:
        return "another program"
    return "another program"


def _kill(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return
