"""The embedded index as a folder: what it was made for, damage, and a shard that was built and optimised aside."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import qdrant_edge

from memory.indices import edge, edge_build
from memory.indices.base import Filter, Payload, PointVersion, Vector, VectorOp
from memory.indices.edge import EdgeIndex
from runtime.errors import InvalidInput, SettingsError, StorageError

pytestmark = pytest.mark.anyio
DIM = 64
HERE = Payload("vlt_a", "activated", "plaintext", "fact")
MINE = Filter(("vlt_a",))


def name(number: int) -> str:
    return f"mem_{number:032x}"


def units(count: int, seed: int = 0) -> list[Vector]:
    made = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return list(made / np.linalg.norm(made, axis=1, keepdims=True))


def ops_of(rows: Sequence[Vector], version: int = 1) -> list[VectorOp]:
    return [VectorOp(name(number), version, row, HERE) for number, row in enumerate(rows)]


async def test_half_precision_finds_the_same(tmp_path: Path) -> None:
    rows = units(200)
    index = await EdgeIndex.open(tmp_path / "shard", DIM, "f16")
    await index.apply(ops_of(rows))
    for question in units(10, seed=1):
        (hit, *_) = await index.search(question, 5, MINE)
        scores = np.stack(rows) @ question
        assert hit.memory_id == name(int(np.argmax(scores)))
        assert hit.score == pytest.approx(scores.max(), abs=0.002)
    await index.aclose()


@pytest.mark.parametrize("codec", ["pca50_f8", "binary", "f8_e4m3", ""])
async def test_a_codec_that_the_engine_lacks_is_refused(tmp_path: Path, codec: str) -> None:
    with pytest.raises(SettingsError, match="f32, f16, int8"):
        await EdgeIndex.open(tmp_path / "shard", DIM, codec)
    with pytest.raises(SettingsError, match="f32, f16, int8"):
        edge_build.build(tmp_path / "shard", DIM, codec, [], optimise=False)
    assert not (tmp_path / "shard").exists()


@pytest.mark.parametrize(("dim", "codec"), [(DIM + 1, "f32"), (DIM, "int8")])
async def test_a_folder_made_for_something_else_is_not_opened(tmp_path: Path, dim: int, codec: str) -> None:
    await (await EdgeIndex.open(tmp_path / "shard", DIM, "f32")).aclose()
    with pytest.raises(StorageError, match=r"64 dimensions and codec 'f32'.*mneme memory reindex"):
        await EdgeIndex.open(tmp_path / "shard", dim, codec)


def no_facts(folder: Path) -> None:
    (folder / edge.FACTS).unlink()


def other_facts(folder: Path) -> None:
    (folder / edge.FACTS).write_text(json.dumps([1, 2]))


def garbage_in_the_log(folder: Path) -> None:
    (folder / "wal" / "open-1").write_bytes(b"abc" * 100)


def garbage_in_a_segment(folder: Path) -> None:
    for file in folder.glob("segments/*/segment.json"):
        file.write_bytes(b"{}")


@pytest.mark.parametrize("damage", [no_facts, other_facts, garbage_in_the_log, garbage_in_a_segment])
async def test_a_damaged_folder_says_how_to_build_it_again(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    index = await EdgeIndex.open(tmp_path / "shard", DIM, "f32")
    await index.apply(ops_of(units(20)))
    await index.aclose()
    damage(tmp_path / "shard")
    with pytest.raises(StorageError, match="mneme memory reindex"):
        await EdgeIndex.open(tmp_path / "shard", DIM, "f32")


async def test_a_file_in_its_place_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "shard").write_bytes(b"")
    with pytest.raises(StorageError, match="shard"):
        await EdgeIndex.open(tmp_path / "shard", DIM, "f32")


async def test_damage_that_shows_later_is_a_storage_error(tmp_path: Path) -> None:
    index = await EdgeIndex.open(tmp_path / "shard", DIM, "f32")
    await index.apply(ops_of(units(20)))
    await index.aclose()
    for file in (tmp_path / "shard").glob("segments/*/vector_storage-dense/vectors/chunk_0.mmap"):
        file.write_bytes(b"")
    index = await EdgeIndex.open(tmp_path / "shard", DIM, "f32")
    with pytest.raises(StorageError, match=r"search.*mneme memory reindex"):
        await index.search(units(1)[0], 3, MINE)
    await index.aclose()


def test_a_panic_of_the_engine_is_a_storage_error() -> None:
    panic = type("PanicException", (BaseException,), {"__module__": "pyo3_runtime"})
    with pytest.raises(StorageError, match="broke down: index out of bounds"), edge.engine_errors("index 'x'"):
        raise panic("index out of bounds")
    with pytest.raises(KeyboardInterrupt), edge.engine_errors("index 'x'"):
        raise KeyboardInterrupt


async def test_an_id_that_is_none_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    index = await EdgeIndex.open(tmp_path / "shard", DIM, "f32")
    for memory_id in ("mem_1", "run_" + "0" * 32, "0" * 32, "mem_" + "g" * 32, "mem_" + "A" * 32, ""):
        with pytest.raises(InvalidInput, match="32 hexadecimal digits"):
            await index.apply([*ops_of(units(3)), VectorOp(memory_id, 1, None, HERE)])
    assert await index.count() == 0
    await index.aclose()


@pytest.mark.parametrize("codec", ["f32", "f16", "int8"])
async def test_a_shard_that_was_built_aside_is_opened_and_written_to(tmp_path: Path, codec: str) -> None:
    rows = units(300)

    def batches() -> Iterator[list[VectorOp]]:
        for start in range(0, 300, 100):
            yield ops_of(rows)[start : start + 100]
        yield [VectorOp(name(7), 2, None, HERE), VectorOp(name(8), 0, None, HERE)]

    (tmp_path / "2").mkdir()
    assert edge_build.build(tmp_path / "2", DIM, codec, batches(), optimise=False) == 300
    index = await EdgeIndex.open(tmp_path / "2", DIM, codec)
    there = {point async for point in index.versions()}
    expected = {PointVersion(name(n), 1, tombstone=False) for n in range(300)} - {
        PointVersion(name(7), 1, tombstone=False)
    }
    assert there == expected | {PointVersion(name(7), 2, tombstone=True)}
    (hit, *_) = await index.search(rows[8], 5, MINE)
    assert hit.memory_id == name(8)
    await index.aclose()


@pytest.mark.parametrize("codec", ["f32", "int8"])
async def test_an_optimised_shard_has_graphs_and_still_takes_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    monkeypatch.setattr(edge, "GRAPH_FROM_KB", 50)
    rows = units(1200)
    assert edge_build.build(tmp_path / "2", DIM, codec, [ops_of(rows)], optimise=True) == 1200
    shard = qdrant_edge.EdgeShard.load(str(tmp_path / "2"))
    assert shard.info().indexed_vectors_count >= 800
    shard.close()
    index = await EdgeIndex.open(tmp_path / "2", DIM, codec)
    same = 0
    for question in units(20, seed=1):
        hits = await index.search(question, 10, MINE)
        scores = np.stack(rows) @ question
        same += len({hit.memory_id for hit in hits} & {name(int(n)) for n in np.argsort(-scores)[:10]})
        assert [hit.score for hit in hits] == pytest.approx(
            [scores[int(hit.memory_id[4:], 16)] for hit in hits], abs=0.002
        )
    assert same / 200 >= 0.9
    # A point that lies in an optimised part: an older write is ignored, a newer one replaces it.
    await index.apply([VectorOp(name(3), 1, rows[4], HERE), VectorOp(name(4), 2, None, HERE)])
    assert (await index.search(rows[3], 1, MINE))[0].memory_id == name(3)
    assert (await index.search(rows[4], 1, MINE))[0].memory_id != name(4)
    assert await index.count() == 1200
    await index.aclose()


async def test_a_build_that_breaks_off_leaves_nothing_that_can_be_opened(tmp_path: Path) -> None:
    def batches() -> Iterator[list[VectorOp]]:
        yield ops_of(units(10))
        raise StorageError("the database went away")

    with pytest.raises(StorageError, match="the database went away"):
        edge_build.build(tmp_path / "2", DIM, "f32", batches(), optimise=True)
    with pytest.raises(StorageError, match="mneme memory reindex"):
        await EdgeIndex.open(tmp_path / "2", DIM, "f32")
    with pytest.raises(StorageError, match="expected an empty folder"):
        edge_build.build(tmp_path / "2", DIM, "f32", [], optimise=False)


async def test_what_was_written_is_pushed_to_the_disk_after_many_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without that the engine's log would grow for as long as the process lives."""
    monkeypatch.setattr(edge, "FLUSH_AFTER", 30)

    class Counting:
        flushed = 0

        def __init__(self, shard: qdrant_edge.EdgeShard) -> None:
            self._shard = shard

        def flush(self) -> None:
            self.flushed += 1
            self._shard.flush()

        def __getattr__(self, attribute: str) -> object:
            return getattr(self._shard, attribute)

    index = await EdgeIndex.open(tmp_path / "shard", DIM, "f32")
    counting = Counting(index._shard)
    index._shard = counting  # type: ignore[assignment]
    for version in range(1, 8):
        await index.apply(ops_of(units(10), version))
    assert counting.flushed == 2
    await index.aclose()
