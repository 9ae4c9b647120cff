"""One suite over every index of vectors: in memory, embedded, and the server's semantics in its in-memory client."""

from __future__ import annotations

import signal
import subprocess
import sys
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import get_args

import anyio
import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient

from memory.codecs import registry as codecs
from memory.indices import edge, qdrant
from memory.indices.base import Filter, IndexTaken, Payload, PointVersion, Vector, VectorIndex, VectorOp
from memory.indices.edge import EdgeIndex
from memory.indices.exact import ExactIndex
from memory.indices.qdrant import QdrantIndex
from memory.types import State
from runtime.errors import InvalidInput, StorageError
from tests.conftest import ROOT

pytestmark = pytest.mark.anyio
DIM = 32
ENGINES = ("exact f32", "exact int8", "edge f32", "edge int8", "qdrant f32")
HERE = Payload("vlt_a", "activated", "plaintext", "fact")
MINE = Filter(("vlt_a",))


@dataclass
class Kit:
    """An index, and the full vectors from which the ones with lossy codes score again."""

    index: VectorIndex
    full: dict[str, Vector] = field(default_factory=dict)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", params=ENGINES)
async def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kit]:
    """One index of each engine for the whole module: making a folder costs more than most tests."""
    engine, codec = request.param.split()
    full: dict[str, Vector] = {}

    async def known(ids: Sequence[str]) -> Mapping[str, Vector]:
        return {memory_id: full[memory_id] for memory_id in ids if memory_id in full}

    index: VectorIndex
    if engine == "exact":
        index = ExactIndex(DIM, codecs.make(codec, DIM), known if codec == "int8" else None)
    elif engine == "edge":
        index = await EdgeIndex.open(tmp_path_factory.mktemp("edge") / "shard", DIM, codec)
    else:
        index = await in_memory(codec)
    yield Kit(index, full)
    await index.aclose()


@pytest.fixture
async def kit(shared: Kit) -> AsyncIterator[Kit]:
    """An empty index."""
    yield shared
    await shared.index.remove([point.memory_id async for point in shared.index.versions()])
    shared.full.clear()
    assert await shared.index.count() == 0


@pytest.fixture
def index(kit: Kit) -> VectorIndex:
    return kit.index


async def in_memory(codec: str = "f32") -> QdrantIndex:
    made = QdrantIndex(AsyncQdrantClient(":memory:"), "mem__test", DIM, codec)
    with warnings.catch_warnings():
        # Without a server the indexes of fields do nothing, and the client says so.
        warnings.simplefilter("ignore", UserWarning)
        await made.ensure()
    return made


def name(number: int) -> str:
    return f"mem_{number:032x}"


def unit(*numbers: float) -> Vector:
    """A unit vector that begins with these numbers."""
    made = np.zeros(DIM, np.float32)
    made[: len(numbers)] = numbers
    return made / np.linalg.norm(made)


def op(number: int, version: int, vector: Vector | None, payload: Payload = HERE) -> VectorOp:
    return VectorOp(name(number), version, vector, payload)


async def found(index: VectorIndex, where: Filter = MINE, vector: Vector | None = None) -> dict[str, int]:
    """Version by id of everything that the filter lets through."""
    hits = await index.search(unit(1) if vector is None else vector, 100, where)
    return {hit.memory_id: hit.version for hit in hits}


async def points(index: VectorIndex) -> set[PointVersion]:
    return {point async for point in index.versions()}


async def test_the_nearest_comes_first_with_its_cosine(index: VectorIndex) -> None:
    await index.apply([op(1, 1, unit(0, 1)), op(2, 1, unit(1, 1)), op(3, 1, unit(1))])
    hits = await index.search(unit(1), 2, MINE)
    assert [hit.memory_id for hit in hits] == [name(3), name(2)]
    assert [hit.score for hit in hits] == pytest.approx([1.0, 0.5**0.5], abs=0.01)


async def test_doing_it_twice_changes_nothing(index: VectorIndex) -> None:
    ops = [op(1, 1, unit(1)), op(2, 3, unit(0, 1)), op(3, 2, None)]
    await index.apply(ops)
    once = (await found(index), await points(index), await index.count())
    await index.apply(ops)
    assert (await found(index), await points(index), await index.count()) == once
    assert once[2] == 3


async def test_an_older_version_is_ignored_and_a_newer_one_replaces_vector_and_payload(index: VectorIndex) -> None:
    await index.apply([op(1, 3, unit(1))])
    await index.apply([op(1, 2, unit(0, 1), replace(HERE, vault_id="vlt_b"))])
    await index.apply([op(1, 3, unit(0, 1), replace(HERE, vault_id="vlt_b"))])
    (hit,) = await index.search(unit(1), 5, MINE)
    assert hit.version == 3
    assert hit.score == pytest.approx(1.0, abs=0.01)
    await index.apply([op(1, 4, unit(0, 1), replace(HERE, vault_id="vlt_b"))])
    assert await found(index) == {}
    (hit,) = await index.search(unit(0, 1), 5, Filter(("vlt_b",)))
    assert hit.version == 4
    assert hit.score == pytest.approx(1.0, abs=0.01)
    assert await points(index) == {PointVersion(name(1), 4, tombstone=False)}


async def test_of_several_versions_in_one_call_the_highest_counts(index: VectorIndex) -> None:
    await index.apply([op(1, 1, unit(1)), op(1, 3, unit(1)), op(1, 2, None), op(2, 1, unit(1)), op(2, 2, None)])
    assert await found(index) == {name(1): 3}
    assert await points(index) == {PointVersion(name(1), 3, tombstone=False), PointVersion(name(2), 2, tombstone=True)}


async def test_a_tombstone_hides_and_a_newer_version_is_found_again(index: VectorIndex) -> None:
    await index.apply([op(1, 1, unit(1)), op(2, 1, unit(1))])
    await index.apply([op(1, 2, None)])
    assert await found(index, Filter(("vlt_a",), states=None)) == {name(2): 1}
    assert PointVersion(name(1), 2, tombstone=True) in await points(index)
    await index.apply([op(1, 3, unit(1))])
    assert await found(index) == {name(1): 3, name(2): 1}


async def test_a_late_writer_cannot_undo_a_tombstone(index: VectorIndex) -> None:
    await index.apply([op(1, 3, unit(1))])
    await index.apply([op(1, 4, None)])
    await index.apply([op(1, 3, unit(1))])
    assert await found(index, Filter(("vlt_a",), states=None)) == {}
    assert await points(index) == {PointVersion(name(1), 4, tombstone=True)}


async def test_removing_before_the_grace_lets_a_late_writer_bring_it_back(index: VectorIndex) -> None:
    """Why a tombstone stays: where nothing is, every version is newer."""
    await index.apply([op(1, 3, unit(1))])
    await index.apply([op(1, 4, None)])
    await index.remove([name(1)])
    assert await points(index) == set()
    await index.apply([op(1, 3, unit(1))])
    assert await found(index) == {name(1): 3}


async def test_without_a_vault_nothing_is_found(index: VectorIndex) -> None:
    await index.apply([op(1, 1, unit(1))])
    assert await found(index, Filter(())) == {}
    assert await found(index, Filter(("vlt_of_nobody",))) == {}
    assert await index.search(unit(1), 0, MINE) == []


FILTERS: list[tuple[Filter, set[int]]] = [
    (Filter(("vlt_a",)), {1, 2, 3}),
    (Filter(("vlt_a", "vlt_b")), {1, 2, 3, 5}),
    (Filter(("vlt_a",), states=None), {1, 2, 3, 4}),
    (Filter(("vlt_a",), states=frozenset({"archived"})), {4}),
    (Filter(("vlt_a",), states=frozenset()), set()),
    (Filter(("vlt_a",), semantic_types=("event", "skill")), {2}),
    (Filter(("vlt_a",), tags=("red",)), {1, 2}),
    (Filter(("vlt_a",), tags=("blue", "red")), {1, 2, 3}),
    (Filter(("vlt_a",), tags=("green",)), set()),
    (Filter(("vlt_a",), session_id="s1"), {3}),
    (Filter(("vlt_a",), session_id="s9"), set()),
    (Filter(("vlt_a", "vlt_b"), semantic_types=("fact",), tags=("red",)), {1, 5}),
]


async def test_each_filter_lets_through_what_it_says(index: VectorIndex) -> None:
    await index.apply(
        [
            op(1, 1, unit(1), replace(HERE, tags=("red",))),
            op(2, 1, unit(1, 1), replace(HERE, semantic_type="event", tags=("red", "blue"))),
            op(3, 1, unit(0, 1), replace(HERE, tags=("red",), session_id="s9")),
            op(4, 1, unit(1), replace(HERE, state="archived", tags=("red",))),
            op(5, 1, unit(1), replace(HERE, vault_id="vlt_b", tags=("red",), session_id="s1")),
        ]
    )
    # What an edit takes away is not found by any more.
    await index.apply([op(3, 2, unit(0, 1), replace(HERE, tags=("blue",), session_id="s1"))])
    for where, expected in FILTERS:
        assert set(await found(index, where)) == {name(number) for number in expected}, where


NO_VECTORS = {
    "not unit": unit(1) * 2,
    "zero": np.zeros(DIM, np.float32),
    "wrong dimension": unit(1)[:-1],
    "not a number": np.full(DIM, np.nan, np.float32),
    "infinite": unit(1) + np.float32(np.inf),
}


async def test_a_vector_that_is_none_is_refused_and_nothing_is_written(index: VectorIndex) -> None:
    for what, vector in NO_VECTORS.items():
        with pytest.raises(InvalidInput, match=name(2)):
            await index.apply([op(1, 1, unit(1)), op(2, 1, vector)])
        assert await index.count() == 0, what
        with pytest.raises(InvalidInput, match="question"):
            await index.search(vector, 1, MINE)


async def test_points_are_told_of_and_taken_away(index: VectorIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "PAGE", 7)
    monkeypatch.setattr(qdrant, "PAGE", 7)
    await index.apply([op(number, number + 1, None if number % 3 == 0 else unit(1)) for number in range(50)])
    assert await points(index) == {PointVersion(name(n), n + 1, tombstone=n % 3 == 0) for n in range(50)}
    await index.remove([name(number) for number in range(48)] + [name(1000)])
    assert await points(index) == {PointVersion(name(n), n + 1, tombstone=n % 3 == 0) for n in (48, 49)}
    assert await index.count() == 2
    assert set(await found(index)) == {name(49)}


async def test_many_at_once_leave_the_highest_version_of_each(index: VectorIndex) -> None:
    async def write(version: int) -> None:
        await index.apply([op(number, version, unit(1, number)) for number in range(5)])

    async def read() -> None:
        assert set(await found(index)) <= {name(number) for number in range(5)}

    async with anyio.create_task_group() as tasks:
        for version in (3, 8, 1, 7, 2, 6, 5, 4):
            tasks.start_soon(write, version)
            tasks.start_soon(read)
    assert await found(index) == {name(number): 8 for number in range(5)}


# -- every engine finds what comparing everything finds -------------------------------------------------------------------


def some_ops(rng: np.random.Generator, count: int) -> list[VectorOp]:
    """Writes of a few hundred memories in a few vaults: late ones, repeated ones, tombstones."""
    made = []
    for _ in range(count):
        number, version = int(rng.integers(count // 2)), int(rng.integers(1, 6))
        # A version of a memory says the same whoever writes it.
        own = np.random.default_rng((number, version))
        payload = Payload(
            f"vlt_{own.integers(4)}",
            str(own.choice(get_args(State))),  # type: ignore[arg-type]
            "plaintext",
            str(own.choice(["fact", "event", "skill"])),  # type: ignore[arg-type]
            tuple(str(tag) for tag in own.choice(["red", "blue", "green"], size=own.integers(3), replace=False)),
            None if own.random() < 0.5 else f"s{own.integers(3)}",
        )
        vector = own.standard_normal(DIM).astype(np.float32)
        made.append(op(number, version, None if own.random() < 0.1 else vector / np.linalg.norm(vector), payload))
    return made


def some_filter(rng: np.random.Generator) -> Filter:
    def few(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(str(value) for value in rng.choice(values, size=rng.integers(1, len(values)), replace=False))

    return Filter(
        few(["vlt_0", "vlt_1", "vlt_2", "vlt_3", "vlt_9"]),
        None if rng.random() < 0.3 else frozenset(few(get_args(State))),  # type: ignore[arg-type]
        few(["fact", "event", "skill"]) if rng.random() < 0.4 else (),  # type: ignore[arg-type]
        few(["red", "blue", "green"]) if rng.random() < 0.4 else (),
        f"s{rng.integers(3)}" if rng.random() < 0.2 else None,
    )


def fits(payload: Payload, where: Filter) -> bool:
    return (
        payload.vault_id in where.vault_ids
        and (where.states is None or payload.state in where.states)
        and (not where.semantic_types or payload.semantic_type in where.semantic_types)
        and (not where.tags or bool(set(payload.tags) & set(where.tags)))
        and where.session_id in (None, payload.session_id)
    )


@pytest.mark.parametrize("seed", [1, 2])
async def test_every_engine_finds_what_comparing_everything_finds(kit: Kit, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth: dict[str, VectorOp] = {}
    ops = some_ops(rng, 800)
    for start in range(0, len(ops), 50):
        batch = ops[start : start + 50]
        await kit.index.apply(batch)
        for each in batch:
            if each.memory_id not in truth or truth[each.memory_id].version < each.version:
                truth[each.memory_id] = each
    kit.full.update({each.memory_id: each.vector for each in truth.values() if each.vector is not None})
    assert await points(kit.index) == {
        PointVersion(each.memory_id, each.version, each.vector is None) for each in truth.values()
    }
    full = 0
    for _ in range(60):
        question = rng.standard_normal(DIM).astype(np.float32)
        question /= np.linalg.norm(question)
        where, limit = some_filter(rng), int(rng.integers(1, 12))
        fitting = [each for each in truth.values() if each.vector is not None and fits(each.payload, where)]
        scored = sorted(
            ((float(each.vector @ question), each) for each in fitting if each.vector is not None),
            key=lambda pair: -pair[0],
        )
        hits = await kit.index.search(question, limit, where)
        assert [hit.memory_id for hit in hits] == [each.memory_id for _, each in scored[:limit]]
        assert [hit.version for hit in hits] == [each.version for _, each in scored[:limit]]
        assert [hit.score for hit in hits] == pytest.approx([score for score, _ in scored[:limit]], abs=0.002)
        full += len(hits) == limit
    assert full > 20, "the filters leave too little for a comparison"


# -- the embedded index is a folder -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["f32", "f16", "int8"])
async def test_what_the_embedded_index_has_is_there_after_reopening(tmp_path: Path, codec: str) -> None:
    first = await EdgeIndex.open(tmp_path / "deep" / "shard", DIM, codec)
    await first.apply([op(1, 1, unit(1)), op(2, 5, None), op(3, 1, unit(0, 1), replace(HERE, tags=("red",)))])
    before = await points(first)
    await first.aclose()
    again = await EdgeIndex.open(tmp_path / "deep" / "shard", DIM, codec)
    assert await points(again) == before
    assert await found(again) == {name(1): 1, name(3): 1}
    await again.apply([op(1, 2, None), op(2, 4, unit(1))])
    assert await found(again, Filter(("vlt_a",), tags=("red",))) == {name(3): 1}
    assert await found(again) == {name(3): 1}
    await again.aclose()


WRITER = """
import sys
import anyio
import numpy as np
from pathlib import Path
from memory.indices.base import Payload, VectorOp
from memory.indices.edge import EdgeIndex

async def main():
    index = await EdgeIndex.open(Path(sys.argv[1]), 32, "f32")
    vector = np.eye(32, dtype=np.float32)[0]
    payload = Payload("vlt_a", "activated", "plaintext", "fact")
    for batch in range(100_000):
        ops = [VectorOp(f"mem_{batch * 10 + at:032x}", batch + 1, vector, payload) for at in range(10)]
        await index.apply(ops)
        print(batch, flush=True)

anyio.run(main)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes batches of ten and tells which of them it has written."""
    command = [sys.executable, "-c", WRITER, str(tmp_path / "shard")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("batches", [1, 40, 450])
async def test_what_was_acknowledged_survives_kill_9(
    tmp_path: Path, writer: subprocess.Popen[str], batches: int
) -> None:
    assert writer.stdout is not None
    for _ in range(batches):
        last = int(writer.stdout.readline())
    writer.kill()
    last = max([last, *(int(line) for line in writer.stdout.read().splitlines() if line.strip().isdigit())])
    assert writer.wait() == -signal.SIGKILL
    index = await EdgeIndex.open(tmp_path / "shard", DIM, "f32")
    there = await points(index)
    assert {PointVersion(name(number), number // 10 + 1, tombstone=False) for number in range(10 * (last + 1))} <= there
    await index.apply([op(0, 10_000, None)])
    assert PointVersion(name(0), 10_000, tombstone=True) in await points(index)
    await index.aclose()


async def test_a_second_process_is_told_that_the_index_is_open(tmp_path: Path, writer: subprocess.Popen[str]) -> None:
    assert writer.stdout is not None
    writer.stdout.readline()
    with anyio.fail_after(5), pytest.raises(IndexTaken, match="another process has it open"):
        await EdgeIndex.open(tmp_path / "shard", DIM, "f32")
    writer.kill()
    writer.wait()
    # The lock is the process's, not a file that it leaves behind.
    index = await EdgeIndex.open(tmp_path / "shard", DIM, "f32")
    with pytest.raises(IndexTaken):
        await EdgeIndex.open(tmp_path / "shard", DIM, "f32")
    await index.aclose()
    with pytest.raises(StorageError, match="closed"):
        await index.count()
