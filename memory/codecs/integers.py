"""Codecs of one byte or one bit for each number: int8, int8_range, binary.

`int8` scales every vector by its own largest number. The scale is not kept: what is compared is the direction. It was
the best of four times smaller ones. `int8_range` maps the range of each dimension, fitted on a sample, to 0…255, and is
decoded before it is compared: the cosine of the raw codes is that of shifted vectors (two at a right angle score 0.80).
`binary` keeps the signs. Source: embedding_storage §3, §7; design storage §2.
"""

from __future__ import annotations

import numpy as np
import simsimd
from numpy.typing import NDArray

from memory.codecs import arrays
from memory.codecs.base import Codes, Vectors, checked, unit
from memory.codecs.floats import in_blocks, rows_of
from runtime.errors import InvalidInput, StorageError

STEPS = 127
LOW, HIGH = 0.1, 99.9
SMALLEST_SAMPLE = 100


class Int8:
    """See `Codec`. Round trip: each number within 1/254 of the largest of its vector."""

    name = "int8"

    def __init__(self, dim: int) -> None:
        self.dim = self.out_dim = self.bytes_per_vector = dim

    def encode(self, vectors: Vectors) -> Codes:
        """See `Codec`."""
        return quantise(checked(vectors, self.dim)).view(np.uint8)

    def decode(self, codes: Codes) -> Vectors:
        """See `Codec`."""
        return unit(rows_of(codes, self.dim).view(np.int8).astype(np.float32))

    def project(self, queries: Vectors) -> Vectors:
        """See `Codec`."""
        return checked(queries, self.dim)

    def scores(self, query: Vectors, codes: Codes) -> Vectors:
        """See `Codec`. The question is put into bytes too: then one kernel compares a hundred thousand in 2 ms."""
        rows = rows_of(codes, self.dim).view(np.int8)
        if not len(rows):
            return np.empty(0, np.float32)
        distances = np.asarray(simsimd.cdist(quantise(query[None]), rows, "cosine"), np.float32)
        nearness: Vectors = np.float32(1.0) - distances[0]
        return nearness

    def params(self) -> bytes:
        """See `Codec`."""
        return b""


def quantise(vectors: Vectors) -> NDArray[np.int8]:
    """Each row scaled so that its largest number is ±127, rounded."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    scaled = np.divide(vectors * STEPS, largest, out=np.zeros_like(vectors), where=largest > 0)
    codes: NDArray[np.int8] = np.rint(scaled).astype(np.int8)
    return codes


class Int8Range:
    """See `Codec`. Round trip: each number within (hi − lo)/510, when it lies in the range of its dimension."""

    name = "int8_range"

    def __init__(self, low: Vectors, high: Vectors) -> None:
        """`low` and `high` of each dimension, float32 (dim,)."""
        self.dim = self.out_dim = self.bytes_per_vector = len(low)
        self._low = low
        # A dimension in which the sample does not differ keeps its one value.
        self._span: Vectors = np.where(high > low, high - low, np.float32(1.0))
        self._high = high

    @classmethod
    def fit(cls, sample: Vectors) -> Int8Range:
        """Ranges that leave out one number in a thousand on each side. Raises `InvalidInput` for too few rows."""
        if len(checked(sample, sample.shape[1])) < SMALLEST_SAMPLE:
            raise InvalidInput(
                f"sample of {len(sample)} vectors: too few to fit ranges on; expected at least {SMALLEST_SAMPLE}, or the "
                "codec 'int8', which needs none",
                param="sample",
            )
        low, high = np.percentile(sample, [LOW, HIGH], axis=0)
        return cls(low.astype(np.float32), high.astype(np.float32))

    @classmethod
    def restore(cls, params: bytes, dim: int) -> Int8Range:
        """From `params()`. Raises `StorageError` when they are damaged or not for `dim` numbers."""
        kept = arrays.unpack(params)
        low, high = arrays.named(kept, "low"), arrays.named(kept, "high")
        if low.shape != (dim,) or high.shape != (dim,):
            raise StorageError(
                f"codec parameters: ranges of shape {low.shape}, expected ({dim},); they are of another codec"
            )
        return cls(low, high)

    def encode(self, vectors: Vectors) -> Codes:
        """See `Codec`."""
        scaled = (checked(vectors, self.dim) - self._low) / self._span * 255
        codes: Codes = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return codes

    def decode(self, codes: Codes) -> Vectors:
        """See `Codec`."""
        numbers: Vectors = rows_of(codes, self.dim).astype(np.float32)
        numbers *= self._span / np.float32(255)
        numbers += self._low
        return unit(numbers)

    def project(self, queries: Vectors) -> Vectors:
        """See `Codec`."""
        return checked(queries, self.dim)

    def scores(self, query: Vectors, codes: Codes) -> Vectors:
        """See `Codec`."""
        return in_blocks(query, rows_of(codes, self.dim), self.decode)

    def params(self) -> bytes:
        """See `Codec`."""
        return arrays.pack({"low": self._low, "high": self._high})


class Binary:
    """See `Codec`. Scores are 1 − 2·(differing signs)/dim; made for a shortlist that is scored again."""

    name = "binary"

    def __init__(self, dim: int) -> None:
        self.dim = self.out_dim = dim
        self.bytes_per_vector = -(-dim // 8)

    def encode(self, vectors: Vectors) -> Codes:
        """See `Codec`."""
        return np.packbits(checked(vectors, self.dim) >= 0, axis=1)

    def decode(self, codes: Codes) -> Vectors:
        """See `Codec`."""
        bits = np.unpackbits(rows_of(codes, self.bytes_per_vector), axis=1, count=self.dim)
        return unit(bits.astype(np.float32) * 2 - 1)

    def project(self, queries: Vectors) -> Vectors:
        """See `Codec`."""
        return checked(queries, self.dim)

    def scores(self, query: Vectors, codes: Codes) -> Vectors:
        """See `Codec`."""
        rows = rows_of(codes, self.bytes_per_vector)
        differing = np.bitwise_count(rows ^ np.packbits(query >= 0)).sum(axis=1, dtype=np.int32)
        nearness: Vectors = (1.0 - 2.0 * differing / self.dim).astype(np.float32)
        return nearness

    def params(self) -> bytes:
        """See `Codec`."""
        return b""
