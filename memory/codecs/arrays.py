"""Float32 arrays as bytes: a JSON line with names, shapes and a digest, then the numbers. Equal arrays, equal bytes.

Source: ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np

from memory.codecs.base import Vectors
from runtime.errors import StorageError

FORMAT = np.dtype("<f4")


def pack(named: Mapping[str, Vectors]) -> bytes:
    """The arrays, in the order of their names."""
    ordered = sorted(named.items())
    body = b"".join(np.ascontiguousarray(array, FORMAT).tobytes() for _, array in ordered)
    head = {"arrays": {name: array.shape for name, array in ordered}, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(head).encode() + b"\n" + body


def unpack(data: bytes) -> dict[str, Vectors]:
    """The arrays again. Raises `StorageError` when the bytes are not what was packed."""
    line, _, body = data.partition(b"\n")
    try:
        head = json.loads(line)
        shapes = {str(name): tuple(shape) for name, shape in head["arrays"].items()}
        intact = head["sha256"] == hashlib.sha256(body).hexdigest()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StorageError(f"codec parameters: not readable ({error}); fit the codec again") from error
    if not intact or len(body) != sum(int(np.prod(shape)) for shape in shapes.values()) * FORMAT.itemsize:
        raise StorageError("codec parameters: wrong length or checksum; fit the codec again")
    out: dict[str, Vectors] = {}
    offset = 0
    for name, shape in shapes.items():
        count = int(np.prod(shape))
        out[name] = np.frombuffer(body, FORMAT, count=count, offset=offset).reshape(shape).astype(np.float32)
        offset += count * FORMAT.itemsize
    return out
