"""How many programs the sandbox runs, and how late it stops one that does not end.

    python -m evals.bench.sandbox                # every level that this machine has; about a minute
    python -m evals.bench.sandbox --programs 400 --stops 100

For each level: programs per second of wall time and of CPU time, small grid programs with and without numpy, one child for
each program and one for a batch of 20, over one worker. Beside it what else one could do: a fresh interpreter, bubblewrap
around one where it is installed, and `exec` in this process, which isolates nothing and is the limit. CPU time is that of
this process and of all it started. The last table is the time from the call to the answer of an endless loop, over its
deadline. The numbers of one run on a busy machine say little: look at CPU time. Source: evals sheet §5.3; ours.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count

import anyio
import numpy as np
import psutil
from pydantic import JsonValue
from rich.console import Console
from rich.table import Table

from runtime.sandbox.base import Level, Limits, Program
from runtime.sandbox.pool import Pool
from runtime.sandbox.probe import ENVIRONMENT, LEVELS, refused

PLAIN = "def transform(grid):\n    return [list(row)[::-1] for row in zip(*grid)]\n"
NUMPY = "import numpy as np\ndef transform(grid):\n    return np.rot90(np.array(grid), -1)\n"
GRID: JsonValue = [[(3 * row + column) % 10 for column in range(10)] for row in range(10)]
LOOP = "def transform(grid):\n    while True: pass\n"
STUBBORN = """
def transform(grid):
    while True:
        try:
            while True: pass
        except BaseException: pass
"""
BATCH = 20
DEADLINE_S = 0.2
GOAL_SINGLE, GOAL_BATCHED, GOAL_LATE_S = 200.0, 2000.0, 0.050
ALONE = (
    "import json, sys\nsource, grid = json.load(sys.stdin)\nspace = {}\nexec(source, space)\n"
    "value = space['transform'](grid)\nprint(json.dumps(value if isinstance(value, list) else value.tolist()))\n"
)


@dataclass(frozen=True, slots=True)
class Rate:
    """Programs that were run, and what that took."""

    programs: int
    wall_s: float
    cpu_s: float

    @property
    def per_second(self) -> float:
        return self.programs / self.wall_s

    @property
    def per_cpu_second(self) -> float:
        return self.programs / self.cpu_s if self.cpu_s else float("inf")


class Meter:
    """Wall and CPU time of a block: of this process, its children, and their dead."""

    def __init__(self) -> None:
        self.wall_s = self.cpu_s = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), _cpu()
        yield
        self.wall_s, self.cpu_s = time.perf_counter() - wall, _cpu() - cpu


def _cpu() -> float:
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:4]) for process in (me, *me.children(recursive=True)))


_numbers = count()


def again(text: str) -> str:
    """The same program with another text, so that its outcome is not known already."""
    return f"{text}# {next(_numbers)}\n"


async def sandboxed(pool: Pool, text: str, *, batch: int, programs: int) -> Rate:
    """Run programs in batches of this size, one batch after the other; an outcome that is wrong ends the bench."""
    wanted = np.rot90(np.array(GRID), -1).tolist()
    meter = Meter()
    inputs: tuple[JsonValue, ...] = (GRID,)
    await pool.run(Program(again(text), "transform", inputs), tenant="bench")
    with meter.running():
        for _ in range(programs // batch):
            some = [Program(again(text), "transform", inputs) for _ in range(batch)]
            outcomes = await pool.run_batch(some, tenant="bench")
            if any(outcome.cached or outcome.cases[0].value != wanted for outcome in outcomes):
                raise SystemExit(f"a wrong outcome: {outcomes[0]}")
    return Rate(programs // batch * batch, meter.wall_s, meter.cpu_s)


def alone(command: Sequence[str], text: str, programs: int) -> Rate:
    """A process of its own for each program."""
    meter = Meter()
    with meter.running():
        for _ in range(programs):
            subprocess.run(
                [*command, sys.executable, "-I", "-c", ALONE],
                input=json.dumps([text, GRID]),
                text=True,
                env=ENVIRONMENT,
                check=True,
                capture_output=True,
            )
    return Rate(programs, meter.wall_s, meter.cpu_s)


def in_process(text: str, programs: int) -> Rate:
    """`exec` and a call, with the same way in and out as JSON."""
    meter, given = Meter(), json.dumps(GRID)
    with meter.running():
        for _ in range(programs):
            space: dict[str, Callable[[object], list[object] | np.ndarray]] = {}
            exec(compile(again(text), "<program>", "exec"), space)
            value = space["transform"](json.loads(given))
            json.loads(json.dumps(value if isinstance(value, list) else value.tolist()))
    return Rate(programs, meter.wall_s, meter.cpu_s)


async def lateness(pool: Pool, text: str, stops: int) -> list[float]:
    """Seconds from the deadline of an endless program to its answer, for each call."""
    limits, late = Limits(seconds=DEADLINE_S), []
    for _ in range(stops):
        begin = time.perf_counter()
        outcome = await pool.run(Program(text, "transform", (GRID,)), tenant="bench", limits=limits)
        late.append(time.perf_counter() - begin - DEADLINE_S)
        if outcome.cases[0].failure != "timeout":
            raise SystemExit(f"an endless program came to an end: {outcome}")
    return late


async def at(level: Level, work: Callable[[Pool], Awaitable[None]]) -> None:
    """Do something with a pool of one worker at a level."""
    pool = Pool(lambda: level, workers=1, jobs_per_worker=1 << 30)
    try:
        await work(pool)
    finally:
        await pool.aclose()


async def measure(programs: int, stops: int, console: Console) -> bool:
    """Print both tables; whether the goals are met at level standard, by CPU time for the rates."""
    rates = Table("way", "numpy", "programs/s", "per CPU-second", title="small grid programs, one core")
    stopped = Table(
        "level", "program", "p50 ms", "p99 ms", "worst ms", title=f"late after {DEADLINE_S} s, {stops} each"
    )
    for column in (*rates.columns[2:], *stopped.columns[2:]):
        column.justify = "right"
    met = True

    def add(way: str, text: str, rate: Rate) -> None:
        rates.add_row(way, "yes" if text is NUMPY else "", f"{rate.per_second:,.0f}", f"{rate.per_cpu_second:,.0f}")

    async def one_level(pool: Pool) -> None:
        nonlocal met
        level = pool.level
        for text in (PLAIN, NUMPY):
            single = await sandboxed(pool, text, batch=1, programs=programs)
            batched = await sandboxed(pool, text, batch=BATCH, programs=programs * 5)
            add(f"{level}, single", text, single)
            add(f"{level}, batches of {BATCH}", text, batched)
            if level == "standard" and text is NUMPY:
                met &= single.per_cpu_second >= GOAL_SINGLE
            if level == "standard":
                met &= batched.per_cpu_second >= GOAL_BATCHED
        for name, text in (("a loop", LOOP), ("a loop that catches", STUBBORN)):
            late = np.array(await lateness(pool, text, stops))
            p50, p99, worst = np.percentile(late, [50, 99, 100])
            stopped.add_row(level, name, *(f"{1000 * value:.1f}" for value in (p50, p99, worst)))
            met &= level != "standard" or bool(p99 <= GOAL_LATE_S)

    for level in LEVELS:
        if (why := refused(level)) is None:
            await at(level, one_level)
        else:
            console.print(f"{level}: not on this machine: {why}")
    bubblewrap = shutil.which("bwrap")
    caged = [bubblewrap or "", "--unshare-all", "--ro-bind", "/", "/", "--as-pid-1"]
    for text in (PLAIN, NUMPY):
        few = max(programs // 20, 5)
        add("fresh interpreter", text, alone([], text, few))
        if bubblewrap is not None:
            add("bubblewrap and interpreter", text, alone(caged, text, few))
        add("exec in this process", text, in_process(text, programs * 10))
    if bubblewrap is None:
        console.print("bubblewrap is not installed")
    console.print(rates)
    console.print(stopped)
    return met


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 when the goals of level standard are missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--programs", type=int, default=300, help="single programs of each kind; five times as many batched"
    )
    parser.add_argument("--stops", type=int, default=30, help="endless programs of each kind")
    given = parser.parse_args(arguments)
    console = Console()
    met = anyio.run(measure, given.programs, given.stops, console)
    console.print(
        f"goals at standard: {GOAL_SINGLE:.0f} programs and, batched, {GOAL_BATCHED:.0f} for each CPU-second with numpy, "
        f"p99 of a stop {1000 * GOAL_LATE_S:.0f} ms: {'met' if met else 'missed'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
