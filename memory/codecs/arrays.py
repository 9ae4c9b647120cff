"""Float32 arrays as bytes: a digest of all that follows, a line of JSON with names and shapes, then the numbers.

Equal arrays give equal bytes, and bytes that were changed anywhere are refused. Source: embedding_storage §2
(`codec_params`, sha256), §5; ours.
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
    head = json.dumps({name: array.shape for name, array in ordered}).encode()
    body = b"".join(np.ascontiguousarray(array, FORMAT).tobytes() for _, array in ordered)
    return b"\n".join((_digest(head + b"\n" + body), head, body))


def unpack(data: bytes) -> dict[str, Vectors]:
    """The arrays again. Raises `StorageError` when the bytes are not what was packed."""
    digest, _, rest = data.partition(b"\n")
    if digest != _digest(rest):
        raise StorageError(
            f"codec parameters: {len(data)} bytes with a wrong checksum; fit the codec again: `mneme memory reembed --refit`"
        )
    head, _, body = rest.partition(b"\n")
    out: dict[str, Vectors] = {}
    offset = 0
    for name, shape in json.loads(head).items():
        count = int(np.prod(shape))
        out[name] = np.frombuffer(body, FORMAT, count=count, offset=offset).reshape(shape).astype(np.float32)
        offset += count * FORMAT.itemsize
    return out


def named(arrays: Mapping[str, Vectors], name: str) -> Vectors:
    """One of them. Raises `StorageError` when it is not there."""
    if name not in arrays:
        raise StorageError(f"codec parameters: no {name!r}; they are of another codec")
    return arrays[name]


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()
