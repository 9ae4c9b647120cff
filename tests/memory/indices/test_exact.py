"""The index that compares everything: lossy codes with and without the full vectors, threads, packing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import anyio
import numpy as np
import pytest

from memory.codecs import registry as codecs
from memory.codecs.base import Vectors, unit
from memory.indices import exact
from memory.indices.base import Filter, Payload, PointVersion, Vector, VectorOp
from memory.indices.exact import ExactIndex
from runtime.errors import SettingsError

pytestmark = pytest.mark.anyio
DIM = 48
HERE = Payload("vlt_a", "activated", "plaintext", "fact")
MINE = Filter(("vlt_a",))


def name(number: int) -> str:
    return f"mem_{number:032x}"


def units(count: int, seed: int = 0) -> Vectors:
    """Rows with a few strong directions, as texts have them."""
    rng, strong = np.random.default_rng(seed), np.random.default_rng(7).standard_normal((8, DIM))
    made = rng.standard_normal((count, 8)) @ strong + 0.3 * rng.standard_normal((count, DIM))
    return unit(made.astype(np.float32))


def ops_of(rows: Vectors, version: int = 1, payload: Payload = HERE) -> list[VectorOp]:
    return [VectorOp(name(number), version, row, payload) for number, row in enumerate(rows)]


def best(rows: Vectors, question: Vector, count: int) -> list[str]:
    return [name(int(number)) for number in np.argsort(-(rows @ question))[:count]]


async def agreement(index: ExactIndex, rows: Vectors) -> float:
    """Which share of the ten best the index finds."""
    same = 0
    for question in units(30, seed=9):
        hits = await index.search(question, 10, MINE)
        same += len({hit.memory_id for hit in hits} & set(best(rows, question, 10)))
    return same / 300


@pytest.mark.parametrize(
    ("codec", "alone", "with_full"),
    [("f32", 1.0, 1.0), ("f16", 0.99, 1.0), ("int8", 0.95, 1.0), ("pca50_f8", 0.8, 1.0), ("binary", 0.4, 0.8)],
)
async def test_full_vectors_make_good_what_a_codec_loses(codec: str, alone: float, with_full: float) -> None:
    rows = units(600)
    asked: list[int] = []

    async def full(ids: Sequence[str]) -> Mapping[str, Vector]:
        asked.append(len(ids))
        return {memory_id: rows[int(memory_id[4:], 16)] for memory_id in ids}

    made = codecs.make(codec, DIM, rows)
    coarse, rescored = ExactIndex(DIM, made), ExactIndex(DIM, made, full)
    for index in (coarse, rescored):
        await index.apply(ops_of(rows))
    before, after = await agreement(coarse, rows), await agreement(rescored, rows)
    assert before >= alone
    assert after >= max(before, with_full)
    assert set(asked) == {40}


async def test_a_memory_whose_full_vector_is_gone_keeps_the_score_of_its_code() -> None:
    rows = units(20)

    async def full(ids: Sequence[str]) -> Mapping[str, Vector]:
        return {memory_id: rows[int(memory_id[4:], 16)] for memory_id in ids if memory_id != name(3)}

    index = ExactIndex(DIM, codecs.make("int8", DIM), full)
    await index.apply(ops_of(rows))
    question = units(1, seed=2)[0]
    scores = {hit.memory_id: hit.score for hit in await index.search(question, 20, MINE)}
    off = {
        memory_id: abs(score - float(rows[int(memory_id[4:], 16)] @ question)) for memory_id, score in scores.items()
    }
    assert len(off) == 20
    assert 1e-6 < off.pop(name(3)) < 0.02
    assert max(off.values()) < 1e-6


async def test_searches_in_threads_find_what_the_others_do_while_rows_are_written() -> None:
    rows = units(exact.MANY_ROWS + 2000)
    index = ExactIndex(DIM, codecs.make("f32", DIM))
    await index.apply(ops_of(rows[:-1000]))
    done = anyio.Event()

    async def search() -> None:
        while not done.is_set():
            for question in units(5, seed=3):
                hits = await index.search(question, 5, MINE)
                assert all(
                    hit.score == pytest.approx(float(rows[int(hit.memory_id[4:], 16)] @ question), abs=1e-5)
                    for hit in hits
                )

    async def write() -> None:
        for start in range(0, len(rows), 500):
            await index.apply(ops_of(rows)[start : start + 500])
        done.set()

    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(search)
        tasks.start_soon(write)
    for question in units(10, seed=4):
        hits = await index.search(question, 7, MINE)
        assert [hit.memory_id for hit in hits] == best(rows, question, 7)


async def test_a_search_answers_from_what_was_there_when_it_began() -> None:
    rows = units(30)
    index: ExactIndex

    async def full(ids: Sequence[str]) -> Mapping[str, Vector]:
        await index.apply([VectorOp(memory_id, 2, None, HERE) for memory_id in ids])
        return {}

    index = ExactIndex(DIM, codecs.make("int8", DIM), full)
    await index.apply(ops_of(rows))
    hits = await index.search(rows[0], 3, MINE)
    assert hits[0].memory_id == name(0)
    assert [hit.version for hit in hits] == [1, 1, 1]
    assert name(0) not in {hit.memory_id for hit in await index.search(rows[0], 3, MINE)}


async def test_rows_of_old_versions_are_packed_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact, "SPARE_DEAD", 50)
    rows = units(200)
    index = ExactIndex(DIM, codecs.make("f32", DIM))
    for version in range(1, 12):
        for number, row in enumerate(rows):
            tags = ("even",) if number % 2 == 0 else ("odd", f"t{version}")
            payload = Payload(f"vlt_{number % 3}", "activated", "plaintext", "fact", tags, f"s{number % 5}")
            await index.apply([VectorOp(name(number), version, row, payload)])
    await index.apply([VectorOp(name(0), 20, None, HERE)])
    await index.remove([name(1)])
    assert len(index._table.ids) < 3 * len(rows)
    hits = await index.search(rows[0], 300, Filter(("vlt_0", "vlt_1"), tags=("t11",), session_id="s3"))
    expected = {name(n) for n in range(200) if n % 3 != 2 and n % 2 and n % 5 == 3 and n != 1}
    assert {hit.memory_id for hit in hits} == expected
    assert {hit.version for hit in hits} == {11}
    assert await index.search(rows[0], 300, Filter(("vlt_0", "vlt_1", "vlt_2"), tags=("t10",))) == []
    there = {point async for point in index.versions()}
    assert there == {PointVersion(name(n), 11, tombstone=False) for n in range(2, 200)} | {
        PointVersion(name(0), 20, tombstone=True)
    }


async def test_equal_scores_come_in_the_order_of_writing() -> None:
    row = units(1)[0]
    index = ExactIndex(DIM, codecs.make("int8", DIM))
    await index.apply([VectorOp(name(number), 1, row, HERE) for number in (5, 3, 9, 1)])
    hits = await index.search(row, 3, MINE)
    assert [hit.memory_id for hit in hits] == [name(5), name(3), name(9)]


def test_a_codec_of_another_dimension_is_refused() -> None:
    with pytest.raises(SettingsError, match="made for 32 dimensions, the index has 48"):
        ExactIndex(DIM, codecs.make("int8", 32))
