from __future__ import annotations

import numpy as np
import pytest

from memory.codecs import blob
from memory.codecs.base import Vectors, unit
from runtime.errors import InvalidInput, StorageError


def vector(dim: int = 384) -> Vectors:
    row: Vectors = unit(np.random.default_rng(0).normal(size=(1, dim)).astype(np.float32))[0]
    return row


def test_two_bytes_for_each_number_and_the_direction_is_kept() -> None:
    data, crc32 = blob.encode(vector())
    assert len(data) == 768
    back = blob.decode(data, crc32, 384)
    assert np.linalg.norm(back) == pytest.approx(1.0, abs=1e-6)
    assert float(back @ vector()) > 0.999999


def test_encoding_twice_gives_the_same_bytes() -> None:
    assert blob.encode(vector()) == blob.encode(vector())


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused(bad: float) -> None:
    row = vector()
    row[7] = bad
    with pytest.raises(InvalidInput, match="not finite"):
        blob.encode(row)


def test_a_vector_of_zeros_is_refused() -> None:
    with pytest.raises(InvalidInput, match="zero"):
        blob.encode(np.zeros(8, np.float32))


@pytest.mark.parametrize("length", [1e-9, 0.5, 70_000.0])
def test_a_vector_that_is_not_of_length_one_is_refused(length: float) -> None:
    with pytest.raises(InvalidInput, match="expected a unit vector"):
        blob.encode(vector(16) * np.float32(length))


def test_a_damaged_blob_is_an_error_and_never_a_vector() -> None:
    data, crc32 = blob.encode(vector(16))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 0x10
        with pytest.raises(StorageError, match="checksum"):
            blob.decode(bytes(damaged), crc32, 16)
    for other in (data[:-2], data + b"\0\0", b""):
        with pytest.raises(StorageError, match="expected 16 × 2 bytes"):
            blob.decode(other, crc32, 16)
    with pytest.raises(StorageError, match="expected 32 × 2 bytes"):
        blob.decode(data, crc32, 32)
