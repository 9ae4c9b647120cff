"""A hypergraph as arrays: which memories name which entities, in both directions, and three walks over it. Pure.

Both directions are compressed sparse rows. A graph never changes: a change makes another one that shares the arrays of
its base and holds what differs in a small patch beside it, until `merged` folds the patch in. One hop goes from a
memory over an entity to a memory. An entity that very many memories name tells nothing: one of more than `hub` memories
is not walked through, the others count less the more memories they have (1 / log2(1 + degree)). An entity that the
question names is a start and not a passage, so there the limit does not apply. Source: design storage §5; ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Scores = NDArray[np.float64]
HUB = 50
DECAY = 0.5
DAMPING = 0.85
ITERATIONS = 8


class Incidences(NamedTuple):
    """One entry for each entity that a memory names; three arrays of one length. `memories` are short keys."""

    memories: Ints
    entities: Ints
    weights: Scores

    def where(self, chosen: NDArray[np.bool_]) -> Incidences:
        """Those that are chosen."""
        return Incidences(self.memories[chosen], self.entities[chosen], self.weights[chosen])


class Rows(NamedTuple):
    """Compressed sparse rows: row `r` holds `item[start[r]:start[r + 1]]`, places in the other direction."""

    start: Ints
    item: Ints
    weight: Scores

    def of(self, rows: Ints) -> tuple[Ints, Ints, Scores]:
        """Everything in these rows: for each item the place in `rows` that it is from, the item, its weight."""
        starts = self.start[rows]
        counts = self.start[rows + 1] - starts
        source = np.repeat(np.arange(len(rows)), counts)
        at = np.arange(len(source)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
        return source, self.item[at], self.weight[at]


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Inside, memories and entities are places, not ids: first those of the base, then those that the patch brought.

    `memories` (n,) and `entities` (m,) are the ids by place, `degree` (m,) counts the memories of each entity. `gone`
    marks the memories of the base that the patch replaces.
    """

    memories: Ints
    entities: Ints
    degree: Ints
    base: tuple[Rows, Rows]
    patch: tuple[Rows, Rows]
    gone: NDArray[np.bool_]
    overlay: Incidences

    @property
    def growth(self) -> float:
        """How much of the graph lies in the patch, as a share of the base."""
        return float(len(self.overlay.memories) + self.gone.sum()) / max(1, len(self.base[0].item))

    def patched(self, replaced: Ints, now: Incidences) -> Graph:
        """A graph in which the memories `replaced` have the entities that `now` says and no others. `now` speaks of no
        other memory; one that it does not mention is in the graph no more."""
        kept = ~np.isin(self.overlay.memories, replaced)
        over = _ordered(joined([self.overlay.where(kept), now]))
        base_memories = self.memories[: len(self.gone)]
        base_entities = self.entities[: len(self.base[1].start) - 1]
        gone = self.gone.copy()
        at, there = _find(base_memories, replaced)
        gone[at[there]] = True
        found, start = _runs(over.memories)
        place, known = _find(base_entities, over.entities)
        new = np.unique(over.entities[~known])
        entities = np.concatenate([base_entities, new])
        place[~known] = len(base_entities) + np.searchsorted(new, over.entities[~known])
        by_memory = Rows(start, place, over.weights)
        order = np.argsort(place, kind="stable")
        counts = np.bincount(place, minlength=len(entities))
        owner = len(gone) + np.repeat(np.arange(len(found)), np.diff(by_memory.start))
        by_entity = Rows(np.append(0, np.cumsum(counts)), owner[order], over.weights[order])
        _, lost, _ = self.base[0].of(np.flatnonzero(gone))
        degree = counts
        degree[: len(base_entities)] += np.diff(self.base[1].start)
        degree -= np.bincount(lost, minlength=len(entities))
        memories = np.concatenate([base_memories, found])
        return Graph(memories, entities, degree, self.base, (by_memory, by_entity), gone, over)

    def merged(self) -> Graph:
        """The same graph without a patch."""
        return build(self.between(0, np.iinfo(np.int64).max))

    def between(self, low: int, high: int) -> Incidences:
        """What the memories `low` <= key < `high` name, ordered by memory and entity."""
        rows = np.arange(*np.searchsorted(self.memories[: len(self.gone)], [low, high]))
        rows = rows[~self.gone[rows]]
        source, item, weight = self.base[0].of(rows)
        inside = (self.overlay.memories >= low) & (self.overlay.memories < high)
        ours = Incidences(self.memories[rows][source], self.entities[item], weight)
        return _ordered(joined([ours, self.overlay.where(inside)]))

    def of_memories(self, places: Ints) -> tuple[Ints, Ints, Scores]:
        """The entities of these memories, as `Rows.of` has them."""
        ours = np.flatnonzero(places < len(self.gone))
        theirs = np.flatnonzero(places >= len(self.gone))
        return _both(self.base[0].of(places[ours]), ours, self.patch[0].of(places[theirs] - len(self.gone)), theirs)

    def of_entities(self, places: Ints) -> tuple[Ints, Ints, Scores]:
        """The memories of these entities, as `Rows.of` has them."""
        ours = np.flatnonzero(places < len(self.base[1].start) - 1)
        source, item, weight = self.base[1].of(places[ours])
        there = ~self.gone[item]
        return _both(
            (source[there], item[there], weight[there]), ours, self.patch[1].of(places), np.arange(len(places))
        )

    def seeds(self, wanted: Mapping[int, float]) -> Scores:
        """(n,) with the weight of each of these memories at its place; unknown ones are passed over."""
        half = len(self.gone)
        out = np.zeros(len(self.memories))
        for part, first in ((self.memories[:half], 0), (self.memories[half:], half)):
            _place(wanted, part, out[first:])
        out[:half][self.gone] = 0.0
        return out

    def named(self, wanted: Mapping[int, float]) -> Scores:
        """(m,) with the weight of each of these entities at its place; unknown ones are passed over."""
        half = len(self.base[1].start) - 1
        out = np.zeros(len(self.entities))
        for part, first in ((self.entities[:half], 0), (self.entities[half:], half)):
            _place(wanted, part, out[first:])
        return out

    def ease(self, places: Ints) -> Scores:
        """How much these entities let through."""
        made: Scores = 1.0 / np.log2(1.0 + np.maximum(self.degree[places], 1))
        return made


def build(given: Incidences) -> Graph:
    """The graph of these incidences, of which no two are of the same memory and entity."""
    memories, entities, weights = _ordered(given)
    ids, start = _runs(memories)
    order = np.argsort(entities, kind="stable")
    nodes, node_start = _runs(entities[order])
    place = np.empty(len(entities), np.int64)
    place[order] = np.repeat(np.arange(len(nodes)), np.diff(node_start))
    owner = np.repeat(np.arange(len(ids)), np.diff(start))
    base = (Rows(start, place, weights), Rows(node_start, owner[order], weights[order]))
    none, empty = np.empty(0, np.int64), np.empty(0)
    patch = (Rows(np.zeros(1, np.int64), none, empty), Rows(np.zeros(len(nodes) + 1, np.int64), none, empty))
    gone = np.zeros(len(ids), np.bool_)
    return Graph(ids, nodes, np.diff(node_start), base, patch, gone, Incidences(none, none, empty))


def joined(parts: Sequence[Incidences]) -> Incidences:
    """One behind the other."""
    memories, entities, weights = zip(*parts, strict=True)
    return Incidences(np.concatenate(memories), np.concatenate(entities), np.concatenate(weights))


def expand(graph: Graph, seeds: Scores, named: Scores, *, hub: int = HUB, hops: int = 2) -> Scores:
    """(n,): the weight of the best start that reaches the memory, halved for each hop after the first; 0: none does."""
    out = np.zeros(len(graph.memories))
    value = seeds
    for hop in range(hops):
        at = np.flatnonzero(value)
        source, entity, _ = graph.of_memories(at)
        passes = graph.degree[entity] <= hub
        over = named.copy() if hop == 0 else np.zeros(len(graph.entities))
        np.maximum.at(over, entity[passes], value[at][source[passes]])
        through = np.flatnonzero(over)
        source, memory, _ = graph.of_entities(through)
        value = np.zeros(len(graph.memories))
        np.maximum.at(value, memory, over[through][source])
        out = np.maximum(out, value * DECAY**hop)
    return out


def spread(graph: Graph, seeds: Scores, named: Scores, *, hub: int = HUB, steps: int = 2) -> Scores:
    """(n,): activation that flows from memories to entities (times weight and `ease`) and on to their memories (times
    weight), summed over the steps, each of which counts half of the one before."""
    out = np.zeros(len(graph.memories))
    value = seeds
    for step in range(steps):
        at = np.flatnonzero(value)
        source, entity, weight = graph.of_memories(at)
        over: Scores = np.bincount(entity, value[at][source] * weight, len(graph.entities)).astype(np.float64)
        over[graph.degree > hub] = 0.0
        if step == 0:
            over += named
        through = np.flatnonzero(over)
        source, memory, weight = graph.of_entities(through)
        flow = over[through] * graph.ease(through)
        value = np.bincount(memory, flow[source] * weight, len(graph.memories)).astype(np.float64)
        out += value * DECAY**step
    return out


def pagerank(
    graph: Graph,
    seeds: Scores,
    named: Scores,
    *,
    hub: int = HUB,
    damping: float = DAMPING,
    iterations: int = ITERATIONS,
) -> Scores:
    """(n,): personalised PageRank. A walker goes from a memory to one of its entities (by weight and `ease`) and on to one
    of its memories (by weight); before each of both it goes back to a start with probability 1 - `damping`."""
    memory, entity, weight = _component(graph, seeds, named, hub)
    let = weight * graph.ease(entity)
    leaving = _shares(let, memory, len(graph.memories))
    arriving = _shares(weight, entity, len(graph.entities))
    # A hub is a start and nothing more: what it gives is the same each time.
    hubs = np.flatnonzero((graph.degree > hub) & (named > 0))
    source, member, weight = graph.of_entities(hubs)
    shared = named[hubs][source] * _shares(weight, source, len(hubs))
    given = np.bincount(member, shared, len(graph.memories)) * damping * (1 - damping)
    # Only what can be reached takes part; places are packed, or each round would pass over the whole graph.
    at, memory = _packed(memory, len(graph.memories))
    through, entity = _packed(entity, len(graph.entities))
    back, back_over = (1 - damping) * seeds[at] + given[at], (1 - damping) * named[through]
    value = seeds[at]
    for _ in range(iterations):
        over = back_over + damping * np.bincount(entity, value[memory] * leaving, len(through))
        value = back + damping * np.bincount(memory, over[entity] * arriving, len(at))
    out = given + (1 - damping) * seeds
    out[at] = value
    return out


def _component(graph: Graph, seeds: Scores, named: Scores, hub: int) -> tuple[Ints, Ints, Scores]:
    """Every incidence that can be reached without passing a hub: place of the memory, place of the entity, weight."""
    seen = seeds > 0
    known = np.zeros(len(graph.entities), np.bool_)
    seen[graph.of_entities(np.flatnonzero(named))[1]] = True
    frontier = np.flatnonzero(seen)
    parts: list[tuple[Ints, Ints, Scores]] = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))]
    while len(frontier):
        source, entity, weight = graph.of_memories(frontier)
        passes = graph.degree[entity] <= hub
        parts.append((frontier[source[passes]], entity[passes], weight[passes]))
        fresh = _new(known, entity[passes])
        frontier = _new(seen, graph.of_entities(fresh)[1])
    memory, entity, weight = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return memory, entity, weight


def _shares(weight: Scores, owner: Ints, size: int) -> Scores:
    """Each weight as a share of all that its owner has."""
    total = np.bincount(owner, weight, size)[owner]
    return np.divide(weight, total, out=np.zeros_like(weight), where=total > 0)


def _new(seen: NDArray[np.bool_], places: Ints) -> Ints:
    """Those of the places that were not seen before, each once; they are seen from here on."""
    before = seen.copy()
    seen[places] = True
    return np.flatnonzero(seen & ~before)


def _packed(places: Ints, size: int) -> tuple[Ints, Ints]:
    """The different places, in order, and for each of `places` where it stands among them."""
    used = np.zeros(size, np.bool_)
    used[places] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[places]


def _ordered(given: Incidences) -> Incidences:
    steps, inner = np.diff(given.memories), np.diff(given.entities)
    if not ((steps < 0) | ((steps == 0) & (inner < 0))).any():
        return given
    order = np.lexsort((given.entities, given.memories))
    return Incidences(given.memories[order], given.entities[order], given.weights[order])


def _runs(ordered: Ints) -> tuple[Ints, Ints]:
    """The different values of an ordered array, and where each begins, with the end behind."""
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    return ordered[first], np.append(first, len(ordered))


def _find(ordered: Ints, keys: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Where each key stands in the ordered array, and whether it is there at all."""
    at = np.searchsorted(ordered, keys)
    there = at < len(ordered)
    there[there] = ordered[at[there]] == keys[there]
    return at, there


def _place(wanted: Mapping[int, float], ordered: Ints, out: Scores) -> None:
    values = np.fromiter(wanted.values(), np.float64, len(wanted))
    at, there = _find(ordered, np.fromiter(wanted, np.int64, len(wanted)))
    out[at[there]] = values[there]


def _both(
    ours: tuple[Ints, Ints, Scores], our_rows: Ints, theirs: tuple[Ints, Ints, Scores], their_rows: Ints
) -> tuple[Ints, Ints, Scores]:
    if not len(theirs[1]):
        return our_rows[ours[0]], ours[1], ours[2]
    return (
        np.concatenate([our_rows[ours[0]], their_rows[theirs[0]]]),
        np.concatenate([ours[1], theirs[1]]),
        np.concatenate([ours[2], theirs[2]]),
    )
