"""Each layer alone: together they hide one another, since what the filter refuses Landlock is never asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.sandbox import layers
from runtime.sandbox.probe import ENVIRONMENT, ROOT, refused

ALONE = """
import errno, json, mmap, os, resource, socket, sys
from dataclasses import replace
sys.path.append(sys.argv[1])
from runtime.sandbox import kernel, layers
target = sys.argv[2]

def says(attempt):
    try: attempt()
    except OSError as e: return errno.errorcode[e.errno]
    return "works"

def attempts():
    return {
        "user": os.getuid(), "group": os.getgid(), "groups": os.getgroups(),
        "session": os.getsid(0) == os.getpid(),
        "read": says(lambda: open(target).read()),
        "list": says(lambda: os.listdir("/")),
        "socket": says(lambda: socket.socket()),
        "listen": says(lambda: socket.create_server(("127.0.0.1", 0))),
        "write": says(lambda: os.pwrite(os.open("/tmp", os.O_TMPFILE | os.O_RDWR), b"xy", 0)),
        "kill": says(lambda: os.kill(os.getppid(), 0)),
        "memory": says(lambda: mmap.mmap(-1, 1 << 30)),
        "capabilities": next(l for l in open("/proc/self/status") if l.startswith("CapEff")).split()[1]
            if says(lambda: open("/proc/self/status")) == "works" else None,
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "locked": resource.getrlimit(resource.RLIMIT_MEMLOCK),
        "descriptors": says(lambda: [os.dup(0) for _ in range(64)]),
    }

jail = layers.prepare("standard")
def nothing(): pass
def leave(): layers.leave(jail)
def limit(): layers.limit(jail, seconds=1, memory_bytes=64 << 20)
def landlock(): kernel.no_new_privileges(); kernel.landlock()
def filter_calls(): kernel.no_new_privileges(); kernel.filter_calls()
for layer in (nothing, leave, limit, landlock, filter_calls):
    if os.fork() == 0:
        layer()
        print(json.dumps([layer.__name__, attempts() if layer is not filter_calls else {
            "read": says(lambda: open(target)), "socket": says(lambda: socket.socket()),
            "kill": says(lambda: os.kill(os.getpid(), 0)), "memory": says(lambda: mmap.mmap(-1, 1 << 30))}]), flush=True)
        os._exit(0)
    os.wait()
print(json.dumps(["jail", [*(jail.users and (jail.users[0], jail.users[-1]) or (0, 0)), jail.mapped_bytes]]), flush=True)
for orphan in (False, True):
    if os.fork() == 0:
        try: layers.leave(replace(jail, parent=jail.parent + orphan))
        except ProcessLookupError as problem: print(json.dumps(["orphan", [str(problem)]]))
        else: print(json.dumps(["another", [os.getuid()]]))
        sys.stdout.flush()
        os._exit(0)
    os.wait()
if os.fork() == 0:
    layers.limit(jail, seconds=0, memory_bytes=64 << 20)
    while True: pass
print(json.dumps(["busy", [os.wait()[1]]]))
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What works with nothing, and with each layer."""
    if (why := refused("standard")) is not None:
        pytest.skip(f"this machine has no level 'standard': {why}")
    target = tmp_path_factory.mktemp("layers") / "file"
    target.write_text("x")
    command = [sys.executable, "-P", "-s", "-c", ALONE, str(ROOT), str(target)]
    ran = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=60)
    return dict(json.loads(line) for line in ran.stdout.splitlines())


def changed(alone: dict[str, dict[str, object]], layer: str) -> dict[str, object]:
    before, after = alone["nothing"], alone[layer]
    return {name: after[name] for name in after if after[name] != before[name]}


def test_limits_are_memory_files_and_descriptors(alone: dict[str, dict[str, object]]) -> None:
    after = alone["limit"]
    changes = {name: after[name] for name in changed(alone, "limit") if name not in {"priority", "locked"}}
    assert changes == {"memory": "ENOMEM", "write": "EFBIG", "descriptors": "EMFILE"}
    assert after["locked"] == [0, 0]


def test_a_job_goes_behind_the_service(alone: dict[str, dict[str, object]]) -> None:
    assert alone["limit"]["priority"] == min(19, int(str(alone["nothing"]["priority"])) + layers.NICE)


def test_a_job_that_uses_up_its_processor_time_is_told_so(alone: dict[str, dict[str, object]]) -> None:
    (status,) = alone["busy"]
    assert os.WTERMSIG(int(status)) == signal.SIGXCPU


def test_a_job_whose_zygote_has_ended_does_not_start(alone: dict[str, dict[str, object]]) -> None:
    (problem,) = alone["orphan"]
    assert "has ended" in problem


@given(start=st.integers(0, 200_000), count=st.integers(0, 300_000))
@example(start=0, count=65536)
@example(start=0, count=2**32)
@example(start=1, count=65536)
@example(start=0, count=70_000)
def test_the_ids_of_jobs_are_mapped_many_and_nobody_elses(start: int, count: int) -> None:
    start, end = max(start, layers.LOWEST_USER), min(start + count, layers.USER_TOP)
    try:
        users = layers.free_users(start, end)
    except OSError:
        # On neither side of `nobody` are there enough.
        assert max(min(end, layers.NOBODY) - start, end - max(start, layers.NOBODY + 1)) < layers.USERS
        return
    assert len(users) >= layers.USERS
    assert start <= users[0] <= users[-1] < end
    assert layers.NOBODY not in users


def test_landlock_takes_every_path_the_ports_and_the_signals(alone: dict[str, dict[str, object]]) -> None:
    after = changed(alone, "landlock")
    assert {name: after[name] for name in ("read", "list", "write")} == dict.fromkeys(
        ("read", "list", "write"), "EACCES"
    )
    # Ports need a newer Landlock than files do, and signals a newer one still.
    assert set(after) <= {"read", "list", "write", "listen", "kill", "capabilities"}
    assert after["capabilities"] is None


def test_the_filter_takes_calls_and_leaves_memory(alone: dict[str, dict[str, object]]) -> None:
    assert alone["filter_calls"] == {"read": "EPERM", "socket": "EPERM", "kill": "EPERM", "memory": "works"}


def test_a_job_has_a_session_and_no_rights(alone: dict[str, dict[str, object]]) -> None:
    after = alone["leave"]
    assert after["session"] is True
    assert int(str(after["capabilities"]), 16) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give its jobs users of their own")
def test_a_job_of_root_has_a_user_of_its_own(alone: dict[str, dict[str, object]]) -> None:
    first, last, mapped = alone["jail"]
    after = alone["leave"]
    assert after["user"] == after["group"]
    assert 1000 <= int(first) <= int(str(after["user"])) <= int(last)
    # Two draws out of ten thousand and more; the same jail, the same parent.
    (another,) = alone["another"]
    assert another != after["user"]
    assert after["groups"] == []
    assert after["kill"] == "EPERM"
    assert int(mapped) > 0
