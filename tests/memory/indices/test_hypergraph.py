"""The hypergraph: the walks against plain loops over any graph, and a projection that is as fresh as the table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import log2
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, select, update

from memory import erase, rows, store
from memory.core import Core
from memory.incidence import entity_key
from memory.indices import csr, hypergraph
from memory.indices.csr import Graph, Incidences
from memory.indices.hypergraph import GraphHit, Hypergraph
from memory.tables import EntityRow, IncidenceRow, OutboxRow
from memory.tx import Tx
from memory.types import Actor, Draft, MemCube
from runtime.db import PostgreSQL, open_database
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock

Model = dict[int, dict[int, float]]
HUB = 4

# -- the walks ---------------------------------------------------------------------------------------------------------

KEYS = st.integers(1, 12)
WEIGHTS = st.sampled_from([0.5, 1.0, 2.0])
MODELS = st.dictionaries(KEYS, st.dictionaries(st.integers(100, 110), WEIGHTS, max_size=5), max_size=12)
STARTS = st.dictionaries(KEYS, WEIGHTS, max_size=3)
NAMED = st.dictionaries(st.integers(100, 112), WEIGHTS, max_size=2)


def arrays(model: Model) -> Incidences:
    flat = [(memory, entity, weight) for memory, names in model.items() for entity, weight in names.items()]
    memories, entities, weights = zip(*flat, strict=True) if flat else ((), (), ())
    return Incidences(np.array(memories, np.int64), np.array(entities, np.int64), np.array(weights, np.float64))


def content(graph: Graph) -> Model:
    model: Model = defaultdict(dict)
    for memory, entity, weight in zip(*graph.between(0, 10**9), strict=True):
        model[int(memory)][int(entity)] = float(weight)
    return dict(model)


def members(model: Model) -> Mapping[int, dict[int, float]]:
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for memory, names in model.items():
        for entity, weight in names.items():
            found[entity][memory] = weight
    return found


def by_id(graph: Graph, scores: csr.Scores) -> dict[int, float]:
    return {int(graph.memories[place]): float(scores[place]) for place in np.flatnonzero(scores)}


def walked(
    graph: Graph, walk: hypergraph.Walk, seeds: Mapping[int, float], named: Mapping[int, float]
) -> dict[int, float]:
    return by_id(graph, walk(graph, graph.seeds(seeds), graph.named(named), hub=HUB))


def plain_expand(model: Model, seeds: Mapping[int, float], named: Mapping[int, float]) -> dict[int, float]:
    by_entity, out = members(model), dict[int, float]()
    value = {memory: weight for memory, weight in seeds.items() if memory in model}
    for hop in range(2):
        over = dict[int, float]()
        for memory, weight in value.items():
            for entity in model.get(memory, {}):
                if len(by_entity[entity]) <= HUB:
                    over[entity] = max(over.get(entity, 0.0), weight)
        for entity, weight in named.items() if hop == 0 else ():
            over[entity] = max(over.get(entity, 0.0), weight)
        value = dict[int, float]()
        for entity, weight in over.items():
            for memory in by_entity.get(entity, {}):
                value[memory] = max(value.get(memory, 0.0), weight)
        for memory, weight in value.items():
            out[memory] = max(out.get(memory, 0.0), weight * 0.5**hop)
    return out


def plain_spread(model: Model, seeds: Mapping[int, float], named: Mapping[int, float]) -> dict[int, float]:
    by_entity, out = members(model), defaultdict[int, float](float)
    value: Mapping[int, float] = dict(seeds)
    for step in range(2):
        over = defaultdict[int, float](float)
        for memory, mass in value.items():
            for entity, weight in model.get(memory, {}).items():
                if len(by_entity[entity]) <= HUB:
                    over[entity] += mass * weight
        for entity, weight in named.items() if step == 0 else ():
            over[entity] += weight
        moved = defaultdict[int, float](float)
        for entity, mass in over.items():
            for memory, weight in by_entity.get(entity, {}).items():
                moved[memory] += mass * weight / log2(1 + len(by_entity[entity]))
        for memory, mass in moved.items():
            out[memory] += mass * 0.5**step
        value = moved
    return out


def plain_pagerank(model: Model, seeds: Mapping[int, float], named: Mapping[int, float]) -> dict[int, float]:
    by_entity = members(model)
    start = {memory: weight for memory, weight in seeds.items() if model.get(memory)}
    value: Mapping[int, float] = start
    for _ in range(csr.ITERATIONS):
        over = defaultdict[int, float](float, {entity: 0.15 * weight for entity, weight in named.items()})
        for memory, mass in value.items():
            let = {
                entity: weight / log2(1 + len(by_entity[entity]))
                for entity, weight in model[memory].items()
                if len(by_entity[entity]) <= HUB
            }
            for entity, weight in let.items():
                over[entity] += 0.85 * mass * weight / sum(let.values())
        moved = defaultdict[int, float](float, {memory: 0.15 * weight for memory, weight in start.items()})
        for entity, mass in over.items():
            there = by_entity.get(entity, {})
            for memory, weight in there.items():
                moved[memory] += 0.85 * mass * weight / sum(there.values())
        value = moved
    return dict(value)


PLAIN = {"expand": plain_expand, "spread": plain_spread, "pagerank": plain_pagerank}


@pytest.mark.parametrize("method", ["expand", "spread", "pagerank"])
@given(model=MODELS, seeds=STARTS, named=NAMED)
@settings(deadline=None)
def test_a_walk_scores_as_plain_loops_do(
    method: hypergraph.Method, model: Model, seeds: dict[int, float], named: dict[int, float]
) -> None:
    graph = csr.build(arrays(model))
    scores = walked(graph, hypergraph.WALKS[method], seeds, named)
    expected = {memory: score for memory, score in PLAIN[method](model, seeds, named).items() if score > 0}
    assert scores == pytest.approx(expected)


@given(model=MODELS, changes=st.lists(MODELS, max_size=4), seeds=STARTS, named=NAMED, merge=st.booleans())
@settings(deadline=None)
def test_a_patched_graph_is_the_graph_that_is_built_anew(
    model: Model, changes: list[Model], seeds: dict[int, float], named: dict[int, float], merge: bool
) -> None:
    graph, before = csr.build(arrays(model)), csr.build(arrays(model))
    now = dict(model)
    for change in changes:
        now |= change
        graph = graph.patched(np.array(sorted(change), np.int64), arrays(change))
    graph = graph.merged() if merge else graph
    anew = csr.build(arrays(now))
    assert content(graph) == content(anew)
    degree = dict(zip(graph.entities.tolist(), graph.degree.tolist(), strict=True))
    assert {entity: count for entity, count in degree.items() if count} == dict(
        zip(anew.entities.tolist(), anew.degree.tolist(), strict=True)
    )
    for walk in hypergraph.WALKS.values():
        assert walked(graph, walk, seeds, named) == pytest.approx(walked(anew, walk, seeds, named))
    assert content(before) == {memory: names for memory, names in model.items() if names}


def test_eight_rounds_of_pagerank_find_the_first_ten_of_forty() -> None:
    rng = Random(4)
    model = {memory: {100 + int(rng.paretovariate(0.6)): 1.0 for _ in range(5)} for memory in range(1, 3000)}
    graph = csr.build(arrays(model))
    seeds, none = graph.seeds({5: 1.0, 6: 0.5}), graph.named({})
    short, long = (csr.pagerank(graph, seeds, none, iterations=rounds) for rounds in (8, 40))
    assert np.argsort(-short)[:10].tolist() == np.argsort(-long)[:10].tolist()


def test_an_empty_graph_is_walked_without_a_word() -> None:
    graph = csr.build(arrays({}))
    for walk in hypergraph.WALKS.values():
        assert walked(graph, walk, {1: 1.0}, {2: 1.0}) == {}


# -- what recall asks -----------------------------------------------------------------------------------------------------


@pytest.fixture
def graph(core: Core) -> Hypergraph:
    return Hypergraph(core)


async def entity_id(core: Core, name: str, actor: Actor = ANN) -> int:
    home = await vault_id(core, actor)
    query = select(EntityRow.id).where(EntityRow.vault_id == home, EntityRow.key == entity_key(name))
    return await core.db.read(lambda connection: connection.execute(query).scalar_one())


async def edit(core: Core, cube: MemCube, *entities: str) -> MemCube:
    def work(tx: Tx) -> MemCube:
        return store.change(tx, rows.cubes(tx, [cube.id])[cube.id], kind="edit", entities=entities)

    return await core.write(ANN, work)


async def purge(core: Core, cube: MemCube) -> None:
    await core.write(ANN, lambda tx: erase.erase(tx, rows.cubes(tx, [cube.id])[cube.id]))


async def carried(core: Core) -> None:
    """The relay has done everything: the outbox is empty."""
    await core.db.write(lambda connection: connection.execute(delete(OutboxRow)))


def seqs(hits: list[GraphHit]) -> list[int]:
    return [hit.seq for hit in hits]


async def reached(graph: Hypergraph, cube: MemCube) -> set[int]:
    return set(seqs(await graph.related({cube.seq: 1.0}, limit=50)))


@pytest.mark.anyio
async def test_memories_that_share_more_entities_come_first(core: Core, graph: Hypergraph) -> None:
    asked = await put(core, "Ana and Rui meet in Porto", entities=("Ana", "Rui", "Porto"))
    both = await put(core, "Ana writes to Rui", entities=("ana", "RUI"))
    one = await put(core, "Porto has a new bridge", entities=("Porto",))
    far = await put(core, "Rui's sister sings", entities=("Rui", "the sister"))
    farther = await put(core, "The sister has a dog", entities=("The Sister",))
    await put(core, "Nothing of this", entities=("Berlin",))
    await put(core, "Without a name")
    for method in ("expand", "spread", "pagerank"):
        hits = await graph.related({asked.seq: 1.0}, limit=10, method=method)
        assert set(seqs(hits)) == {both.seq, one.seq, far.seq, farther.seq}
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert hits[-1].seq == farther.seq
    assert (await graph.related({asked.seq: 1.0}, limit=1))[0].seq == both.seq
    assert seqs(await graph.related({asked.seq: 1.0}, limit=2, method="expand")) == [far.seq, one.seq]
    assert await graph.related({asked.seq: 1.0}, limit=0) == []
    assert await graph.related({}, limit=5) == []
    assert await graph.related({10**9: 1.0}, entities={10**9: 1.0}, limit=5) == []


@pytest.mark.anyio
async def test_a_seed_is_left_out_unless_a_named_entity_leads_to_it(core: Core, graph: Hypergraph) -> None:
    first = await put(core, "Ana and Rui", entities=("Ana", "Rui"))
    second = await put(core, "Rui alone", entities=("Rui",))
    ana = await entity_id(core, "Ana")
    for method in ("expand", "spread", "pagerank"):
        alone = await graph.related({first.seq: 1.0}, limit=5, method=method)
        named = await graph.related({}, entities={ana: 1.0}, limit=5, method=method)
        both = await graph.related({first.seq: 1.0}, entities={ana: 1.0}, limit=5, method=method)
        assert seqs(alone) == [second.seq]
        assert seqs(named) == [first.seq, second.seq]
        assert dict(both)[first.seq] == pytest.approx(dict(named)[first.seq])
        assert dict(both)[second.seq] >= max(dict(alone)[second.seq], dict(named)[second.seq])


@pytest.mark.anyio
async def test_a_hub_is_not_walked_through_but_may_be_asked_for(core: Core) -> None:
    graph = Hypergraph(core, hub=3)
    cubes = [await put(core, f"Day {day}", entities=("Ana", f"day {day // 2}")) for day in range(6)]
    assert await reached(graph, cubes[0]) == {cubes[1].seq}
    ana = await entity_id(core, "Ana")
    for method in ("expand", "spread", "pagerank"):
        hits = await graph.related({}, entities={ana: 1.0}, limit=50, method=method)
        assert set(seqs(hits)) == {cube.seq for cube in cubes}


@pytest.mark.anyio
async def test_a_walk_never_leaves_a_vault(core: Core, graph: Hypergraph) -> None:
    await core.default_vault(BOB)
    names = ("Ana", "Rui", "Porto")
    mine = [await put(core, f"Ann's note {n}", entities=names) for n in range(4)]
    theirs = [await put(core, f"Bob's note {n}", BOB, entities=names) for n in range(4)]
    for method in ("expand", "spread", "pagerank"):
        hits = await graph.related({mine[0].seq: 1.0}, limit=50, method=method)
        assert set(seqs(hits)) == {cube.seq for cube in mine[1:]}
        named = {await entity_id(core, "Ana", BOB): 1.0}
        hits = await graph.related({}, entities=named, limit=50, method=method)
        assert set(seqs(hits)) == {cube.seq for cube in theirs}


# -- as fresh as the table --------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_new_edited_and_purged_memories_are_seen_at_once(core: Core, graph: Hypergraph) -> None:
    first = await put(core, "one", entities=("Ana",))
    assert await reached(graph, first) == set()
    second = await put(core, "two", entities=("Ana", "Rui"))
    assert await reached(graph, first) == {second.seq}
    third = await put(core, "three", entities=("Rui",))
    assert await reached(graph, first) == {second.seq, third.seq}
    await edit(core, second, "Rui")
    await carried(core)
    assert await reached(graph, first) == set()
    await edit(core, first, "Rui", "Ana")
    assert await reached(graph, first) == {second.seq, third.seq}
    await purge(core, second)
    await carried(core)
    assert await reached(graph, first) == {third.seq}


@pytest.mark.anyio
async def test_new_memories_alone_need_no_comparison(
    core: Core, graph: Hypergraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await put(core, "one", entities=("Ana",))
    await graph.refresh()
    compared = []
    whole = graph._compare

    async def compare() -> None:
        compared.append(1)
        await whole()

    monkeypatch.setattr(graph, "_compare", compare)
    for number in range(5):
        last = await put(core, f"more {number}", entities=("Ana",))
        await carried(core)
        assert last.seq in await reached(graph, first)
    await reached(graph, first)
    assert compared == []
    await edit(core, last, "Rui")
    assert last.seq not in await reached(graph, first)
    await reached(graph, first)
    assert compared == [1]


@pytest.mark.anyio
async def test_what_other_processes_do_is_seen(core: Core, graph: Hypergraph, clock: SetClock) -> None:
    first, second = await put(core, "one", entities=("Ana",)), await put(core, "two", entities=("Ana",))
    assert await reached(graph, first) == {second.seq}
    other = Core(open_database(core.settings), clock, core.settings)
    third = await put(other, "three", entities=("Ana",))
    await edit(other, second, "Rui")
    await carried(other)
    await other.db.aclose()
    assert await reached(graph, first) == {third.seq}


@pytest.mark.anyio
async def test_who_writes_past_the_outbox_is_seen_a_minute_later(
    core: Core, graph: Hypergraph, clock: SetClock
) -> None:
    first, second = await put(core, "one", entities=("Ana",)), await put(core, "two", entities=("Ana",))
    assert await reached(graph, first) == {second.seq}
    gone = delete(IncidenceRow).where(IncidenceRow.memory_seq == second.seq)
    await core.db.write(lambda connection: connection.execute(gone))
    clock.pass_by(61)
    assert await reached(graph, first) == set()
    halved = update(IncidenceRow).values(weight=0.5)
    again = insert(IncidenceRow).values(
        memory_seq=second.seq, entity_id=await entity_id(core, "Ana"), role="mention", weight=1.0
    )
    await core.db.write(lambda connection: connection.execute(again))
    clock.pass_by(61)
    ((_, before),) = await graph.related({first.seq: 1.0}, limit=5)
    await core.db.write(lambda connection: connection.execute(halved))
    clock.pass_by(61)
    ((_, after),) = await graph.related({first.seq: 1.0}, limit=5)
    assert after < before


@pytest.mark.anyio
async def test_large_tables_are_compared_less_often(
    core: Core, graph: Hypergraph, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hypergraph, "ALWAYS", 0)
    monkeypatch.setattr(hypergraph, "COMPARED_PER_S", 1)
    cubes = [await put(core, f"note {n}", entities=("Ana",)) for n in range(4)]
    assert len(await reached(graph, cubes[0])) == 3
    await edit(core, cubes[1], "Rui")
    fresh = await put(core, "new", entities=("Ana",))
    clock.pass_by(2)
    assert await reached(graph, cubes[0]) == {cubes[1].seq, cubes[2].seq, cubes[3].seq, fresh.seq}
    clock.pass_by(6)
    assert await reached(graph, cubes[0]) == {cubes[2].seq, cubes[3].seq, fresh.seq}


@pytest.mark.anyio
@pytest.mark.parametrize("any_settings", ["postgresql"], indirect=True)
async def test_a_transaction_that_was_open_when_the_graph_looked_is_seen_later(core: Core, graph: Hypergraph) -> None:
    """It took its numbers before the look and was committed after it, so no number tells."""
    home = await vault_id(core)
    first, second = await put(core, "one", entities=("Ana",)), await put(core, "two", entities=("Ana", "Rui"))
    apart = await put(core, "apart", entities=("Sol",))
    other = open_database(core.settings)
    assert isinstance(other, PostgreSQL)
    async with other._engine.connect() as connection:
        transaction = await connection.begin()

        def late(sync: Connection) -> tuple[MemCube, MemCube]:
            tx = Tx(sync, core.clock.now(), ANN)
            item = store.NewMemory(new_id("mem"), home, Draft("late", entities=("Ana",)), new_id("prv"))
            changed = store.change(tx, rows.cubes(tx, [second.id])[second.id], kind="edit", entities=("Eva",))
            return store.insert_all(tx, [item])[0].cube, changed

        new, _ = await connection.run_sync(late)
        after = await put(core, "after", entities=("Sol",))
        for _ in range(2):
            assert await reached(graph, first) == {second.seq}
            assert await reached(graph, apart) == {after.seq}
        await transaction.commit()
    assert await reached(graph, first) == {new.seq}
    await other.aclose()


@pytest.mark.anyio
async def test_after_any_writes_the_projection_is_the_table(
    core: Core, graph: Hypergraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small ranges, so that some are patched, some loaded anew, and the patch is folded in now and then."""
    monkeypatch.setattr(hypergraph, "RANGE", 8)
    rng, cubes = Random(11), list[MemCube]()
    some = [f"name {n}" for n in range(6)]

    async def write() -> None:
        names = tuple(rng.sample(some, rng.randrange(4)))
        match rng.random():
            case chance if chance < 0.5 or not cubes:
                cubes.append(await put(core, f"text {len(cubes)} {rng.random()}", entities=names))
            case chance if chance < 0.8:
                at = rng.randrange(len(cubes))
                cubes[at] = await edit(core, cubes[at], *names)
            case chance if chance < 0.9:
                await purge(core, cubes.pop(rng.randrange(len(cubes))))
            case _:
                await carried(core)

    for _ in range(60):
        for _ in range(rng.randrange(4)):
            await write()
        projected = content(await graph.refresh())
        assert projected == await core.db.read(table)


def table(connection: Connection) -> Model:
    found: Model = defaultdict(dict)
    for row in connection.execute(select(IncidenceRow.__table__)):
        found[row.memory_seq][row.entity_id] = row.weight
    return dict(found)
