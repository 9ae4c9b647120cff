from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memory.codecs.base import Vectors, unit
from memory.codecs.floats import FORMATS, Floats, cast
from runtime.errors import InvalidInput, StorageError

KNOWN = np.array([[0.52, -0.31, 0.075, 0.004]], np.float32)
# Largest relative error of a normal number, and the smallest normal number, of each format.
ERROR = {"f32": 0.0, "f16": 2**-11, "bf16": 2**-8, "f8_e4m3": 2**-4, "f8_e5m2": 2**-3}
SMALLEST = {"f32": 2**-126, "f16": 2**-14, "bf16": 2**-126, "f8_e4m3": 2**-6, "f8_e5m2": 2**-14}


def numbers(name: str, *values: float, clamp: bool = True) -> list[float]:
    with np.errstate(over="ignore", invalid="ignore"):
        return [float(x) for x in cast(np.array([values], np.float32), name, clamp=clamp)[0]]


def random_units(count: int, dim: int, seed: int = 0) -> Vectors:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32))


def test_e4m3_rounds_to_the_published_numbers_and_bytes() -> None:
    codec = Floats("f8_e4m3", 4)
    assert numbers("f8_e4m3", *KNOWN[0]) == [0.5, -0.3125, 0.078125, 0.00390625]
    assert codec.encode(KNOWN).tolist() == [[48, 170, 26, 2]]
    cosine = float(codec.decode(codec.encode(KNOWN))[0] @ unit(KNOWN)[0])
    assert cosine == pytest.approx(0.99975, abs=5e-6)


def test_e4m3_has_three_bits_and_no_infinity() -> None:
    assert numbers("f8_e4m3", 0.1, 0.0005, 464) == [0.1015625, 0.0, 448.0]
    assert math.isnan(numbers("f8_e4m3", 465, clamp=False)[0])
    assert numbers("f8_e4m3", 465, 1e9, -1e9) == [448.0, 448.0, -448.0]


def test_e5m2_has_two_bits_and_overflows_to_infinity_unless_clamped() -> None:
    assert numbers("f8_e5m2", 0.1) == [0.09375]
    assert math.isinf(numbers("f8_e5m2", 61_440, clamp=False)[0])
    assert numbers("f8_e5m2", 61_440, -1e9) == [57_344.0, -57_344.0]


@pytest.mark.parametrize("name", FORMATS)
@given(
    vectors=hnp.arrays(np.float32, (3, 8), elements=st.floats(-1, 1, width=32, allow_subnormal=False)).filter(
        lambda x: bool(np.abs(x).max(axis=1).min() > 0.01)
    )
)
def test_a_round_trip_stays_within_the_stated_error(name: str, vectors: Vectors) -> None:
    back = cast(vectors, name).astype(np.float32)
    bound = ERROR[name] * np.maximum(np.abs(vectors), SMALLEST[name])
    assert (np.abs(back - vectors) <= bound + 1e-12).all()
    decoded = Floats(name, 8).decode(Floats(name, 8).encode(vectors))
    np.testing.assert_allclose(np.linalg.norm(decoded, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("name", FORMATS)
def test_scores_are_the_cosines_of_what_is_decoded(name: str) -> None:
    codec, rows = Floats(name, 32), random_units(5000, 32)
    codes = codec.encode(rows)
    assert codes.shape == (5000, codec.bytes_per_vector)
    query = random_units(1, 32, seed=1)[0]
    np.testing.assert_allclose(codec.scores(query, codes), codec.decode(codes) @ query, atol=2e-3)


@pytest.mark.parametrize("name", FORMATS)
def test_an_empty_store_has_no_scores(name: str) -> None:
    codec = Floats(name, 8)
    assert codec.scores(random_units(1, 8)[0], codec.encode(np.empty((0, 8), np.float32))).shape == (0,)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_is_refused(bad: float) -> None:
    rows = random_units(3, 8)
    rows[1, 2] = bad
    with pytest.raises(InvalidInput, match="not finite"):
        Floats("f16", 8).encode(rows)


def test_vectors_and_rows_of_another_size_are_refused() -> None:
    codec = Floats("f8_e4m3", 8)
    with pytest.raises(InvalidInput, match=r"\(2, 9\).*rows of 8 numbers"):
        codec.encode(random_units(2, 9))
    with pytest.raises(StorageError, match="rows of 8 bytes"):
        codec.decode(np.zeros((2, 7), np.uint8))
    with pytest.raises(StorageError, match="rows of 8 bytes"):
        codec.scores(random_units(1, 8)[0], np.zeros((2, 9), np.uint8))
