"""What the search costs beside the model's calls, and which rules find and choose the better answers.

    python -m evals.bench.search                         # all three, few repetitions
    python -m evals.bench.search --repeats 1000          # the run to quote
    python -m evals.bench.search --only overhead --nodes 10000

- `overhead`: rollouts per second with a problem that answers at once, while the tree grows.
- `searches`: over simulated questions (judged_world.py): regret, the worth of the best answer that any search made of the
  question less that of the answer given; then of rules that only choose, on the same trees.
- `stopping`: what stopping early saves, and what it costs.

The constants of `evidence` were set on questions of other seeds than these. Intervals are 95 %, of the mean or of the
paired difference to the first line. Source: empirical_mcts §3, §6; ours.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Final

import anyio
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from evals.bench.judged_world import Question, World
from runtime.budget import Budget as Limits
from search.base import Budget, Evaluation, Expansion, Made
from search.beam import beam
from search.best_of_n import best_of_n
from search.events import BackedUp, TreeEvent
from search.final import choose
from search.mcts import mcts
from search.profile import EVIDENCE, PUBLISHED, ROBUST, Profile
from search.tree import Node, Tree

Search = Callable[..., AsyncIterator[TreeEvent]]
PARTS: Final = ("overhead", "searches", "stopping")
ROLLOUTS: Final = (4, 8, 16)
SEED: Final = 1_000_000
WORLDS: Final = {
    "open, skill is inherited": World("open"),
    "open, children echo their parent": World("open", drift=0.0, echo=0.9),
    "closed": World("closed"),
    "closed, children echo their parent": World("closed", drift=0.0, echo=0.9),
    "closed, a poor judge": World("closed", noise=3.0, bias=1.5),
}
NO_STOP: Final = replace(EVIDENCE, stop_at=None)


# -- overhead ----------------------------------------------------------------------------------------------------------


class Instant:
    """A problem that costs nothing: answers inherit a worth, the judge adds noise."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(seed)
        self._worth = [0.0]

    async def root(self) -> Made:
        """See `Problem`."""
        return Made("0")

    async def expand(self, tree: Tree, node: Node, how: Expansion) -> Made | None:
        """See `Problem`."""
        above = self._worth[node.id] if how.parent is not None else 0.0
        self._worth.append(0.7 * above + self._rng.gauss(0.0, 1.0))
        return Made(str(len(tree)))

    async def compare(self, tree: Tree, child: Node, opponent: Node) -> Evaluation | None:
        """See `Problem`."""
        a, b = (5.5 + self._worth[number] + self._rng.gauss(0.0, 1.0) for number in (child.id, opponent.id))
        return Evaluation(a, b, self._rng.random() < 0.5)

    async def learn(self, tree: Tree, child: Node, evaluations: Sequence[Evaluation]) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Rollouts per second of one search while its tree grew to `nodes`: by the clock, and by the time of the
    processor."""

    name: str
    nodes: int
    wall: float
    cpu: float


async def speeds(name: str, search: Search, profile: Profile, marks: Sequence[int]) -> list[Speed]:
    """Grow one tree to the last mark; a figure is of the rollouts since the mark before."""
    rows: list[Speed] = []
    budget = Budget(marks[-1])
    gc.collect()
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    async for event in search(Instant(1), budget=budget, rng=Random(1), profile=profile):
        if isinstance(event, BackedUp) and event.iteration in marks:
            count = event.iteration - done
            rows.append(
                Speed(name, event.iteration, count / (time.perf_counter() - wall), count / (time.process_time() - cpu))
            )
            done, wall, cpu = event.iteration, time.perf_counter(), time.process_time()
    return rows


def exponent(rows: Sequence[Speed]) -> float:
    """How the processor time of a whole search grows with its size: 1 is linear, 2 quadratic."""
    sizes = np.array([row.nodes for row in rows])
    parts = np.diff(sizes, prepend=0) / np.array([row.cpu for row in rows])
    slope, _ = np.polyfit(np.log(sizes), np.log(np.cumsum(parts)), 1)
    return float(slope)


async def overhead(nodes: int, console: Console) -> None:
    """The table of part `overhead`."""
    table = Table(title="engine overhead: rollouts per second with an instant problem")
    for column in ("search", "to nodes", "rollouts/s", "rollouts/s of processor", "time grows as n^"):
        table.add_column(column, justify="left" if column == "search" else "right")
    whole = [max(1, nodes * share // 100) for share in (1, 10, 30, 60, 90, 100)]
    # The posterior is a dense matrix: cubic in the nodes, and meant for searches of tens of them.
    small = [16, 64, 256]
    arms: list[tuple[str, Search, Profile, list[int]]] = [
        ("published", mcts, PUBLISHED, whole),
        ("robust", mcts, ROBUST, whole),
        ("best of n", best_of_n, ROBUST, [n for n in whole if n <= 3000] or whole),
        ("evidence", mcts, NO_STOP, [n for n in small if n <= nodes]),
    ]
    for name, search, profile, marks in arms:
        rows = await speeds(name, search, profile, sorted(set(marks)))
        for row in rows:
            last = row is rows[-1] and len(rows) > 1
            growth = f"{exponent(rows):.2f}" if last else ""
            table.add_row(row.name, f"{row.nodes}", f"{row.wall:.0f}", f"{row.cpu:.0f}", growth, end_section=last)
    console.print(table)


# -- simulated questions -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arm:
    """A search with its rules. `at_calls`: it may make the calls of `published` and no more, in as many rollouts as
    they give."""

    name: str
    search: Search
    profile: Profile
    at_calls: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one search of one question came to: worth of the answer, of the best answer made, calls, and the tree."""

    worth: float
    best: float
    calls: int
    tree: Tree
    question: Question


ARMS: Final = (
    Arm("published", mcts, PUBLISHED),
    Arm("robust (ucb)", mcts, ROBUST),
    Arm("robust, puct", mcts, replace(ROBUST, selection="puct")),
    Arm("robust, thompson", mcts, replace(ROBUST, selection="thompson")),
    Arm("robust, vote", mcts, replace(ROBUST, final="vote")),
    Arm("best of n", best_of_n, ROBUST),
    Arm("best of n, vote", best_of_n, replace(ROBUST, final="vote")),
    Arm("beam", beam, ROBUST),
    Arm("evidence, children only", mcts, replace(NO_STOP, expansions=("child",))),
    Arm("evidence, no early stop", mcts, NO_STOP),
    Arm("evidence", mcts, EVIDENCE),
    Arm("evidence, equal calls", mcts, EVIDENCE, at_calls=True),
)


async def outcome(arm: Arm, world: World, rollouts: int, seed: int) -> Outcome:
    """Search one question to its end."""
    question, tree = Question(world, seed), Tree(arm.profile)
    budget = Budget(rollouts)
    if arm.at_calls:
        budget = Budget(2 * rollouts, Limits(calls=1 + 2 * rollouts), question.spent)
    async for _ in arm.search(question, budget=budget, rng=Random(seed), profile=arm.profile, tree=tree):
        pass
    made = question.worth[: len(tree)]
    return Outcome(question.worth[choose(tree).best], max(made), question.calls, tree, question)


def mean_of(values: Sequence[float] | NDArray[np.float64], *, signed: bool = False) -> str:
    """Mean and half width of its 95 % interval."""
    data = np.asarray(values, np.float64)
    half = 1.96 * data.std(ddof=1) / len(data) ** 0.5 if len(data) > 1 else float("nan")
    return f"{data.mean():{'+' if signed else ''}.3f} ±{half:.3f}"


async def searches(repeats: int, console: Console) -> None:
    """The tables of part `searches`, two for each world."""
    for title, world in WORLDS.items():
        arms = [arm for arm in ARMS if world.kind == "closed" or arm.profile.final != "vote"]
        found: dict[int, dict[str, list[Outcome]]] = {}
        for rollouts in ROLLOUTS:
            found[rollouts] = {arm.name: [] for arm in arms}
            for seed in track(range(SEED, SEED + repeats), f"{title}, T = {rollouts}", console=console, transient=True):
                for arm in arms:
                    found[rollouts][arm.name].append(await outcome(arm, world, rollouts, seed))
        console.print(compared(title, found), chosen(title, [found[rollouts]["robust (ucb)"] for rollouts in ROLLOUTS]))


def compared(title: str, found: Mapping[int, Mapping[str, Sequence[Outcome]]]) -> Table:
    """One line for each search: at each T its regret, what it gains over the first line, and the calls it made."""
    (first, *_), *_ = found.values()
    table = Table(title=f"{title}: {len(found[ROLLOUTS[0]][first])} questions; regret, gain over {first}, calls")
    table.add_column("search")
    for rollouts in found:
        table.add_column(f"T = {rollouts}", justify="right")
        table.add_column("gain", justify="right")
        table.add_column("calls", justify="right")
    cells: dict[str, list[str]] = {name: [] for name in found[ROLLOUTS[0]]}
    for by_name in found.values():
        best = np.max([[one.best for one in outcomes] for outcomes in by_name.values()], axis=0)
        reference = np.array([one.worth for one in by_name[first]])
        for name, outcomes in by_name.items():
            worth = np.array([one.worth for one in outcomes])
            gain = "" if name == first else f"{mean_of(worth - reference, signed=True)}"
            calls = np.mean([one.calls for one in outcomes])
            cells[name] += [mean_of(best - worth), gain, f"{calls:.1f}"]
    for name, row in cells.items():
        table.add_row(name, *row)
    return table


def chosen(title: str, trees: Sequence[Sequence[Outcome]]) -> Table:
    """One line for each rule that only chooses; the columns are the numbers of rollouts."""
    table = Table(title=f"{title}: choosing on the trees of robust (ucb); regret against the best answer in the tree")
    for column in ("rule", *(f"T = {rollouts}" for rollouts in ROLLOUTS)):
        table.add_column(column, justify="left" if column == "rule" else "right")
    for name, rule in CHOOSERS.items():
        regrets = [[one.best - one.question.worth[rule(one.tree)] for one in outcomes] for outcomes in trees]
        table.add_row(name, *(mean_of(part) for part in regrets))
    return table


def single_score(tree: Tree) -> int:
    """The answer that the judge gave the highest score when it saw it first."""
    scores: dict[int, float] = {}
    for said in tree.comparisons:
        scores.setdefault(said.opponent, said.s_opponent)
        scores.setdefault(said.child, said.s_child)
    return max(scores, key=lambda number: (scores[number], -number))


def borda(tree: Tree) -> int:
    """The first of the Enhanced Borda Count alone."""
    return max(tree.ok(), key=lambda node: (node.q_global, -node.id)).id


def strongest(tree: Tree) -> int:
    """The highest posterior mean of the Bradley–Terry model."""
    nodes, means = tree.ok(), tree.posterior().mean
    return nodes[int(np.argmax(means))].id


CHOOSERS: Final[dict[str, Callable[[Tree], int]]] = {
    "first answer": lambda tree: 0,
    "single judge score": single_score,
    "Enhanced Borda": borda,
    "Enhanced Borda, fused": lambda tree: choose(tree).best,
    "Bradley–Terry MAP": strongest,
}


async def stopping(repeats: int, console: Console) -> None:
    """The table of part `stopping`: closed questions, where answers can agree."""
    levels = {"never": None, "at .99": 0.99, "at .95": 0.95, "at .90": 0.9, "at .80": 0.8}
    for title, world in WORLDS.items():
        if world.kind != "closed":
            continue
        table = Table(title=f"{title}: stopping early, {repeats} questions")
        for column in ("stop", "T", "right", "to never", "calls", "saved", "stopped early"):
            table.add_column(column, justify="left" if column == "stop" else "right")
        for rollouts in ROLLOUTS:
            found: dict[str, list[Outcome]] = {name: [] for name in levels}
            for seed in track(range(SEED, SEED + repeats), f"{title}, T = {rollouts}", console=console, transient=True):
                for name, level in levels.items():
                    arm = Arm(name, mcts, replace(EVIDENCE, stop_at=level))
                    found[name].append(await outcome(arm, world, rollouts, seed))
            never = found["never"]
            for name, outcomes in found.items():
                gains = [a.worth - b.worth for a, b in zip(outcomes, never, strict=True)]
                calls, all_calls = (np.mean([one.calls for one in part]) for part in (outcomes, never))
                early = np.mean([one.tree.iteration < rollouts for one in outcomes])
                table.add_row(
                    name,
                    str(rollouts),
                    f"{np.mean([one.worth for one in outcomes]):.3f}",
                    "" if outcomes is never else mean_of(gains, signed=True),
                    f"{calls:.1f}",
                    f"{1 - calls / all_calls:.0%}",
                    f"{early:.0%}",
                    end_section=name == "at .80",
                )
        console.print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=30, help="questions for each line of the simulations")
    parser.add_argument("--nodes", type=int, default=10_000, help="how far the trees of `overhead` grow")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    console = Console(width=150)
    parts = {
        "overhead": partial(overhead, options.nodes, console),
        "searches": partial(searches, options.repeats, console),
        "stopping": partial(stopping, options.repeats, console),
    }
    # As in the service: threads of the linear algebra cost more than they give on matrices of this size.
    with threadpool_limits(1, user_api="blas"):
        for name in PARTS:
            if name in options.only:
                anyio.run(parts[name])


if __name__ == "__main__":
    main()
