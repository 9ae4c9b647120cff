"""The vector of a memory as it lies in SQL: float16, little-endian, without a header, with a checksum beside it.

From these blobs every index can be built again. A damaged one is an error, never a score. Source: embedding_storage §2,
§5; design storage §2.
"""

from __future__ import annotations

import zlib

import numpy as np

from memory.codecs.base import Vectors, finite
from runtime.errors import InvalidInput, StorageError

FORMAT = np.dtype("<f2")
UNIT_SLACK = 0.01


def encode(vector: Vectors) -> tuple[bytes, int]:
    """The bytes (2 for each number) of the unit vector, and their crc32. Raises `InvalidInput` for one that is zero, not
    finite, or not of length 1: a float16 holds no raw vector, whose numbers may be too large or too small for it."""
    length = float(np.linalg.norm(finite(vector)))
    if abs(length - 1.0) > UNIT_SLACK:
        what = "all of it is zero" if length == 0.0 else f"its length is {length:.4g}"
        raise InvalidInput(f"vector: {what}; expected a unit vector, normalise it when it is encoded", param="vector")
    data = vector.astype(FORMAT).tobytes()
    return data, zlib.crc32(data)


def decode(data: bytes, crc32: int, dim: int) -> Vectors:
    """The unit vector again. Raises `StorageError` when the bytes are not those that were written."""
    if len(data) != dim * FORMAT.itemsize or zlib.crc32(data) != crc32:
        raise StorageError(
            f"stored vector: {len(data)} bytes with a wrong length or checksum; expected {dim} × 2 bytes. Embed the "
            "memory again"
        )
    vector = np.frombuffer(data, FORMAT).astype(np.float32)
    return vector / np.linalg.norm(vector)
