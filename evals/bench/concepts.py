"""What it costs to read a memory of concepts for a selection, and whether the order of the problems leaves a mark.

    python -m evals.bench.concepts                       # 100 and 1,000 concepts
    python -m evals.bench.concepts --counts 100 1000 10000

Made-up concepts of the size of real ones (a description, two or three parameters, three cues, two notes), a third of them of
two problems or more, go into a vault. `whole` reads and renders all of it, as a prompt without a budget does; `two-stage` is
what a run does above its budget: a shortlist for the question, rendered. Tokens are those of the rendering, four characters
each. `found`: the share of questions whose concept is in the shortlist; a question says in other words what one concept is
about, and shares with it no more than two of its cues. Then a stream of problems is merged in batches: with the calls of
each batch coming back in three orders, and with the problems themselves in three orders. Source: arcmemo §3.1, §3.5, §3.6,
§7 J; ours.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import anyio
import orjson
from rich.console import Console
from rich.table import Table

from agents.arc_memo.concept import GRID_MANIPULATION, Concept, ConceptEntry, ConceptMemory, Kind, Parameter
from agents.arc_memo.keeping import concept_draft
from agents.arc_memo.library import SHORTLIST, Library, read_concepts, read_whole
from agents.arc_memo.merging import merge_batch
from agents.arc_memo.rendering import for_selection
from memory.opening import open_memory
from memory.service import Memory
from memory.types import Actor
from runtime.db import open_database
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.llm.estimate import estimate_tokens
from runtime.migrate import upgrade
from runtime.settings import Settings, load

ENCODER: Final = "wordllama-256"
VAULT: Final = "default"
BATCH: Final = 500
COMMON: Final = "The grids have a black background and few colours, and input and output are of one size."
# Small enough that a library of 100 is not read whole either, so that every size shows the two stages.
BUDGET_TOKENS: Final = 1_000
# Three parts make a subject; 24 of each of the first two and 18 of the third give 10,368.
VERBS: Final = (
    "recolor extend mirror rotate crop fill outline connect move stack count sort copy scale tile erase align split merge "
    "mask project grow shrink swap"
)
THINGS: Final = (
    "rectangle ring line diagonal cross frame hole stripe corner noise checkerboard staircase spiral arrow cluster "
    "background border row column cell shadow path maze staple"
)
WHERE: Final = (
    "at the border",
    "inside its enclosure",
    "towards the marker",
    "along the diagonal",
    "by size",
    "by colour",
    "by number of holes",
    "by symmetry",
    "until something blocks it",
    "in reading order",
    "around its centre",
    "across the divider",
    "into the free space",
    "over the template",
    "between equal neighbours",
    "from the largest one",
    "under the ceiling",
    "beside its twin",
)
TYPES: Final = ("grid", "object", "list[object]", "color", "direction := up | down | left | right", "int", "mask")
SUBTYPES: Final = (GRID_MANIPULATION, GRID_MANIPULATION, "intermediate", "color scheme", "predicate")


@dataclass(frozen=True, slots=True)
class Read:
    """One way of reading at one size; times in ms, `cpu_ms` those of all threads of the process."""

    way: str
    concepts: int
    shown: int
    tokens: float
    read_ms: Sequence[float]
    cpu_ms: Sequence[float]
    render_ms: Sequence[float]
    found: float | None = None
    wordy: float | None = None


class _Timed(NamedTuple):
    library: Library
    tokens: int
    read_ms: float
    cpu_ms: float
    render_ms: float


def made_up(count: int, seed: int) -> list[Concept]:
    """So many different concepts; the first of a larger number are the same."""
    rng = random.Random(seed)
    subjects = [(verb, thing, where) for verb in VERBS.split() for thing in THINGS.split() for where in WHERE]
    rng.shuffle(subjects)
    if count > len(subjects):
        raise SystemExit(f"{count} concepts: expected at most {len(subjects)}")
    return [_concept(rng, *subject) for subject in subjects[:count]]


def _concept(rng: random.Random, verb: str, thing: str, where: str) -> Concept:
    kind: Kind = "structure" if rng.random() < 0.25 else "routine"
    other = rng.choice(THINGS.split())
    return Concept(
        name=f"{verb} {thing} {where}",
        kind=kind,
        routine_subtype=None if kind == "structure" else rng.choice(SUBTYPES),
        output_typing=rng.choice(TYPES),
        parameters=tuple(
            Parameter(name, rng.choice(TYPES), f"which {name} is meant")
            for name in rng.sample(["object", "color", "axis", "limit", "template"], rng.randint(2, 3))
        ),
        description=f"One has to {verb} each {thing} {where}; what it stands on keeps its colour.",
        cues=(
            f"a {thing} of the input is found again {where}",
            f"the {thing} and a {other} differ in colour",
            f"the output looks as if somebody did {verb} it",
        ),
        implementation=(
            f"label the parts, keep those that are a {thing}, then {verb} them one by one",
            "work on a copy of the grid so that earlier changes are not read again",
        ),
        used_in=tuple(f"p{rng.randrange(400):03}" for _ in range(rng.choice((1, 1, 1, 1, 2, 4)))),
    )


def question_about(concept: Concept) -> str:
    """What somebody might say who looks at a puzzle of this concept and does not know what is to be done."""
    _, thing, where = concept.name.split(" ", 2)
    return f"There is always a {thing} in the picture; something happens to it {where}."


async def measure(settings: Settings, counts: Sequence[int], questions: int, seed: int, console: Console) -> list[Read]:
    """Fill the vault up to each size in turn, and read it in both ways."""
    rows: list[Read] = []
    rng = random.Random(seed + 1)
    concepts = made_up(max(counts), seed)
    db = open_database(settings)
    try:
        actor = Actor((await KeyStore(db, SYSTEM).local()).user_id, None, admin=True)
        async with open_memory(settings, db, SYSTEM) as memory:
            stored = 0
            for count in sorted(counts):
                begun = time.perf_counter()
                for start in range(stored, count, BATCH):
                    drafts = [concept_draft(each) for each in concepts[start : min(start + BATCH, count)]]
                    await memory.add(actor, drafts, vault=VAULT, wait="indexed", force=True)
                console.print(f"{count - stored} concepts added in {time.perf_counter() - begun:.1f} s")
                stored = count
                asked = [rng.choice(concepts[:count]) for _ in range(questions)]
                rows += [await _whole(memory, actor, count), await _two_stage(memory, actor, count, asked)]
    finally:
        await db.aclose()
    return rows


async def _whole(memory: Memory, actor: Actor, count: int) -> Read:
    told = [await _timed(lambda: read_whole(memory, actor, [VAULT])) for _ in range(3)]
    return _row("whole", count, told)


async def _two_stage(memory: Memory, actor: Actor, count: int, asked: Sequence[Concept]) -> Read:
    async def read(question: str) -> Library:
        return await read_concepts(memory, actor, [VAULT], question=question, budget_tokens=BUDGET_TOKENS, explore=0.0)

    told = [await _timed(partial(read, question_about(concept))) for concept in asked]
    wordy = [await read(f"{COMMON} {question_about(concept)}") for concept in asked]
    found = [c.name in each.library.memory.concepts for c, each in zip(asked, told, strict=True)]
    found_wordy = [c.name in each.memory.concepts for c, each in zip(asked, wordy, strict=True)]
    return replace(_row("two-stage", count, told), found=statistics.mean(found), wordy=statistics.mean(found_wordy))


async def _timed(read: Callable[[], Awaitable[Library]]) -> _Timed:
    begun, cpu = time.perf_counter(), time.process_time()
    library = await read()
    between, cpu_between = time.perf_counter(), time.process_time()
    tokens = estimate_tokens(for_selection(library.memory))
    after = time.perf_counter()
    return _Timed(library, tokens, 1000 * (between - begun), 1000 * (cpu_between - cpu), 1000 * (after - between))


def _row(way: str, count: int, told: Sequence[_Timed]) -> Read:
    return Read(
        way,
        count,
        len(told[0].library.memory.concepts),
        statistics.mean(each.tokens for each in told),
        [each.read_ms for each in told],
        [each.cpu_ms for each in told],
        [each.render_ms for each in told],
    )


# -- order -------------------------------------------------------------------------------------------------------------


def entries_of(problems: int, seed: int) -> dict[str, list[ConceptEntry]]:
    """What a model might write for each problem of a stream: two to four of a few concepts, each in words of its own."""
    rng = random.Random(seed)
    known = made_up(max(8, problems // 3), seed)
    stream: dict[str, list[ConceptEntry]] = {}
    for number in range(problems):
        entries = []
        for concept in rng.sample(known, rng.randint(2, 4)):
            parameters = [{"name": p.name, "typing": rng.choice(TYPES)} for p in concept.parameters]
            told = {
                "name": concept.name,
                "kind": concept.kind,
                "routine_subtype": concept.routine_subtype,
                "description": f"{concept.description} Seen in {number}.",
                "parameters": parameters,
                "cues": rng.sample(concept.cues, 2),
                "implementation": [f"as in program {number}"],
            }
            entries.append(ConceptEntry.model_validate(told))
        stream[f"p{number:03}"] = entries
    return stream


def continual(
    stream: dict[str, list[ConceptEntry]], order: Sequence[str], k: int, turn: random.Random
) -> ConceptMemory:
    """The memory after the problems in this order, merged `k` at a time; `turn` shuffles the calls of each batch."""
    memory = ConceptMemory()
    for start in range(0, len(order), k):
        batch = [*order[start : start + k]]
        turn.shuffle(batch)
        memory = merge_batch(memory, {id_: stream[id_] for id_ in batch}).memory
    return memory


def orders(problems: int, k: int, seed: int) -> Table:
    """Three orders of the calls within each batch, then three of the problems: what of the final memory is the same."""
    stream = entries_of(problems, seed)
    given = sorted(stream)
    shuffled = [random.Random(seed + n).sample(given, len(given)) for n in range(3)]
    table = Table(title=f"{problems} problems, batches of {k}; share of concepts that are the same in all three orders")
    for column in ("order of", "bytes", "names", "used_in, cues, notes as sets", "descriptions", "types of parameters"):
        table.add_column(column)
    for title, memories in (
        ("calls in a batch", [continual(stream, given, k, random.Random(n)) for n in range(3)]),
        ("problems", [continual(stream, order, k, random.Random(0)) for order in shuffled]),
    ):
        names = set.intersection(*(set(each.concepts) for each in memories))
        union = set.union(*(set(each.concepts) for each in memories))

        def same(
            of: Callable[[Concept], object],
            memories: Sequence[ConceptMemory] = memories,
            names: Iterable[str] = names,
        ) -> str:
            agree = [len({repr(of(each.concepts[name])) for each in memories}) == 1 for name in names]
            return f"{statistics.mean(agree):.2f}"

        table.add_row(
            title,
            "the same" if len({orjson.dumps(each.to_json()) for each in memories}) == 1 else "differ",
            f"{len(names) / len(union):.2f}",
            same(lambda c: [sorted(c.used_in), sorted(c.cues), sorted(c.implementation)]),
            same(lambda c: c.description),
            same(lambda c: sorted((p.name, p.typing or "") for p in c.parameters)),
        )
    return table


def shown(rows: Sequence[Read], k: int) -> Table:
    """The table of reads."""
    table = Table(title=f"reading for a selection; a shortlist has {k} concepts; medians")
    for column in (
        "way",
        "concepts",
        "shown",
        "tokens",
        "read ms",
        "read p95 ms",
        "CPU ms",
        "render ms",
        "found",
        "wordy",
    ):
        table.add_column(column, justify="left" if column == "way" else "right")
    for row in rows:
        ordered = sorted(row.read_ms)
        table.add_row(
            row.way,
            str(row.concepts),
            str(row.shown),
            f"{row.tokens:.0f}",
            f"{statistics.median(ordered):.1f}",
            f"{ordered[int(0.95 * (len(ordered) - 1))]:.1f}",
            f"{statistics.median(row.cpu_ms):.1f}",
            f"{statistics.median(row.render_ms):.2f}",
            *("" if share is None else f"{share:.2f}" for share in (row.found, row.wordy)),
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--questions", type=int, default=50)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--batch", type=int, default=10, help="problems between two updates")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--home", type=Path, default=Path("~/.mneme").expanduser(), help="where the weights are kept")
    options = parser.parse_args()
    console = Console(width=140)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "models").symlink_to(options.home / "models")
        flags = {"home": folder, "embed.model": ENCODER, "telemetry.log_level": "WARNING"}
        settings = load(flags, env={}).settings
        upgrade(settings)
        rows = anyio.run(measure, settings, options.counts, options.questions, options.seed, console)
    console.print(shown(rows, SHORTLIST))
    console.print(orders(options.problems, options.batch, options.seed))


if __name__ == "__main__":
    main()
