"""The filter, run by an interpreter of its own: what is not on the list is refused, on both architectures."""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.sandbox.syscalls import ALLOW, CLONE_NEVER, CLONE_THREAD, ERRNO, KILL, MACHINES, X32, bpf

PTHREAD = 0x3D0F00
REFUSED = ERRNO | errno.EPERM
words = st.integers(0, 2**32 - 1)


def verdict(name: str, number: int, arguments: Sequence[int] = (), arch: int | None = None) -> int:
    """What the kernel would do with a call: classic BPF over `struct seccomp_data`."""
    machine = MACHINES[name]
    six = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", number, machine.word if arch is None else arch, 0, *six)
    steps = list(struct.iter_unpack("<HBBI", bpf(machine)))
    at, word = 0, 0
    while True:
        code, yes, no, k = steps[at]
        at += 1
        match code:
            case 0x20:
                (word,) = struct.unpack_from("<I", data, k)
            case 0x15:
                at += yes if word == k else no
            case 0x35:
                at += yes if word >= k else no
            case 0x45:
                at += yes if word & k else no
            case 0x06:
                return int(k)
            case _:
                raise AssertionError(f"unknown step {code:#x}")


@pytest.mark.parametrize("name", MACHINES)
def test_calls_of_the_list_pass_and_every_other_is_refused(name: str) -> None:
    machine = MACHINES[name]
    passing = {n for n in range(1024) if verdict(name, n) == ALLOW}
    # Without arguments mmap asks for no executable memory; clone without a thread is a fork.
    assert passing == {*machine.plain.values(), machine.mmap, machine.mprotect}
    assert verdict(name, machine.clone3) == ERRNO | errno.ENOSYS
    assert {verdict(name, n) for n in range(1024)} == {ALLOW, REFUSED, ERRNO | errno.ENOSYS}


@given(number=words, arch=words, name=st.sampled_from(sorted(MACHINES)))
def test_other_architectures_and_x32_end_the_process(number: int, arch: int, name: str) -> None:
    if arch != MACHINES[name].word:
        assert verdict(name, number, arch=arch) == KILL
    if number >= X32:
        assert verdict(name, number) == KILL


@given(flags=st.integers(0, 2**64 - 1), name=st.sampled_from(sorted(MACHINES)))
def test_clone_makes_threads_only(flags: int, name: str) -> None:
    allowed = flags & CLONE_THREAD and not flags & CLONE_NEVER
    assert verdict(name, MACHINES[name].clone, [flags]) == (ALLOW if allowed else REFUSED)
    assert verdict(name, MACHINES[name].clone, [PTHREAD]) == ALLOW


@given(protection=words, name=st.sampled_from(sorted(MACHINES)))
def test_no_memory_becomes_executable(protection: int, name: str) -> None:
    wanted = REFUSED if protection & 4 else ALLOW
    assert verdict(name, MACHINES[name].mmap, [0, 4096, protection]) == wanted
    assert verdict(name, MACHINES[name].mprotect, [0, 4096, protection]) == wanted
