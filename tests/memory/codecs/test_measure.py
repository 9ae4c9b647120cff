from __future__ import annotations

from itertools import count

import numpy as np
import pytest

from memory.codecs.base import Vectors, unit
from memory.codecs.measure import measure
from memory.codecs.registry import make
from memory.codecs.tradeoff import TABLE, shown, trade_off_table
from runtime.errors import InvalidInput


def clustered(vectors: int, queries: int, dim: int) -> tuple[Vectors, Vectors]:
    """A corpus in which neighbours are near, and questions beside some of its vectors."""
    rng = np.random.default_rng(0)
    # Like real text, it differs more in some directions than in others.
    scale = np.arange(1, dim + 1) ** -0.5
    centres = rng.normal(size=(100, dim)) * scale
    spread = 0.6 * rng.normal(size=(vectors + queries, dim)) * scale
    made = unit((centres[rng.integers(0, 100, vectors + queries)] + spread).astype(np.float32))
    return made[:vectors], made[vectors:]


CORPUS, QUERIES = clustered(1300, 200, 128)


@pytest.mark.parametrize("name", ["f16", "int8", "int8_range", "f8_e4m3", "pca50_f8", "pca50_int8", "pca75_int8"])
def test_a_shortlist_of_four_times_and_rescoring_find_98_of_100_neighbours(name: str) -> None:
    measured = measure(make(name, 128, CORPUS), CORPUS, QUERIES, rescore=True)
    assert measured.recall >= 0.98
    assert measured.ndcg >= 0.999


def test_a_correct_int8_loses_less_than_a_float8_of_the_same_size() -> None:
    int8, e4m3, e5m2 = (measure(make(n, 128), CORPUS, QUERIES).recall for n in ("int8", "f8_e4m3", "f8_e5m2"))
    assert int8 > e4m3 > e5m2


def test_float32_is_exact_and_a_quarter_of_the_dimensions_is_not() -> None:
    exact = measure(make("f32", 128), CORPUS, QUERIES, wanted=list(range(200)))
    assert exact.recall == 1.0
    assert exact.ndcg == pytest.approx(1.0, abs=1e-6)
    assert exact.task_recall == np.mean([n in np.argsort(-(CORPUS @ QUERIES[n]))[:10] for n in range(200)])
    assert measure(make("pca25_f8", 128, CORPUS), CORPUS, QUERIES).recall < 0.95


def test_it_tells_size_queries_time_and_corpus() -> None:
    ticks = count(0)
    first = measure(make("int8", 128), CORPUS, QUERIES, clock=lambda: next(ticks) * 0.25)
    assert (first.codec, first.bytes_per_vector, first.queries, first.rescored) == ("int8", 128, 200, False)
    assert first.ms == 250.0
    assert first.task_recall is None
    assert first.digest == measure(make("f16", 128), CORPUS, QUERIES).digest
    assert first.digest != measure(make("int8", 128), CORPUS[1:], QUERIES).digest


def test_fewer_than_200_queries_are_noise() -> None:
    with pytest.raises(InvalidInput, match="199 queries"):
        measure(make("f32", 128), CORPUS, QUERIES[:199])


def test_the_table_has_every_codec_smallest_last_and_marks_the_front() -> None:
    corpus, queries = unit(CORPUS[:500, :64]), unit(QUERIES[:, :64])
    measured = trade_off_table(corpus, queries, wanted=list(range(200)))
    lines = shown(measured, dim=64).splitlines()
    assert len(lines) == len(TABLE) + 2
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    sizes = [int(row[1]) for row in cells]
    assert sizes == sorted(sizes, reverse=True)
    assert next(row[:5] for row in cells if row[0] == "f32") == ["f32", "256", "1.0×", "1.0000", "1.0000"]
    fronts = [(int(row[1]), float(row[3])) for row in cells if row[7] == "yes"]
    assert fronts
    for row in cells:
        assert any(size <= int(row[1]) and recall >= float(row[3]) for size, recall in fronts)
