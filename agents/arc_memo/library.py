"""Concepts and lessons as memories, read from the vaults of a run.

Read is the whole library, by name, while it fits a budget; above, only a shortlist: what fits the puzzle, with places for
what was of use to several problems. That costs the same however many the vaults hold. The budget is measured on what is
rendered; what does not fit any more is left out, the least fitting first. Concepts of one name from several vaults are
one; the vault that is named first has the first word. How they are written: agents/arc_memo/keeping.py. Source: arcmemo
§3.6, §3.7, §5; ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from agents.arc_memo.concept import Concept, ConceptMemory, Lesson
from agents.arc_memo.merging import united
from agents.arc_memo.rendering import SELECTION_THRESHOLD, render, render_lessons
from agents.arc_memo.wording import concept_of, lesson_of
from memory import access
from memory.listing import MAX_PAGE, Where
from memory.service import Memory
from memory.types import SEARCHABLE, Actor, MemCube, Query, RecallHit, SemanticType
from runtime.llm.estimate import estimate_tokens

BUDGET_TOKENS: Final = 20_000
SHORTLIST: Final = 60
# A vault of more is not read whole, so nobody reads thousands of memories to find that they do not fit the budget.
WHOLE: Final = 300
# The tag of a concept of two problems or more, by which it is found: nobody counts all of them for a shortlist.
REUSED: Final = "reused"
STATES: Final = tuple(sorted(SEARCHABLE))


@dataclass(frozen=True, slots=True)
class Library:
    """Concepts that were read, and the memories that hold them. `whole`: nothing was left out."""

    memory: ConceptMemory = field(default_factory=ConceptMemory)
    cubes: Mapping[str, tuple[MemCube, ...]] = field(default_factory=dict)
    whole: bool = True

    def hits(self, names: Iterable[str], why: str = "selected by the model") -> list[RecallHit]:
        """The memories of these concepts, as `Context.recalled` wants what was found; the first name scores highest."""
        cubes = [cube for name in names for cube in self.cubes.get(name, ())]
        return [RecallHit(cube, 1 / place, {}, {}, why) for place, cube in enumerate(cubes, 1)]


@dataclass(frozen=True, slots=True)
class Lessons:
    """The lessons in the order in which they were learned, and the memory that holds each. `whole`: nothing was left out."""

    lessons: tuple[Lesson, ...] = ()
    cubes: tuple[MemCube, ...] = ()
    whole: bool = True

    def hits(self, numbers: Iterable[int], why: str = "selected by the model") -> list[RecallHit]:
        """The memories of the lessons with these numbers (from 1), as `Context.recalled` wants what was found."""
        return [RecallHit(self.cubes[number - 1], 1 / place, {}, {}, why) for place, number in enumerate(numbers, 1)]


async def read_concepts(
    memory: Memory,
    actor: Actor,
    vaults: Sequence[str],
    *,
    question: str = "",
    budget_tokens: int = BUDGET_TOKENS,
    threshold: int = SELECTION_THRESHOLD,
    k: int = SHORTLIST,
    explore: float | None = None,
) -> Library:
    """The library for a selection: all of it while its rendering with `threshold` has at most `budget_tokens`, else at most
    `k` concepts for the question, within the same budget. `explore` as of the run. Raises `UnknownName`, `Forbidden` for a
    vault that may not be read."""
    cubes, more = await _pages(memory, actor, vaults, "concept", newest=WHOLE)
    if not more:
        whole = library_of(cubes, whole=True)
        if estimate_tokens(render(whole.memory, threshold=threshold)) <= budget_tokens:
            return whole
    return await shortlist(
        memory,
        actor,
        vaults,
        question=question,
        budget_tokens=budget_tokens,
        threshold=threshold,
        k=k,
        explore=explore,
    )


async def read_whole(memory: Memory, actor: Actor, vaults: Sequence[str]) -> Library:
    """Every concept of the vaults, whatever it costs. Raises as `read_concepts` does."""
    cubes, _ = await _pages(memory, actor, vaults, "concept")
    return library_of(cubes, whole=True)


async def read_named(memory: Memory, actor: Actor, vaults: Sequence[str], names: Iterable[str]) -> Library:
    """The concepts of exactly these names, however large the vaults are. Raises as `read_concepts` does."""
    found: list[MemCube] = []
    wanted = tuple(dict.fromkeys(names))
    for vault in dict.fromkeys(vaults):
        for name in wanted:
            where = Where(vault, states=STATES, semantic_types=("concept",), subject=name)
            found += reversed((await memory.list(actor, where)).items)
    return library_of(found, whole=False)


async def shortlist(
    memory: Memory,
    actor: Actor,
    vaults: Sequence[str],
    *,
    question: str,
    budget_tokens: int = BUDGET_TOKENS,
    threshold: int = SELECTION_THRESHOLD,
    k: int = SHORTLIST,
    explore: float | None = None,
) -> Library:
    """At most `k` concepts that fit the question, a third of the places for those of several problems, and of them what the
    budget holds. Without a question those that were learned last. Raises as `read_concepts` does."""
    if question.strip():
        query = Query(question, tuple(vaults), k, kinds=("concept",), diverse=False, explore=explore)
        reused = await memory.search(actor, replace(query, k=-(-k // 3), tags=(REUSED,)), counts=False)
        fitting = await memory.search(actor, query, counts=False)
        near = [*_shared([hit.memory for hit in reused.hits], [hit.memory for hit in fitting.hits])]
    else:
        near = await _latest(memory, actor, vaults, "concept", k)

    def rendered(cubes: Sequence[MemCube]) -> str:
        return render(library_of(cubes, whole=False).memory, threshold=threshold)

    kept = _within(budget_tokens, [*{cube.id: cube for cube in near}.values()][:k], rendered)
    return library_of(await _in_order(memory, actor, vaults, kept), whole=False)


async def read_lessons(
    memory: Memory,
    actor: Actor,
    vaults: Sequence[str],
    *,
    question: str = "",
    budget_tokens: int = BUDGET_TOKENS,
    k: int = SHORTLIST,
    explore: float | None = None,
) -> Lessons:
    """The lessons for a selection: all of them while they have at most `budget_tokens`, else at most `k` that fit the
    question, or without one those that were learned last. Raises as `read_concepts` does."""
    cubes, more = await _pages(memory, actor, vaults, "lesson", newest=WHOLE)
    if not more and estimate_tokens(_lessons_text(cubes)) <= budget_tokens:
        return lessons_of(cubes, whole=True)
    near: list[MemCube] = []
    if question.strip():
        query = Query(question, tuple(vaults), k, kinds=("lesson",), diverse=False, explore=explore)
        near = [hit.memory for hit in (await memory.search(actor, query, counts=False)).hits]
    near = near or await _latest(memory, actor, vaults, "lesson", k)
    kept = _within(budget_tokens, near[:k], _lessons_text)
    return lessons_of(await _in_order(memory, actor, vaults, kept), whole=False)


async def read_all_lessons(memory: Memory, actor: Actor, vaults: Sequence[str]) -> Lessons:
    """Every lesson of the vaults, vault by vault, the oldest first. Raises as `read_concepts` does."""
    cubes, _ = await _pages(memory, actor, vaults, "lesson")
    return lessons_of(cubes, whole=True)


def _shared(reused: Sequence[MemCube], fitting: Sequence[MemCube]) -> Iterator[MemCube]:
    """Both in one order, every third place for the reused ones, so that they keep their share of a shorter list."""
    ahead, behind = iter(reused), iter(fitting)
    for cube in ahead:
        yield from (cube, *itertools.islice(behind, 2))
    yield from behind


def _within(
    budget_tokens: int, cubes: Sequence[MemCube], rendered: Callable[[Sequence[MemCube]], str]
) -> list[MemCube]:
    """The first of them that the budget holds; one that is too large is passed over."""
    if estimate_tokens(rendered(cubes)) <= budget_tokens:
        return [*cubes]
    kept: list[MemCube] = []
    for cube in cubes:
        if estimate_tokens(rendered([*kept, cube])) <= budget_tokens:
            kept.append(cube)
    return kept


async def _latest(memory: Memory, actor: Actor, vaults: Sequence[str], kind: SemanticType, k: int) -> list[MemCube]:
    near, _ = await _pages(memory, actor, vaults, kind, newest=k)
    return sorted(near, key=lambda cube: -cube.seq)[:k]


async def _in_order(memory: Memory, actor: Actor, vaults: Sequence[str], cubes: Sequence[MemCube]) -> list[MemCube]:
    """Vault by vault as they are named, the oldest first."""
    order = await _order(memory, actor, vaults)
    return sorted(cubes, key=lambda cube: (order[cube.vault_id], cube.seq))


async def _pages(
    memory: Memory, actor: Actor, vaults: Sequence[str], kind: SemanticType, *, newest: int | None = None
) -> tuple[list[MemCube], bool]:
    """The memories of a kind, vault by vault, the oldest first; of each vault at most so many, the newest, and whether one
    has more."""
    found: list[MemCube] = []
    more = False
    for vault in dict.fromkeys(vaults):
        mine: list[MemCube] = []
        where, after = Where(vault, states=STATES, semantic_types=(kind,)), None
        while True:
            limit = MAX_PAGE if newest is None else min(MAX_PAGE, newest - len(mine))
            page = await memory.list(actor, where, after=after, limit=limit)
            mine += page.items
            after = page.next
            if after is None or len(mine) == newest:
                break
        more = more or after is not None
        found += reversed(mine)
    return found, more


async def _order(memory: Memory, actor: Actor, vaults: Sequence[str]) -> dict[str, int]:
    allowed = await memory.core.read(actor, lambda tx: access.vaults(tx, vaults, "read"))
    return {item.vault.id: place for place, item in enumerate(allowed)}


def _lessons_text(cubes: Sequence[MemCube]) -> str:
    return render_lessons([*map(lesson_of, cubes)])


def lessons_of(cubes: Sequence[MemCube], *, whole: bool) -> Lessons:
    """The lessons that these memories hold."""
    return Lessons(tuple(map(lesson_of, cubes)), tuple(cubes), whole)


def library_of(cubes: Iterable[MemCube], *, whole: bool) -> Library:
    """The library that these memories hold; of one name the first has the first word."""
    concepts, held = dict[str, Concept](), dict[str, tuple[MemCube, ...]]()
    for cube in cubes:
        concept = concept_of(cube)
        if concept.name:
            known = concepts.get(concept.name)
            concepts[concept.name] = united(known, concept) if known else concept
            held[concept.name] = (*held.get(concept.name, ()), cube)
    return Library(ConceptMemory(concepts), held, whole)
