"""The calls into the kernel that Python's library does not have: prctl, seccomp, Landlock, capabilities, namespaces.

Each does one thing for the calling process and raises `OSError` with the name of what was refused. Linux only; importing
it is harmless elsewhere. The standard library has none of them in Python 3.11, and a package for each would be one more
thing to load into every worker: `pyseccomp` alone takes 120 ms. Source: evals sheet §5.1; the manual pages landlock(7),
capabilities(7), pivot_root(2), unshare(2).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from typing import Final

from runtime.sandbox.syscalls import MACHINES, bpf

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 1, 22, 38, 2
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT, _LANDLOCK_VERSION = 444, 446, 1
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}
_CAPSET: Final = {"x86_64": 126, "aarch64": 91}
_CAPABILITY_VERSION_3: Final = 0x20080522
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 1, 2, 4, 8, 1 << 14, 1 << 18
_MNT_DETACH: Final = 2
NEW_MOUNTS, NEW_UTS, NEW_IPC, NEW_USER, NEW_PIDS, NEW_NET = 1 << 17, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30

_libc = ctypes.CDLL(None, use_errno=True)
_machine: Final = platform.machine()


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_void_p))


_STEPS: Final = bpf(MACHINES[_machine]) if _machine in MACHINES else b""
_BUFFER: Final = ctypes.create_string_buffer(_STEPS, len(_STEPS) or 1)
_PROGRAM: Final = _Filter(len(_STEPS) // 8, ctypes.addressof(_BUFFER))


def _prctl(option: int, value: object, what: str) -> None:
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(ctypes.c_int(option), value, zero, zero, zero), what)


def die_with_parent(signal_number: int, *, parent: int) -> None:
    """Have the kernel send this signal to the caller when its parent ends. Raises `ProcessLookupError` when it has ended.

    The process that starts a namespace sees 0 for a parent outside of it.
    """
    _prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal_number), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        raise ProcessLookupError(errno.ESRCH, f"the parent {parent} has ended")


def no_new_privileges() -> None:
    """No program started from here gains rights; needed by what follows."""
    _prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), "prctl(PR_SET_NO_NEW_PRIVS)")


def filter_calls() -> None:
    """Install the seccomp filter of `syscalls`; there is no way back."""
    if not _STEPS:
        raise OSError(f"seccomp: no filter for {_machine!r}; there is one for {', '.join(MACHINES)}")
    zero = ctypes.c_ulong(0)
    result = _libc.prctl(
        ctypes.c_int(_PR_SET_SECCOMP), ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(_PROGRAM), zero, zero
    )
    _checked(result, "seccomp")


def landlock() -> None:
    """Give up every path of the file system, TCP, and signals beyond the caller, as far as this kernel's Landlock goes."""
    long = ctypes.c_long
    abi = _libc.syscall(long(_LANDLOCK_CREATE), None, ctypes.c_size_t(0), ctypes.c_uint(_LANDLOCK_VERSION))
    _checked(abi, "Landlock")
    paths = (1 << (13 + (abi >= 2) + (abi >= 3) + (abi >= 5))) - 1
    words = [paths] + [3] * (abi >= 4) + [3] * (abi >= 6)
    rules = (ctypes.c_uint64 * len(words))(*words)
    descriptor = _libc.syscall(
        long(_LANDLOCK_CREATE), ctypes.byref(rules), ctypes.c_size_t(ctypes.sizeof(rules)), ctypes.c_uint(0)
    )
    _checked(descriptor, "Landlock")
    try:
        result = _libc.syscall(long(_LANDLOCK_RESTRICT), ctypes.c_int(descriptor), ctypes.c_uint(0))
        _checked(result, "Landlock")
    finally:
        os.close(descriptor)


def drop_capabilities() -> None:
    """Give up every capability."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    call = ctypes.c_long(_numbered(_CAPSET, "capset"))
    _checked(_libc.syscall(call, ctypes.byref(header), ctypes.byref(none)), "capset")


def give_memory_back() -> None:
    """Return what is free in the C library's heap: each fork pays for every page. Only glibc can; elsewhere it stays."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(ctypes.c_size_t(0))


def unshare(namespaces: int) -> None:
    """Leave the namespaces that are named by the `NEW_` bits; for processes, the next child is the first to leave."""
    _checked(_libc.unshare(ctypes.c_int(namespaces)), "unshare")


def empty_root() -> None:
    """Make an empty read-only folder the root. Needs a mount namespace of its own; nothing can be imported afterwards."""
    _mount(b"/", None, _MS_REC | _MS_PRIVATE)
    _mount(b"/tmp", b"tmpfs", _MS_RDONLY | _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    os.chdir("/tmp")
    # The old root then lies above the new one, and is taken away from there: pivot_root(2), "pivot_root(".", ".")".
    call = ctypes.c_long(_numbered(_PIVOT_ROOT, "pivot_root"))
    _checked(_libc.syscall(call, ctypes.c_char_p(b"."), ctypes.c_char_p(b".")), "pivot_root")
    _checked(_libc.umount2(ctypes.c_char_p(b"."), ctypes.c_int(_MNT_DETACH)), "umount2")
    os.chdir("/")


def _mount(target: bytes, kind: bytes | None, flags: int) -> None:
    text = ctypes.c_char_p
    _checked(_libc.mount(text(b"none"), text(target), text(kind), ctypes.c_ulong(flags), None), f"mount {target!r}")


def _numbered(numbers: dict[str, int], name: str) -> int:
    if _machine not in numbers:
        raise OSError(f"{name}: its number on {_machine!r} is not known; it is for {', '.join(numbers)}")
    return numbers[_machine]


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
