"""Which system calls a program may make, as the BPF program that the kernel runs before each of them.

It is a list of what is allowed: all else fails with EPERM, which Python shows as `PermissionError`. What is left is enough
to compute, to start a thread and to write into a descriptor that is already open; there is no way to open, to connect, to
start a process or to reach another one. A word of another architecture, or of x32, ends the process: its numbers mean
other calls. New executable memory is refused: every library is loaded by then. Source: evals sheet §5.1; kernel,
Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from struct import pack
from types import MappingProxyType
from typing import Final

EPERM: Final = 1
ENOSYS: Final = 38

ALLOW: Final = 0x7FFF0000
KILL: Final = 0x80000000
ERRNO: Final = 0x00050000

X32: Final = 0x40000000
CLONE_THREAD: Final = 0x00010000
# CLONE_NEWNS, …CGROUP, …UTS, …IPC, …USER, …PID, …NET, and CLONE_PTRACE
CLONE_NEVER: Final = 0x7E020000 | 0x00002000
PROT_EXEC: Final = 4

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16


@dataclass(frozen=True, slots=True)
class Machine:
    """The word that the kernel gives for an architecture, and its numbers of the calls that are named here."""

    word: int
    plain: Mapping[str, int]
    clone: int
    clone3: int
    mmap: int
    mprotect: int


# Hot ones first: the list is walked.
MACHINES: Final = MappingProxyType(
    {
        "x86_64": Machine(
            word=0xC000003E,
            plain=MappingProxyType(
                {
                    "write": 1,
                    "setitimer": 38,
                    "brk": 12,
                    "munmap": 11,
                    "futex": 202,
                    "madvise": 28,
                    "mremap": 25,
                    "rt_sigreturn": 15,
                    "rt_sigaction": 13,
                    "rt_sigprocmask": 14,
                    "sigaltstack": 131,
                    "read": 0,
                    "close": 3,
                    "clock_gettime": 228,
                    "clock_getres": 229,
                    "clock_nanosleep": 230,
                    "nanosleep": 35,
                    "gettimeofday": 96,
                    "time": 201,
                    "getrandom": 318,
                    "getpid": 39,
                    "gettid": 186,
                    "getrusage": 98,
                    "times": 100,
                    "sched_yield": 24,
                    "sched_getaffinity": 204,
                    "set_robust_list": 273,
                    "rseq": 334,
                    "restart_syscall": 219,
                    "exit": 60,
                    "exit_group": 231,
                }
            ),
            clone=56,
            clone3=435,
            mmap=9,
            mprotect=10,
        ),
        "aarch64": Machine(
            word=0xC00000B7,
            plain=MappingProxyType(
                {
                    "write": 64,
                    "setitimer": 103,
                    "brk": 214,
                    "munmap": 215,
                    "futex": 98,
                    "madvise": 233,
                    "mremap": 216,
                    "rt_sigreturn": 139,
                    "rt_sigaction": 134,
                    "rt_sigprocmask": 135,
                    "sigaltstack": 132,
                    "read": 63,
                    "close": 57,
                    "clock_gettime": 113,
                    "clock_getres": 114,
                    "clock_nanosleep": 115,
                    "nanosleep": 101,
                    "gettimeofday": 169,
                    "getrandom": 278,
                    "getpid": 172,
                    "gettid": 178,
                    "getrusage": 165,
                    "times": 153,
                    "sched_yield": 124,
                    "sched_getaffinity": 123,
                    "set_robust_list": 99,
                    "rseq": 293,
                    "restart_syscall": 128,
                    "exit": 93,
                    "exit_group": 94,
                }
            ),
            clone=220,
            clone3=435,
            mmap=222,
            mprotect=226,
        ),
    }
)


def bpf(machine: Machine) -> bytes:
    """The filter as an array of `struct sock_filter`, eight bytes each, little-endian."""
    return b"".join(pack("<HBBI", *step) for step in _steps(machine))


def _steps(machine: Machine) -> Iterator[tuple[int, int, int, int]]:
    yield _LOAD, 0, 0, _ARCH
    yield _EQUAL, 1, 0, machine.word
    yield _RETURN, 0, 0, KILL
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, 0, 1, X32
    yield _RETURN, 0, 0, KILL
    for number in machine.plain.values():
        yield _EQUAL, 0, 1, number
        yield _RETURN, 0, 0, ALLOW
    for number in (machine.mmap, machine.mprotect):
        yield from _argument(number, 2, must=None, never=PROT_EXEC)
    yield from _argument(machine.clone, 0, must=CLONE_THREAD, never=CLONE_NEVER)
    # glibc then falls back to clone, whose flags the filter can see.
    yield _EQUAL, 0, 1, machine.clone3
    yield _RETURN, 0, 0, ERRNO | ENOSYS
    yield _RETURN, 0, 0, ERRNO | EPERM


def _argument(number: int, index: int, *, must: int | None, never: int) -> Iterator[tuple[int, int, int, int]]:
    """Allow one call when its argument has a bit of `must` and none of `never` in the lower half."""
    tests = [(_ANY_BIT, 1, 0, must), (_RETURN, 0, 0, ERRNO | EPERM)] if must is not None else []
    yield _EQUAL, 0, 4 + len(tests), number
    yield _LOAD, 0, 0, _ARGUMENTS + 8 * index
    yield from tests
    yield _ANY_BIT, 0, 1, never
    yield _RETURN, 0, 0, ERRNO | EPERM
    yield _RETURN, 0, 0, ALLOW
