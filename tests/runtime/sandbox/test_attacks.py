"""Whoever attacks from within the sandbox gets nothing, at every level that this machine has."""

from __future__ import annotations

import _ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime.sandbox.base import Level, Limits, Outcome, Program
from runtime.sandbox.layers import TASKS
from runtime.sandbox.pool import Pool
from runtime.sandbox.probe import LEVELS, refused
from tests.runtime.sandbox.attacks import BOMBS, DANGEROUS, DEEP_SOURCES, REAL, REFUSED, REFUSED_BY_ERROR, source

pytestmark = pytest.mark.anyio

SHORT = Limits(seconds=0.25, memory_bytes=512 << 20, output_bytes=32 << 10)
# For what ends by itself, on a machine that has other things to do.
AMPLE = replace(SHORT, seconds=5.0)
SECRET = "sk-planted-0123456789"


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=LEVELS)
def level(request: pytest.FixtureRequest) -> Level:
    level: Level = request.param
    why = refused(level)
    if why is not None:
        pytest.skip(f"this machine has no level {level!r}: {why}")
    return level


@pytest.fixture(scope="module")
async def pool(level: Level) -> AsyncIterator[Pool]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLANTED", SECRET)
        pool = Pool(lambda: level, workers=1)
        yield pool
        await pool.aclose()


@pytest.fixture(scope="module")
def target() -> Iterator[dict[str, Any]]:
    """What attackers want, where only a sandbox can keep it from them: readable and writable by all."""
    folder = Path(tempfile.mkdtemp(prefix="mneme-attack-"))
    folder.chmod(0o777)
    for name, text in {
        "file": "private",
        "mine": "x",
        "mine2": "x",
        "a.txt": "1 2",
        "planted.py": "WORD = 'OUT'",
    }.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o666)
    np.save(folder / "a.npy", np.zeros(3))
    (folder / "link").symlink_to(folder / "file")
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield {
            "file": str(folder / "file"),
            "folder": str(folder),
            "parent": os.getpid(),
            "port": server.getsockname()[1],
            "secret": SECRET,
            "library": str(shutil.copy(_ctypes.__file__, folder / "library.so")),
        }
    shutil.rmtree(folder)


def test_the_attacks_succeed_without_a_sandbox(target: Mapping[str, Any]) -> None:
    programs = {f"{family}: {name}": source(body) for family, bodies in REAL.items() for name, body in bodies.items()}
    script = (
        "import json, sys\nprograms, x = json.load(sys.stdin)\n"
        "said = {}\n"
        "for name, text in programs.items():\n"
        "    space = {}\n"
        "    exec(text, space)\n"
        "    try: said[name] = space['attack'](x)\n"
        "    except BaseException as e: said[name] = repr(e)\n"
        "print(json.dumps(said))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([programs, target]),
        env={"PLANTED": SECRET, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    said = json.loads(ran.stdout.splitlines()[-1])
    assert {name: word for name, word in said.items() if word != "OUT"} == {}


@pytest.mark.parametrize("family", REAL)
async def test_attacks_are_refused(pool: Pool, target: dict[str, Any], family: str) -> None:
    programs = {name: Program(source(body), "attack", (target,)) for name, body in REAL[family].items()}
    outcomes = {name: await pool.run(program, tenant="eve", limits=AMPLE) for name, program in programs.items()}
    assert {name: said(outcome) for name, outcome in outcomes.items() if not is_refusal(outcome)} == {}
    assert (await pool.run(Program("def f(x): return x + 1", "f", (1,)), tenant="eve")).cases[0].value == 2
    with open(target["file"]) as file:  # noqa: ASYNC230, PTH123 - it is short
        assert file.read() == "private"


@pytest.mark.parametrize("family", DANGEROUS)
async def test_dangerous_calls_are_refused_by_the_filter(pool: Pool, target: dict[str, Any], family: str) -> None:
    for name, call in DANGEROUS[family].items():
        program = Program(source(f"return told(lambda: {call})"), "attack", (target,))
        outcome = await pool.run(program, tenant="eve", limits=AMPLE)
        assert (name, said(outcome)) == (name, REFUSED.get(name, REFUSED_BY_ERROR))
    assert (await pool.run(Program("def f(x): return x + 1", "f", (1,)), tenant="eve")).cases[0].value == 2


def is_refusal(outcome: Outcome) -> bool:
    """An attacker that was told no; not one that failed for a mistake of its own, or died of something else."""
    case = outcome.cases[0]
    if case.failure is None:
        return case.value == "refused"
    return case.failure == "error" and (
        (case.error or "").startswith(
            (
                "PermissionError: [Errno 1] ",
                # The filter says no to umask, and Python believes that it cannot.
                "OSError: [Errno 0] ",
                # Nothing can be imported that was not there before.
                "ModuleNotFoundError: No module named ",
            )
        )
        or (case.error or "").endswith("cannot open shared object file: Operation not permitted")
    )


def said(outcome: Outcome) -> str:
    case = outcome.cases[0]
    return f"{case.failure}: {case.error or case.value}"


async def test_bombs_end_as_what_they_are(pool: Pool) -> None:
    failed = {}
    for name, (wanted, body) in BOMBS.items():
        limits = AMPLE if wanted == "memory" else SHORT
        outcome = await pool.run(Program(source(body), "attack", ({},)), tenant="eve", limits=limits)
        if outcome.cases[0].failure != wanted:
            failed[name] = said(outcome)
    assert failed == {}


async def test_source_that_breaks_compilers_breaks_no_more_than_its_own_process(pool: Pool) -> None:
    for text in DEEP_SOURCES.values():
        outcome = await pool.run(Program(text, "f", (1,)), tenant="eve")
        assert outcome.cases[0].failure in {"error", "memory", "killed", "timeout"}
    assert (await pool.run(Program("def f(x): return [x]", "f", (1,)), tenant="eve")).cases[0].value == [1]


async def test_a_storm_of_threads_ends_at_the_limit_of_tasks(pool: Pool) -> None:
    body = """
threading.stack_size(32768)
count = 0
try:
    while count < 1000:
        threading.Thread(target=time.sleep, args=(5,), daemon=True).start(); count += 1
except RuntimeError as problem: return [count, str(problem)]
return [count, None]"""
    outcome = await pool.run(Program(source(body), "attack", ({},)), tenant="eve", limits=Limits(seconds=5.0))
    (case,) = outcome.cases
    assert case.failure is None
    assert isinstance(case.value, list)
    count, problem = case.value
    assert problem == "can't start new thread"
    # A job of root has a user of its own, whose first task it is; otherwise all that the user runs counts.
    assert count == TASKS - 1 if os.geteuid() == 0 else count in range(TASKS)


async def test_what_is_printed_is_cut(pool: Pool) -> None:
    text = "def f(x):\n    print('x' * 10**7)\n    print('y')\n    return 1"
    case = (await pool.run(Program(text, "f", (1,)), tenant="eve", limits=AMPLE)).cases[0]
    assert (case.value, case.stdout) == (1, "x" * SHORT.output_bytes)


async def test_a_child_holds_its_result_and_nothing_else(pool: Pool) -> None:
    text = """
def attack(x):
    import os
    found = []
    for descriptor in range(64):
        try:
            os.close(descriptor)
            if descriptor != 3: found.append(descriptor)
        except OSError: pass
    raise LookupError(found)
"""
    # It closes its own result on the way: the standard three are all that is left to find, and lead nowhere.
    assert (await pool.run(Program(text, "attack", (1,)), tenant="eve")).cases[0].failure == "killed"
    kept = text.replace("range(64)", "(0, 1, 2, *range(4, 64))")
    error = (await pool.run(Program(kept, "attack", (1,)), tenant="eve")).cases[0].error
    assert error == "LookupError: [0, 1, 2]"
