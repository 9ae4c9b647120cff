"""Runs one program and ends it, with everything it started, when asked to or when our parent is gone.

    python supervise.py --parent PID --grace SECONDS -- COMMAND …

vLLM is a tree of processes; killing its root leaves the engine that holds the memory. This process adopts every orphan
below it (PR_SET_CHILD_SUBREAPER), so the tree stays whole, and leaves only when the tree is gone: whoever sees this
process dead knows that memory and port are free. The parent is watched by its process id, which survives no kill -9;
a pipe would stay open in a fork of the parent, and a parent-death signal follows a thread. If this process itself is
killed, the program gets SIGTERM from the kernel. Standard library only, Linux only. Source: ours.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import NamedTuple

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT_CHECK_S = 0.5
WATCHED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Ended(NamedTuple):
    """Why the wait is over: the program's exit status, or None when it is to be ended."""

    status: int | None


def main() -> int:
    """The program's exit status (128 + signal when a signal ended it), 0 when it was ended on purpose."""
    arguments = _arguments()
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        _become(arguments.command, libc)
    ended = _wait(child, arguments.parent)
    _end_all(child, arguments.grace)
    return 0 if ended.status is None else ended.status


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--grace", type=float, required=True)
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def _become(command: list[str], libc: ctypes.CDLL) -> None:
    supervisor = os.getppid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)
    try:
        if os.getppid() == supervisor:
            os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error}", file=sys.stderr, flush=True)
    os._exit(127)


def _wait(child: int, parent: int) -> Ended:
    while True:
        if os.getppid() != parent:
            return Ended(None)
        received = signal.sigtimedwait(WATCHED, PARENT_CHECK_S)
        if received is not None and received.si_signo != signal.SIGCHLD:
            return Ended(None)
        status = _reap().get(child)
        if status is not None:
            return Ended(status)


def _reap() -> dict[int, int]:
    """Collect whoever is dead: process id → exit status."""
    dead: dict[int, int] = {}
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return dead
            code = os.waitstatus_to_exitcode(status)
            dead[pid] = code if code >= 0 else 128 - code
    except ChildProcessError:
        return dead


def _end_all(child: int, grace_s: float) -> None:
    """SIGTERM to the program, which ends its own; after the grace SIGKILL to all that is left."""
    deadline = time.monotonic() + grace_s
    if not _signal(child, signal.SIGTERM):
        # The program is gone already: nobody is left to end the others.
        for pid in _descendants():
            _signal(pid, signal.SIGTERM)
    while _descendants() and time.monotonic() < deadline:
        signal.sigtimedwait((signal.SIGCHLD,), 0.1)
        _reap()
    while left := _descendants():
        for pid in left:
            _signal(pid, signal.SIGKILL)
        signal.sigtimedwait((signal.SIGCHLD,), 0.1)
        _reap()


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
            except (FileNotFoundError, ProcessLookupError):
                continue
            # The name in brackets may hold spaces and brackets; the parent's id is the second field after it.
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found: list[int] = []
    todo = [os.getpid()]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below
    return found


if __name__ == "__main__":
    sys.exit(main())
