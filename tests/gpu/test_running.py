"""Records of running servers, and their logs."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from gpu.running import LOG_BYTES, Record, RunFolder, holder_of, is_running, port_is_free, started_at


def record(pid: int, started: float) -> Record:
    return Record(pid=pid, started=started, owner_pid=1, fingerprint="f", model="m")


def test_a_record_comes_back_as_written_and_a_broken_one_is_none(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, 9000)
    run.work_path.mkdir(parents=True)
    assert run.read() is None
    mine = record(os.getpid(), started_at(os.getpid()))
    run.write(mine)
    assert run.read() == mine
    run.record_path.write_text("{", encoding="utf-8")
    assert run.read() is None


def test_a_process_under_the_same_number_is_not_the_recorded_one() -> None:
    started = started_at(os.getpid())
    assert is_running(record(os.getpid(), started))
    assert not is_running(record(os.getpid(), started - 100))


def test_a_log_that_has_grown_is_moved_aside_and_only_two_old_ones_are_kept(tmp_path: Path) -> None:
    run = RunFolder(tmp_path, 9000)
    run.work_path.mkdir(parents=True)
    for number in range(4):
        run.log_path.write_bytes(str(number).encode() * LOG_BYTES)
        run.rotate_log()
        assert not run.log_path.exists()
    run.log_path.write_text("small", encoding="utf-8")
    run.rotate_log()
    kept = {path.name: path.read_bytes()[:1] for path in run.log_path.parent.glob("9000.log*")}
    assert kept == {"9000.log": b"s", "9000.log.1": b"3", "9000.log.2": b"2"}


def test_what_holds_a_port_is_named() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        assert not port_is_free("127.0.0.1", port)
        assert f"process {os.getpid()}" in holder_of(port)
    assert port_is_free("127.0.0.1", port)
