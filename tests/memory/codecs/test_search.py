from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.codecs.base import Vectors, unit
from memory.codecs.registry import make
from memory.codecs.search import Rows, search
from runtime.errors import InvalidInput


def random_units(count: int, dim: int, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


@given(st.integers(0, 30), st.integers(0, 35), st.integers(0, 3), st.booleans())
def test_float32_search_is_the_brute_force_order(count: int, top_k: int, seed: int, rescored: bool) -> None:
    rows, query = random_units(count, 8, seed), random_units(1, 8, seed + 100)[0]
    codec = make("f32", 8)
    found = search(query, codec.encode(rows), codec, top_k, full=rows.__getitem__ if rescored else None)
    true = np.argsort(-(rows @ query), kind="stable")[:top_k]
    assert [hit.row for hit in found] == true.tolist()
    assert all(hit.exact is rescored for hit in found)
    np.testing.assert_allclose([hit.score for hit in found], (rows @ query)[true], atol=1e-5)


def test_what_is_not_allowed_is_not_compared() -> None:
    rows, codec = random_units(200, 16), make("int8", 16)
    query = rows[3]
    allowed = np.ones(200, np.bool_)
    allowed[3] = False
    asked: list[int] = []

    def full(wanted: Rows) -> Vectors:
        asked.extend(wanted.tolist())
        return rows[wanted]

    found = search(query, codec.encode(rows), codec, 5, allowed=allowed, full=full)
    assert len(found) == 5
    assert 3 not in [hit.row for hit in found]
    assert 3 not in asked
    assert search(query, codec.encode(rows), codec, 5, allowed=np.zeros(200, np.bool_)) == []


def test_the_filter_is_applied_before_the_shortlist() -> None:
    rows, codec = random_units(1000, 16), make("binary", 16)
    query = random_units(1, 16, seed=5)[0]
    allowed = np.zeros(1000, np.bool_)
    # The last of the order, which a shortlist over everything would never hold.
    allowed[np.argsort(-(rows @ query))[-10:]] = True
    found = search(query, codec.encode(rows), codec, 10, allowed=allowed, full=rows.__getitem__)
    assert sorted(hit.row for hit in found) == np.flatnonzero(allowed).tolist()


def test_rescoring_asks_for_four_candidates_for_each_wanted_hit() -> None:
    rows, codec = random_units(500, 16), make("binary", 16)
    asked: list[int] = []

    def full(wanted: Rows) -> Vectors:
        asked.extend(wanted.tolist())
        return rows[wanted]

    found = search(rows[9], codec.encode(rows), codec, 10, full=full)
    assert len(asked) == len(set(asked)) == 40
    assert found[0].row == 9
    assert found[0].score == pytest.approx(1.0, abs=1e-6)
    assert all(hit.exact for hit in found)


def test_equal_scores_come_in_the_order_of_the_rows() -> None:
    rows = np.tile(random_units(1, 8), (50, 1))
    codec = make("int8", 8)
    assert [hit.row for hit in search(rows[0], codec.encode(rows), codec, 7)] == list(range(7))


def test_full_vectors_that_are_not_finite_give_no_score() -> None:
    rows, codec = random_units(50, 8), make("int8", 8)
    codes = codec.encode(rows)
    rows[11] = np.nan
    with pytest.raises(InvalidInput, match="not finite"):
        search(random_units(1, 8, 9)[0], codes, codec, 20, full=rows.__getitem__)
