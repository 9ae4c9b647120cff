"""What a codec is: unit vectors to rows of bytes and back, and how a question is compared with them.

A codec never changes once it is fitted: its parameters are data that is kept with the profile, and rows of two codecs
are never mixed. The question stays in float32, so only one side of each comparison loses precision. Source:
embedding_storage §2, §3.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import InvalidInput

Vectors = NDArray[np.float32]
Codes = NDArray[np.uint8]


class Codec(Protocol):
    """Pure and stateless after its making; safe in several threads."""

    @property
    def name(self) -> str:
        """What settings and profiles call it."""
        ...

    @property
    def dim(self) -> int:
        """Dimensions of the vectors that go in."""
        ...

    @property
    def out_dim(self) -> int:
        """Dimensions of the vectors that come out."""
        ...

    @property
    def bytes_per_vector(self) -> int:
        """Length of a row of codes."""
        ...

    def encode(self, vectors: Vectors) -> Codes:
        """Unit rows, float32 (n, dim), to codes, uint8 (n, bytes_per_vector). Raises `InvalidInput` for a value that is
        not finite or another number of dimensions."""
        ...

    def decode(self, codes: Codes) -> Vectors:
        """Unit rows again, float32 (n, out_dim), close to what went in (or to its projection). Raises `StorageError` for
        rows of another length."""
        ...

    def project(self, queries: Vectors) -> Vectors:
        """Unit questions, float32 (n, dim), in the space of `decode`, float32 (n, out_dim)."""
        ...

    def scores(self, query: Vectors, codes: Codes) -> Vectors:
        """Similarity of one projected question, float32 (out_dim,), with each row, float32 (n,); higher is nearer. Only
        scores of one codec compare."""
        ...

    def params(self) -> bytes:
        """What `registry.restore` makes the same codec from; empty when the name says it all."""
        ...


def finite(vectors: Vectors) -> Vectors:
    """The vectors. Raises `InvalidInput` when a number in them is not finite."""
    if not np.isfinite(vectors).all():
        raise InvalidInput("vectors: a value is not finite; embed the text again", param="vector")
    return vectors


def checked(vectors: Vectors, dim: int) -> Vectors:
    """Rows of `dim` finite numbers. Raises `InvalidInput`."""
    if vectors.ndim != 2 or vectors.shape[1] != dim:
        raise InvalidInput(
            f"vectors of shape {vectors.shape}: expected rows of {dim} numbers, as the codec was made for",
            param="vector",
        )
    return finite(vectors)


def unit(vectors: Vectors) -> Vectors:
    """Each row divided by its length; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    made: Vectors = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return made
