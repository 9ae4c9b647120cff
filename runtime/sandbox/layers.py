"""What shuts a program in, layer by layer, and the proof that each layer holds on this machine.

Two processes call this. The zygote calls `prepare` once: it leaves its namespaces (strong only) and works out what its
children need. Each child calls `shut_in` before the program: its own session, a user id of its own when the zygote is
root, no capabilities, resource limits, no new privileges, Landlock, and last the filter of system calls, after which none
of the others could be set. `trial` does the same in a child that then attacks; a layer that cannot be had, or does not
hold, raises `OSError`. Only `reduced` may go without: Landlock is left out, and what the machine lacks is skipped.
A program has no temporary folder either, not even a private one. That is deliberate, and stricter: no path can be opened
and no file can grow, so there is nothing to clean up, to fill, or to leave for the next one.
Source: evals sheet §5.1-5.2.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from runtime.sandbox import kernel

STRONG, STANDARD, REDUCED = "strong", "standard", "reduced"
LINUX: Final = sys.platform == "linux"
DESCRIPTORS: Final = 32
TASKS: Final = 16
# User ids that no account has; each job draws one, so that jobs neither signal nor count with each other. Where there are
# fewer than `USERS` to draw from, two jobs would meet too often.
USERS: Final = 10_000
MOST_USERS: Final = 100_000_000
USER_TOP: Final = 2_000_000_000
LOWEST_USER: Final = 1000
# It stands for everybody who has no id in a namespace, and files and services of the system are its own.
NOBODY: Final = 65534
# Programs go behind the service when both want a processor, but are not starved: their seconds are wall time.
NICE: Final = 5


@dataclass(frozen=True, slots=True)
class Jail:
    """What a zygote, which is `parent`, knows about shutting its children in. `users` are the ids to draw from; None when it
    cannot and need not change user.
    """

    level: str
    users: range | None
    mapped_bytes: int
    parent: int


def prepare(level: str) -> Jail:
    """Ready the calling process, which has loaded all that programs may import. Raises `OSError` for what is refused.

    At level strong this returns in another process, the first of its namespace, while the caller only waits for it.
    """
    if level != REDUCED and not LINUX:
        raise OSError(f"{level}: needs Linux, this is {sys.platform!r}")
    users, mapped = _users() if LINUX and os.geteuid() == 0 else None, _mapped_bytes()
    if LINUX:
        # When memory runs out, this goes before the service does.
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - the zygote stays small
            file.write("500")
    if level == STRONG:
        _leave_namespaces()
    return Jail(level, users, mapped, os.getpid())


def shut_in(jail: Jail, *, seconds: float, memory_bytes: int) -> None:
    """Put every layer of the level around the calling process. `seconds` of CPU and added `memory_bytes` are its limits."""
    leave(jail)
    limit(jail, seconds=seconds, memory_bytes=memory_bytes)
    if jail.level == REDUCED:
        if LINUX:
            kernel.no_new_privileges()
            _works(kernel.filter_calls)
        return
    kernel.no_new_privileges()
    kernel.landlock()
    kernel.filter_calls()


def leave(jail: Jail) -> None:
    """A session, a user and no rights: the caller can no longer be taken for the service."""
    os.setsid()
    if jail.users is not None:
        try:
            _become(jail.users[int.from_bytes(os.urandom(8), "big") % len(jail.users)])
        except PermissionError as refused:
            if jail.level != REDUCED:
                fix = "start as a plain user, or allow CAP_SETUID and CAP_SETGID"
                raise PermissionError(refused.errno, f"change of user: {refused.strerror}; {fix}") from refused
    if LINUX:
        kernel.drop_capabilities()
        # After the change of user, which clears it.
        kernel.die_with_parent(signal.SIGKILL, parent=jail.parent)


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def limit(jail: Jail, *, seconds: float, memory_bytes: int) -> None:
    """Resource limits and a lower priority. The library that the zygote has loaded does not count towards the memory."""
    os.nice(NICE)
    limits = {
        resource.RLIMIT_CPU: int(seconds) + 1,
        resource.RLIMIT_AS: jail.mapped_bytes + memory_bytes,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: DESCRIPTORS,
        resource.RLIMIT_NPROC: TASKS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for which, soft in limits.items():
        # SIGXCPU, which tells that time was up, only comes below the hard limit; that one is SIGKILL.
        hard = soft + 1 if which == resource.RLIMIT_CPU else soft
        most = resource.getrlimit(which)[1]
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        try:
            resource.setrlimit(which, (soft, hard))
        except ValueError:
            # macOS knows RLIMIT_AS and refuses it.
            if jail.level != REDUCED:
                raise


def trial(jail: Jail) -> None:
    """Attack from within, in the calling process, which must then end. Raises `OSError` naming the layer that gave way."""
    if jail.level == STRONG:
        _must(os.getpid() < 100, "process namespace")
        _must([name for _, name in socket.if_nameindex()] in ([], ["lo"]), "network namespace")
        _must(os.listdir("/") == [], "mount namespace")  # noqa: PTH208 - the zygote stays small
    leave(jail)
    if jail.users is not None and jail.level != REDUCED:
        _must(os.getuid() != 0 and not _works(lambda: os.setuid(0)), "change of user")
    limit(jail, seconds=1, memory_bytes=64 << 20)
    if LINUX:
        kernel.no_new_privileges()
    if jail.level == REDUCED:
        if LINUX:
            _works(kernel.filter_calls)
        return
    _must(_refused_memory(), "memory limit")
    _must(_works(lambda: os.close(os.open("/", os.O_RDONLY))), "trial: the root cannot be read even before Landlock")
    kernel.landlock()
    _must(not _works(lambda: os.close(os.open("/", os.O_RDONLY))), "Landlock")
    kernel.filter_calls()
    _must(not _works(lambda: socket.socket().close()), "seccomp: socket")
    _must(not _works(_fork), "seccomp: fork")
    _must(not _works(lambda: os.kill(os.getpid(), 0)), "seccomp: kill")
    _must(not _works(lambda: os.stat("/")), "seccomp: stat")  # noqa: PTH116 - the zygote stays small


def _leave_namespaces() -> None:
    root = os.geteuid() == 0
    user, group = os.geteuid(), os.getegid()
    rest = kernel.NEW_MOUNTS | kernel.NEW_UTS | kernel.NEW_IPC | kernel.NEW_PIDS | kernel.NEW_NET
    kernel.unshare(rest if root else rest | kernel.NEW_USER)
    if not root:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w") as file:  # noqa: PTH123 - the zygote stays small
                file.write(text)
    first = os.fork()
    if first:
        os.closerange(0, 1 << 16)
        signal.signal(signal.SIGTERM, lambda number, frame: os.kill(first, number))
        os.waitpid(first, 0)
        os._exit(0)
    kernel.die_with_parent(signal.SIGKILL, parent=0)
    kernel.empty_root()


def _users() -> range:
    """The user and group ids that this root may hand out: high ones, where no account is."""
    starts, ends = [LOWEST_USER], [USER_TOP]
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/self/{name}") as file:  # noqa: PTH123 - the zygote stays small
            start, count = max((int(first), int(count)) for first, _, count in map(str.split, file))
        starts.append(start)
        ends.append(start + count)
    return free_users(max(starts), min(ends))


def free_users(start: int, end: int) -> range:
    """The ids to draw from when those from `start` to `end` are mapped. Raises `OSError` when they are too few."""
    above = range(max(start, NOBODY + 1, end - MOST_USERS), end)
    if len(above) >= USERS:
        return above
    end = min(end, NOBODY)
    if end - USERS < start:
        raise OSError(f"change of user: only ids {start} to {end} are mapped; map more, or start as a plain user")
    return range(end - USERS, end)


def _mapped_bytes() -> int:
    if not LINUX:
        return 0
    with open("/proc/self/statm") as file:  # noqa: PTH123 - the zygote stays small
        return int(file.read().split()[0]) * resource.getpagesize()


def _must(held: bool, layer: str) -> None:
    if not held:
        raise OSError(f"{layer}: does not hold on this machine")


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _refused_memory() -> bool:
    try:
        bytearray(1 << 30)
    except MemoryError:
        return True
    return False
