from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memory.codecs.base import Vectors, unit
from memory.codecs.integers import Binary, Int8, Int8Range, quantise
from runtime.errors import InvalidInput, StorageError

KNOWN = np.array([[0.52, -0.31, 0.075, 0.004]], np.float32)
ANY_ROW = hnp.arrays(np.float32, (3, 8), elements=st.floats(-1, 1, width=32, allow_subnormal=False))


def random_units(count: int, dim: int, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


def cosine(a: Vectors, b: Vectors) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_int8_scales_the_largest_number_to_127() -> None:
    assert quantise(KNOWN).tolist() == [[127, -76, 18, 1]]
    back = Int8(4).decode(Int8(4).encode(KNOWN))[0]
    assert cosine(back, KNOWN[0]) == pytest.approx(0.999996, abs=5e-7)


@given(ANY_ROW.filter(lambda x: bool(np.abs(x).max(axis=1).min() > 0.01)))
def test_int8_stays_within_half_a_step_of_the_largest_number(vectors: Vectors) -> None:
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    back = quantise(vectors).astype(np.float32) * largest / 127
    assert (np.abs(back - vectors) <= largest / 254 * 1.0001).all()


def test_raw_codes_of_a_range_distort_angles_and_decoded_ones_do_not() -> None:
    codec = Int8Range(np.array([-1, -1], np.float32), np.array([1, 1], np.float32))
    codes = codec.encode(np.array([[1, 0], [0, 1]], np.float32))
    assert codes.tolist() == [[255, 128], [128, 255]]
    raw = codes.astype(np.float32)
    assert cosine(raw[0], raw[1]) == pytest.approx(0.802, abs=5e-4)
    decoded = codec.decode(codes)
    assert float(decoded[0] @ decoded[1]) == pytest.approx(0.0, abs=0.01)
    assert codec.scores(np.array([1, 0], np.float32), codes)[1] == pytest.approx(0.0, abs=0.01)


@given(ANY_ROW)
def test_a_range_stays_within_half_a_step(vectors: Vectors) -> None:
    low, high = np.full(8, -1, np.float32), np.linspace(1, 3, 8, dtype=np.float32)
    back = Int8Range(low, high).encode(vectors).astype(np.float32) / 255 * (high - low) + low
    assert (np.abs(back - vectors) <= (high - low) / 510 * 1.0001).all()


def test_a_range_is_fitted_without_the_outliers() -> None:
    sample = random_units(2000, 16)
    sample[0] = 0
    sample[0, 3] = 1.0  # far outside of what the others have there
    codec = Int8Range.fit(sample)
    rest = sample[1:]
    recovered = codec.decode(codec.encode(rest))
    assert np.einsum("ij,ij->i", recovered, rest).min() > 0.995


def test_a_dimension_without_variance_keeps_its_value() -> None:
    sample = np.tile(np.array([0.6, 0.8], np.float32), (100, 1))
    codec = Int8Range.fit(sample)
    np.testing.assert_allclose(codec.decode(codec.encode(sample[:3])), sample[:3], atol=1e-6)


def test_a_range_needs_a_sample_of_finite_numbers() -> None:
    with pytest.raises(InvalidInput, match="at least 100"):
        Int8Range.fit(random_units(99, 4))
    sample = random_units(100, 4)
    sample[5, 1] = np.nan
    with pytest.raises(InvalidInput, match="not finite"):
        Int8Range.fit(sample)


@pytest.mark.parametrize("dim", [1, 7, 8, 9, 384])
def test_binary_keeps_one_bit_for_each_number(dim: int) -> None:
    codec, rows = Binary(dim), random_units(50, dim)
    codes = codec.encode(rows)
    assert codes.shape == (50, -(-dim // 8))
    signs = np.where(rows >= 0, 1, -1)
    np.testing.assert_allclose(codec.decode(codes) * np.sqrt(dim), signs, atol=1e-5)
    query = random_units(1, dim, seed=1)[0]
    differing = (signs != np.where(query >= 0, 1, -1)).sum(axis=1)
    np.testing.assert_allclose(codec.scores(query, codes), 1 - 2 * differing / dim, atol=1e-6)


def test_int8_scores_are_near_the_cosines() -> None:
    rows, query = random_units(2000, 384), random_units(1, 384, seed=1)[0]
    np.testing.assert_allclose(Int8(384).scores(query, Int8(384).encode(rows)), rows @ query, atol=2e-3)


@pytest.mark.parametrize("codec", [Int8(8), Binary(8), Int8Range(-np.ones(8, np.float32), np.ones(8, np.float32))])
def test_an_empty_store_and_wrong_rows(codec: Int8 | Binary | Int8Range) -> None:
    query = random_units(1, 8)[0]
    assert codec.scores(query, codec.encode(np.empty((0, 8), np.float32))).shape == (0,)
    with pytest.raises(StorageError, match="expected rows of"):
        codec.scores(query, np.zeros((1, 9), np.uint8))
    with pytest.raises(InvalidInput, match="rows of 8 numbers"):
        codec.encode(random_units(1, 9))
    with pytest.raises(InvalidInput, match="not finite"):
        codec.encode(np.full((1, 8), np.inf, np.float32))
