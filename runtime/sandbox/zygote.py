"""The worker process: it has everything loaded, holds nothing secret, and forks one child for each job.

It is started with an environment of our own making and two pipes. The service writes a job: a header, then the payload,
which only the child reads, so that no later child finds it in the memory it inherits. What the child writes passes through
a buffer that children do not inherit either, and is never looked into except for `DONE`, which gives the next program its
time. The zygote ends the child at the deadline, on too much output, when all programs are done and when the service is
gone; it kills the session and reaps. The protocol, service to zygote: `JOB`, payload. Zygote to service: frames of kind
and length: `hello` (JSON) once, then for each job any `data`, and one `end` (`END`). Source: evals sheet §5.3; ours.
"""

from __future__ import annotations

import ctypes
import gc
import json
import mmap
import os
import select
import signal
import struct
import sys
import time
from types import FrameType
from typing import Final

from runtime.sandbox import harness, kernel, layers

# payload bytes, seconds for each program, added memory, output bytes for each program, programs, most bytes of all of them
JOB: Final = struct.Struct("!IdQIIQ")
FRAME: Final = struct.Struct("!cI")
# wait status, reason, CPU seconds
END: Final = struct.Struct("!icd")
HELLO, DATA, ENDED = b"h", b"d", b"e"
BY_ITSELF, DEADLINE, FLOOD = b"i", b"t", b"o"

START: Final = 0x02
START_SECONDS: Final = 20.0
# What a program's own timer gets before it is ended from outside.
MARGIN_SECONDS: Final = 0.02
RESULTS: Final = 3
BUFFER_BYTES: Final = 1 << 16
# `os.fork` renews the locks of other threads and the seeds of `random` in the child: a millisecond for what one thread and a
# fixed seed do not need. PyDLL keeps the interpreter's lock over the call, so the child holds it too.
_quick_fork: Final = ctypes.PyDLL(None).fork


def main(level: str, numpy: bool) -> None:
    """Load, shut the doors, prove that they hold, say so, and serve until the service closes its end."""
    jobs, answers = _take_pipes()
    try:
        versions = harness.preload(numpy=numpy)
        jail = layers.prepare(level)
        _try(jail)
    except OSError as refused:
        _send(answers, HELLO, json.dumps({"level": level, "refused": str(refused)}).encode())
        return
    os.environ.clear()
    harness.seed()
    gc.collect()
    kernel.give_memory_back()
    gc.freeze()
    _send(answers, HELLO, json.dumps({"level": level, "refused": None, "versions": versions}).encode())
    os.dup2(0, 2)
    signal.signal(signal.SIGTERM, _stop)
    buffer = mmap.mmap(-1, BUFFER_BYTES)
    if hasattr(mmap, "MADV_DONTFORK"):
        buffer.madvise(mmap.MADV_DONTFORK)
    while header := _read(jobs, JOB.size):
        _job(jail, JOB.unpack(header), jobs, answers, buffer)


def _job(
    jail: layers.Jail,
    job: tuple[int, float, int, int, int, int],
    jobs: int,
    answers: int,
    buffer: mmap.mmap,
) -> None:
    length, seconds, memory_bytes, output_bytes, programs, most = job
    results, child_end = os.pipe()
    # Until the child is in good hands: it would outlive a zygote that is ended in between.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = _quick_fork()
    if child < 0:
        sys.exit("no process for a child")
    if child == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            payload = _read(jobs, length)
            os.dup2(child_end, RESULTS)
            os.closerange(RESULTS + 1, 1 << 16)
            layers.shut_in(jail, seconds=seconds * programs, memory_bytes=memory_bytes)
            os.write(RESULTS, bytes([START]))
            harness.run(payload, seconds=seconds, output_bytes=output_bytes, descriptor=RESULTS)
        finally:
            os._exit(0)
    try:
        try:
            os.close(child_end)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
            started, reason = _watch(results, jobs, answers, buffer, seconds=seconds, programs=programs, most=most)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    finally:
        os.close(results)
        _kill(child)
        _, status, usage = os.wait4(child, 0)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    if not started:
        # The payload may not have been read: what follows in the pipe can no longer be told apart.
        sys.exit("a child did not get as far as its program")
    _send(answers, ENDED, END.pack(status, reason, usage.ru_utime + usage.ru_stime))


def _watch(
    results: int, jobs: int, answers: int, buffer: mmap.mmap, *, seconds: float, programs: int, most: int
) -> tuple[bool, bytes]:
    """Pass on what the child writes until it is done or has to be ended: whether it started, and the reason."""
    poll = select.poll()
    poll.register(results, select.POLLIN)
    poll.register(jobs, 0)
    view = memoryview(buffer)
    started, done, passed = False, 0, 0
    deadline = time.monotonic() + START_SECONDS
    while done < programs:
        left = deadline - time.monotonic()
        if left <= 0:
            return started, DEADLINE
        ready = dict(poll.poll(left * 1000))
        if jobs in ready:
            sys.exit("the service is gone")
        if results not in ready:
            continue
        size = os.readv(results, [view])
        if size == 0:
            break
        passed += size
        if passed > most:
            return started, FLOOD
        # Before the program runs nothing but our own START can have been written.
        first = 0 if started else 1
        ended = _count(buffer, first, size)
        if ended or not started:
            done += ended
            deadline = time.monotonic() + seconds + MARGIN_SECONDS
        started = True
        if size > first:
            _pass(answers, view[first:size])
    return started, BY_ITSELF


def _count(buffer: mmap.mmap, start: int, end: int) -> int:
    count = 0
    while (start := buffer.find(harness.DONE, start, end)) >= 0:
        count, start = count + 1, start + 1
    return count


def _try(jail: layers.Jail) -> None:
    """Have a child attack from behind all layers. Raises `OSError` with what it reports."""
    results, child_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            layers.trial(jail)
        except BaseException as problem:  # noqa: BLE001 - reported, and the process ends
            os.write(child_end, f"{type(problem).__name__}: {problem}".encode()[:500])
        else:
            os.write(child_end, b"held")
        finally:
            os._exit(0)
    os.close(child_end)
    said = os.read(results, 1000)
    os.close(results)
    _kill(child)
    os.waitpid(child, 0)
    if said != b"held":
        raise OSError(said.decode(errors="replace") or "the trial of the layers ended without a word")


def _stop(number: int, frame: FrameType | None) -> None:
    """The service gives the job up: leave by way of what ends and reaps the child."""
    sys.exit()


def _kill(child: int) -> None:
    """End a child that has not been reaped, and all of its session."""
    for kill in (os.killpg, os.kill):
        try:
            kill(child, signal.SIGKILL)
        except ProcessLookupError:
            # It ended before it had a session of its own.
            continue


def _take_pipes() -> tuple[int, int]:
    """Move the two pipes away from 0 and 1, and leave nothing behind the three standard descriptors."""
    jobs, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return jobs, answers


def _send(descriptor: int, kind: bytes, data: bytes) -> None:
    _write(descriptor, memoryview(FRAME.pack(kind, len(data)) + data))


def _pass(descriptor: int, data: memoryview) -> None:
    head = FRAME.pack(DATA, len(data))
    _write(descriptor, data[os.writev(descriptor, [head, data]) - len(head) :])


def _write(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _read(descriptor: int, size: int) -> bytes:
    """Exactly so many bytes, or none when the other side is gone."""
    parts = []
    while size:
        part = os.read(descriptor, size)
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
