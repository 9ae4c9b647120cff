"""Reads a safetensors file as arrays over the mapped file.

Mapped pages are shared: four workers hold the weights once, and the rows of a table that no text needs are never read.
The public readers copy every tensor into the process. Source: the safetensors format (8 bytes of length, a JSON header,
the tensors); ours.
"""

from __future__ import annotations

import json
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memory.encoders.base import EncoderUnavailable

TYPES: Mapping[str, Any] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "I64": np.dtype("<i8")}
LONGEST_HEADER = 10_000_000


def read_safetensors(path: Path) -> dict[str, NDArray[Any]]:
    """Every tensor by name, read-only. Raises `EncoderUnavailable` when the file is absent or not of that format."""
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise EncoderUnavailable(f"weights {str(path)!r}: cannot be read ({error}); fetch them again") from error
    try:
        (length,) = struct.unpack_from("<Q", mapped, 0)
        if length > min(LONGEST_HEADER, len(mapped) - 8):
            raise ValueError(f"a header of {length} bytes in a file of {len(mapped)}")
        header = json.loads(mapped[8 : 8 + length])
        if not isinstance(header, dict):
            raise ValueError(f"a header that is a {type(header).__name__}")
        return {
            name: _tensor(mapped, 8 + length, entry["dtype"], entry["shape"], entry["data_offsets"])
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise EncoderUnavailable(
            f"weights {str(path)!r}: not a safetensors file ({error}); fetch them again"
        ) from error


def _tensor(mapped: mmap.mmap, start: int, kind: str, shape: list[int], offsets: list[int]) -> NDArray[Any]:
    dtype = TYPES[kind]
    count = int(np.prod(shape, dtype=np.int64))
    begin, end = offsets
    if not 0 <= begin <= end <= len(mapped) - start or end - begin != count * dtype.itemsize:
        raise ValueError(f"a tensor of shape {shape} in the bytes from {begin} to {end}")
    return np.frombuffer(mapped, dtype, count=count, offset=start + begin).reshape(shape)
