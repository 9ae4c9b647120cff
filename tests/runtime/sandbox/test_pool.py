"""The pool: honest programs get exact answers, tenants get nothing of each other, nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Sequence
from types import ModuleType

import numpy as np
import psutil
import pytest
from pydantic import JsonValue

from runtime.errors import SandboxUnavailable
from runtime.sandbox.base import Case, Level, Limits, Outcome, Program, Sandbox
from runtime.sandbox.pool import Pool, choose, open_sandbox
from runtime.sandbox.probe import LEVELS, Offer, refused
from runtime.sandbox.reading import read
from runtime.sandbox.worker import Answer, Job
from runtime.settings import SandboxSettings, Settings

pytestmark = pytest.mark.anyio

SHORT = Limits(seconds=0.3)
LOOP = "def f(x):\n    while True: pass"
STUBBORN = "def f(x):\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass"


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
    pool = Pool(lambda: level, workers=1)
    yield pool
    await pool.aclose()


@pytest.fixture(scope="module")
async def standard() -> AsyncIterator[Pool]:
    """For what does not depend on the level."""
    pool = Pool(lambda: "standard", workers=1)
    yield pool
    await pool.aclose()


def program(body: str, *inputs: JsonValue, entry: str = "f") -> Program:
    return Program(body, entry, inputs or (1,))


async def cases(pool: Sandbox, source: str, *inputs: JsonValue, limits: Limits = SHORT) -> Sequence[Case]:
    return (await pool.run(program(source, *inputs), tenant="ann", limits=limits)).cases


NUMPY = """
import numpy as np
from collections import Counter
from dataclasses import dataclass

@dataclass
class Box:
    colour: int

def f(grid):
    a = np.array(grid)
    box = Box(Counter(a.ravel().tolist()).most_common(1)[0][0])
    w = np.linalg.svd(a.astype(float), compute_uv=False)
    r = np.random.default_rng(3).integers(0, 10, 4)
    return {"turned": np.rot90(a), "n": a.sum(), "mean": a.mean(), "any": (a > 3).any(), "most": box.colour,
            "fft": np.abs(np.fft.fft(a[0])), "w": w, "r": r, "rows": [tuple(row) for row in a]}
"""


async def test_honest_programs_get_what_they_get_without_a_sandbox(
    pool: Pool, level: Level, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = np.random.default_rng(1).integers(0, 10, (30, 30)).tolist()
    outcome = await pool.run(program(NUMPY, grid, [[1, 2], [3, 4]]), tenant="ann")
    assert [(case.failure, case.error) for case in outcome.cases] == [(None, None)] * 2
    assert (outcome.level, outcome.cached) == (level, False)
    assert 0 < outcome.cpu_seconds < 2
    unsandboxed = ModuleType("program")
    monkeypatch.setitem(sys.modules, "program", unsandboxed)
    exec(NUMPY, vars(unsandboxed))
    for case, given in zip(outcome.cases, (grid, [[1, 2], [3, 4]]), strict=True):
        expected = vars(unsandboxed)["f"](given)
        assert isinstance(case.value, dict)
        for name, value in expected.items():
            np.testing.assert_array_equal(np.array(case.value[name]), np.array(value), err_msg=name)


async def test_an_infinite_loop_stops_at_its_limit_and_the_calls_before_it_count(pool: Pool) -> None:
    source = "def f(x):\n    print('seen', x)\n    while x == 2: pass\n    return x"
    begin = time.monotonic()
    first, second, third = await cases(pool, source, 1, 2, 3)
    assert 0.3 <= time.monotonic() - begin < 2
    assert (first.value, first.stdout) == (1, "seen 1\n")
    assert (second.failure, third.failure) == ("timeout", "timeout")


async def test_files_and_sockets_fail_and_say_so(pool: Pool) -> None:
    (case,) = await cases(pool, "def f(x): open('out.txt', 'w')")
    assert case == Case(failure="error", error="PermissionError: [Errno 1] Operation not permitted: 'out.txt'")
    (case,) = await cases(pool, "import socket\ndef f(x): socket.socket()")
    assert case == Case(failure="error", error="PermissionError: [Errno 1] Operation not permitted")


async def test_programs_of_a_batch_stand_alone(standard: Pool) -> None:
    sources = [
        "seen = []\ndef f(x):\n    seen.append(x)\n    return seen",
        "import random\ndef f(x): return random.random()",
        "def f(x): raise ValueError('no')",
        LOOP,
        "import numpy as np\ndef f(x): return np.random.rand()",
        STUBBORN,
        "def f(x): return len(globals().get('seen', []))",
        "import os\ndef f(x): os._exit(1)",
        "import sys\nsys.setrecursionlimit(50)\ndef f(x): return 1",
        "def f(x):\n    g = lambda n: n and g(n - 1)\n    return g(200)",
        "import threading, time\ndef f(x):\n    threading.Thread(target=time.sleep, args=(9,)).start()\n    return 2",
        "def f(x): return x",
    ]
    # Enough for a thread to start on a busy machine.
    limits = Limits(seconds=1.0)
    outcomes = await standard.run_batch([program(s, 7, 8) for s in sources], tenant="ann", limits=limits)
    for source, outcome in zip(sources, outcomes, strict=True):
        alone = await standard.run(program(source, 7, 8), tenant="bob", limits=limits)
        assert outcome.cases == alone.cases, source
    assert [outcome.cases[0].failure for outcome in outcomes] == [
        None, None, "error", "timeout", None, "timeout", None, "killed", None, None, None, None,
    ]  # fmt: skip
    assert outcomes[0].cases[1].value == [7, 8]


async def test_a_batch_that_says_more_than_one_program_may_gets_all_of_its_answers(standard: Pool) -> None:
    loud = "def f(x):\n    print('\\x01' * 10**6)\n    return 'x' * 65000 + '{}'"
    outcomes = await standard.run_batch([program(loud.format(n)) for n in range(10)], tenant="ann")
    for n, outcome in enumerate(outcomes):
        assert outcome.cases == (Case(value="x" * 65000 + str(n), stdout="\x01" * Limits().output_bytes),)


async def test_an_answer_that_is_forged_is_not_kept(standard: Pool) -> None:
    forger = """
import os
def f(x):
    os.write(3, b'["mine", null, null, ""]\\n\\x1e' * 2)
    os._exit(0)
"""
    honest = "def f(x): return 'own'"
    forged = await standard.run_batch([program(forger), program(honest)], tenant="ann")
    assert [outcome.cases[0].value for outcome in forged] == ["mine", "mine"]
    again = await standard.run(program(honest), tenant="ann")
    assert (again.cases[0].value, again.cached) == ("own", False)


async def test_a_child_cannot_send_more_than_its_limits_allow(standard: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, bool]] = []

    def reads(programs: list[Program], answer: Answer, level: Level, limits: Limits) -> list[tuple[Outcome, bool]]:
        seen.append((len(answer.body), threading.current_thread() is threading.main_thread()))
        return read(programs, answer, level, limits)

    monkeypatch.setattr("runtime.sandbox.pool.read", reads)
    body = "import os\ndef f(x):\n    for _ in range({}): os.write(3, b'[' + b'[],' * 20000)\n    os.write(3, {})"
    end = "b'[]], null, null, \"\"]\\n\\x1e'"
    flood = (await standard.run(program(body.format(900, end)), tenant="ann", limits=SHORT)).cases[0]
    assert flood == Case(failure="output", error="more output than the limit")
    value = (await standard.run(program(body.format(7, end)), tenant="ann", limits=SHORT)).cases[0]
    assert value.failure is not None
    assert (await cases(standard, "def f(x): return 6"))[0].value == 6
    assert [main for _, main in seen] == [False, False, True]
    assert all(size <= Job(b"", 1, 1, SHORT).most_bytes < 600_000 for size, _ in seen)
    assert Job(b"", 64, 4, SHORT).most_bytes < 2_000_000


async def test_the_setting_is_the_most_that_a_program_gets(settings: Settings) -> None:
    short = settings.model_copy(update={"sandbox": SandboxSettings(seconds=0.3, workers=1)})
    async with open_sandbox(short) as sandbox:
        async with asyncio.timeout(20):
            (case,) = await cases(sandbox, STUBBORN, limits=Limits(seconds=60))
        assert case.failure == "timeout"
        sleep = "import time\ndef f(x):\n    time.sleep(0.15)\n    return x"
        assert (await cases(sandbox, sleep, limits=Limits(seconds=60)))[0].value == 1
        assert (await cases(sandbox, sleep, limits=Limits(seconds=0.05)))[0].failure == "timeout"


async def test_nobody_waits_for_all_that_another_asks_for(standard: Pool) -> None:
    crowd = [asyncio.create_task(standard.run(program(LOOP, n), tenant="eve", limits=SHORT)) for n in range(8)]
    await asyncio.sleep(0.05)
    assert (await cases(standard, "def f(x): return 'in between'"))[0].value == "in between"
    assert sum(task.done() for task in crowd) <= 2
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)


async def test_values_that_are_not_json_are_told(standard: Pool) -> None:
    (case,) = await cases(standard, "def f(x): return {1, 2}")
    assert case.failure == "error"
    assert case.error == "TypeError: returned a set that is not JSON (set has no JSON form): {1, 2}"
    (case,) = await cases(standard, "import numpy as np\ndef f(x): return np.array([1.0, np.nan])")
    assert (case.failure, case.value) == ("error", None)
    (case,) = await cases(standard, "def f(x): return [[x, 10], [[3]]]")
    assert case == Case(value=[[1, 10], [[3]]])


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("def g(x): return 1", "NameError: the program defines no function 'f'"),
        ("def f(x: return 1", "SyntaxError: invalid syntax"),
        ("f = 3", "NameError: the program defines no function 'f'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def f(): return 1", "TypeError: f() takes 0 positional arguments but 1 was given"),
    ],
)
async def test_broken_programs_are_told_what_is_wrong(standard: Pool, source: str, error: str) -> None:
    first, second = await cases(standard, source, 1, 2)
    assert (first.failure, first.error) == (second.failure, second.error) == ("error", error)


async def test_an_input_that_a_program_changes_is_whole_for_the_next(standard: Pool) -> None:
    shared: tuple[JsonValue, ...] = ([1], [1])
    source = "def f(x):\n    x.append(2)\n    return x"
    outcomes = await standard.run_batch([Program(source + " " * n, "f", shared) for n in (0, 1)], tenant="ann")
    assert [case.value for outcome in outcomes for case in outcome.cases] == [[1, 2]] * 4


async def test_known_programs_are_not_run_again(standard: Pool) -> None:
    source = "import time\ndef f(x): return time.time()"
    first = await standard.run(program(source), tenant="ann")
    again = await standard.run(program(source), tenant="ann")
    assert (again.cases, again.cached, first.cached) == (first.cases, True, False)
    assert not (await standard.run(program(source), tenant="bob")).cached
    assert not (await standard.run(program(source, 2), tenant="ann")).cached
    assert not (await standard.run(program(source), tenant="ann", limits=Limits(seconds=1))).cached
    await standard.run(program(LOOP), tenant="ann", limits=SHORT)
    assert not (await standard.run(program(LOOP), tenant="ann", limits=SHORT)).cached
    twice = await standard.run_batch([program(source, 5), program(source, 5)], tenant="ann")
    assert twice[0] == twice[1]


async def test_the_worker_keeps_nothing_of_a_job_that_the_next_child_would_inherit() -> None:
    pool = Pool(lambda: "standard", workers=1)
    word = os.urandom(8).hex()
    try:
        await pool.run(program(f"WORD = '{word}'\ndef f(x): print(WORD); return [WORD, x]", word), tenant="ann")
        (worker,) = [place.worker for place in pool._places if place.worker is not None]
        assert word.encode() in memory_of(worker.pid, inherited=False)
        assert word.encode() not in memory_of(worker.pid, inherited=True)
        # This is how a child would find it: the loaded modules are there.
        assert b"The service gives the job up" in memory_of(worker.pid, inherited=True)
    finally:
        await pool.aclose()


def memory_of(pid: int, *, inherited: bool) -> bytes:
    """The writable memory of a process that its children get, or that which is kept from them (`dc`)."""
    found, start, end, readable = [], 0, 0, False
    with open(f"/proc/{pid}/smaps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:  # noqa: PTH123
        for line in maps:
            words = line.split()
            if "-" in words[0] and not words[0].endswith(":"):
                start, end = (int(word, 16) for word in words[0].split("-"))
                readable = words[1].startswith("rw")
            elif words[0] == "VmFlags:" and readable and ("dc" in words) != inherited:
                memory.seek(start)
                found.append(memory.read(end - start))
    return b"".join(found)


async def test_a_cancelled_caller_takes_its_program_along(standard: Pool) -> None:
    task = asyncio.create_task(standard.run(program(STUBBORN), tenant="ann", limits=Limits(seconds=60)))
    await asyncio.sleep(0.3)
    (child,) = [c for c in psutil.Process().children(recursive=True) if c.ppid() in workers(standard)]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gone, alive = await asyncio.to_thread(psutil.wait_procs, [child], timeout=3)
    assert (len(gone), alive) == (1, [])
    assert (await cases(standard, "def f(x): return 3"))[0].value == 3


def workers(pool: Pool) -> list[int]:
    return [place.worker.pid for place in pool._places if place.worker is not None]


async def test_a_worker_that_dies_is_replaced(standard: Pool) -> None:
    await cases(standard, "def f(x): return 1")
    (pid,) = workers(standard)
    psutil.Process(pid).kill()
    assert (await cases(standard, "def f(x): return 4"))[0].value == 4
    assert workers(standard) != [pid]


@pytest.mark.slow
async def test_a_thousand_jobs_leave_nothing_behind(level: Level) -> None:
    me = psutil.Process()
    others = {child.pid for child in me.children(recursive=True)}
    pool = Pool(lambda: level, workers=1, jobs_per_worker=10_000)
    texts = [f"import os\ndef f(x):\n    if {n} % 100 == 0: os._exit(0)\n    return {n}" for n in range(1000)]
    await pool.run(program("def f(x): return 0"), tenant="ann")

    def descriptors() -> dict[int, int]:
        mine = [me, *(child for child in me.children(recursive=True) if child.pid not in others)]
        return {process.pid: process.num_fds() for process in mine}

    before = descriptors()
    outcomes = [await pool.run(program(text), tenant="ann") for text in texts]
    assert descriptors() == before
    assert [o.cases[0].value for o in outcomes] == [None if n % 100 == 0 else n for n in range(1000)]
    await pool.aclose()
    assert {child.pid for child in me.children(recursive=True)} <= others


async def test_workers_are_replaced_after_their_share() -> None:
    pool = Pool(lambda: "standard", workers=1, jobs_per_worker=2)
    try:
        seen = []
        for n in range(3):
            await pool.run(program(f"def f(x): return {n}"), tenant="ann")
            seen += workers(pool)
        assert seen[0] == seen[1] != seen[2]
        assert not psutil.pid_exists(seen[0])
    finally:
        await pool.aclose()


async def test_two_run_at_once_and_their_results_do_not_mix() -> None:
    pool = Pool(lambda: "standard", workers=2)
    try:
        runs = [pool.run(program(f"def f(x): return [{n}] * 5000"), tenant=f"t{n}") for n in range(20)]
        outcomes: list[Outcome] = await asyncio.gather(*runs)
        assert [outcome.cases[0].value for outcome in outcomes] == [[n] * 5000 for n in range(20)]
    finally:
        await pool.aclose()


def test_a_level_that_is_missing_is_an_error() -> None:
    strict, usual = SandboxSettings(min_level="strong"), SandboxSettings()
    weak = SandboxSettings(allow_weak=True)
    standard = Offer("standard", (("strong", "unshare: not permitted"),))
    reduced = Offer("reduced", (*standard.missing, ("standard", "Landlock: not implemented")))
    nothing = Offer(None, (*reduced.missing, ("reduced", "no fork")))
    assert choose(Offer("strong", ()), strict) == "strong"
    assert choose(standard, usual, serving=True) == "standard"
    assert choose(reduced, weak) == "reduced"
    for offer, settings, text in [
        (standard, strict, "expected level 'strong' or better, this machine has standard; strong is missing: unshare"),
        (reduced, usual, "standard is missing: Landlock: not implemented; for development"),
        (nothing, weak, "this machine has no level"),
        (reduced, SandboxSettings(allow_weak=True, min_level="strong"), "expected level 'strong'"),
    ]:
        with pytest.raises(SandboxUnavailable, match=text):
            choose(offer, settings)
    with pytest.raises(SandboxUnavailable, match="a server runs no code at level 'reduced'"):
        choose(reduced, weak, serving=True)


async def test_a_sandbox_that_is_missing_is_the_error_of_the_call(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runtime.sandbox.pool.offered", lambda: Offer(None, (("reduced", "no fork"),)))
    async with open_sandbox(settings, serving=True) as sandbox:
        with pytest.raises(SandboxUnavailable, match="this machine has no level; reduced is missing: no fork"):
            await sandbox.run(program("def f(x): return 1"), tenant="ann")


async def test_a_closed_sandbox_runs_nothing(settings: Settings) -> None:
    async with open_sandbox(settings) as sandbox:
        assert sandbox.level in LEVELS
        assert (await cases(sandbox, "def f(x): return x"))[0].value == 1
    with pytest.raises(SandboxUnavailable, match="it is closed"):
        await cases(sandbox, "def f(x): return x + 1")
