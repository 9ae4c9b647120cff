"""Floating-point codecs: f32, f16, bf16, and the two kinds of float8.

`clamp` comes before the cast to float8: beyond its range e4m3 has only NaN and e5m2 infinity. Unit vectors never need
it, raw ones do. Source: embedding_storage §3; Micikevicius et al. 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import simsimd
from numpy.typing import NDArray

from memory.codecs.base import Codes, Vectors, checked, unit
from runtime.errors import StorageError

FORMATS: Mapping[str, Any] = {
    "f32": np.dtype("<f4"),
    "f16": np.dtype("<f2"),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f8_e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
LARGEST = {"f8_e4m3": 448.0, "f8_e5m2": 57344.0}
# Decoded at a time: 8 MB of float32 at 512 dimensions.
BLOCK = 4096


def cast(vectors: Vectors, name: str, *, clamp: bool = True) -> NDArray[Any]:
    """The nearest numbers of the format."""
    if clamp and name in LARGEST:
        vectors = np.clip(vectors, -LARGEST[name], LARGEST[name])
    made: NDArray[Any] = vectors.astype(FORMATS[name])
    return made


class Floats:
    """See `Codec`. Round trip: relative error at most 2^-24, 2^-11, 2^-8, 2^-4 and 2^-3 of each number."""

    def __init__(self, name: str, dim: int) -> None:
        self.name = name
        self.dim = self.out_dim = dim
        self._format = FORMATS[name]
        self.bytes_per_vector = dim * self._format.itemsize
        # Looking up the number of each byte is five times faster than converting it.
        every = np.arange(256, dtype=np.uint8)
        self._numbers: Vectors | None = every.view(self._format).astype(np.float32) if name in LARGEST else None

    def encode(self, vectors: Vectors) -> Codes:
        """See `Codec`."""
        numbers = np.ascontiguousarray(cast(checked(vectors, self.dim), self.name))
        return numbers.view(np.uint8).reshape(len(vectors), self.bytes_per_vector)

    def decode(self, codes: Codes) -> Vectors:
        """See `Codec`."""
        rows = rows_of(codes, self.bytes_per_vector)
        if self._numbers is not None:
            return unit(self._numbers[rows])
        return unit(rows.view(self._format).astype(np.float32))

    def project(self, queries: Vectors) -> Vectors:
        """See `Codec`."""
        return checked(queries, self.dim)

    def scores(self, query: Vectors, codes: Codes) -> Vectors:
        """See `Codec`. float16 goes through a kernel for it: NumPy has none and is twenty times slower."""
        rows = rows_of(codes, self.bytes_per_vector)
        if self.name == "f16" and len(rows):
            distances = simsimd.cdist(query[None].astype(np.float16), rows.view(np.float16), "cosine")
            nearness: Vectors = np.float32(1.0) - np.asarray(distances, np.float32)[0]
            return nearness
        return in_blocks(query, rows, self.decode)

    def params(self) -> bytes:
        """See `Codec`."""
        return b""


def in_blocks(query: Vectors, rows: Codes, decode: Callable[[Codes], Vectors]) -> Vectors:
    """Scores by decoding, a block at a time."""
    out = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        out[part] = decode(rows[part]) @ query
    return out


def rows_of(codes: Codes, length: int) -> Codes:
    """The codes, in one piece. Raises `StorageError` when they are not rows of `length` bytes."""
    if codes.dtype != np.uint8 or codes.ndim != 2 or codes.shape[1] != length:
        raise StorageError(
            f"codes of shape {codes.shape}, type {codes.dtype}: expected rows of {length} bytes; embed the memories again"
        )
    return np.ascontiguousarray(codes)
