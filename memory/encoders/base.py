"""What turns texts into vectors, and the name of the space that the vectors live in.

Vectors of two profiles are never compared: a model, its revision, its size or its prefixes make another space. Source:
memos §3.12, §5; embedding_storage §2; ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import ModelError

Role = Literal["doc", "query"]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Profile:
    """The identity of a vector space. `slug` names it in one word; equal slugs mean comparable vectors."""

    slug: str
    provider: str
    model: str
    revision: str
    dim: int
    metric: str = "cosine"
    normalise: bool = True
    prefix_doc: str = ""
    prefix_query: str = ""


class Encoder(Protocol):
    """Texts to unit vectors of one space. Safe to call from several tasks at once."""

    @property
    def profile(self) -> Profile:
        """The space of the vectors."""
        ...

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """One unit row for each text, float32 (n, profile.dim); no texts give (0, dim).

        `role` matters to models that expect another prefix before questions than before documents. Raises
        `ModelError` (a server that cannot be reached, a reply that is no protocol).
        """
        ...

    async def aclose(self) -> None:
        """Give back connections and memory."""
        ...


class EncoderUnavailable(ModelError):
    """The encoder that is configured has no weights on this machine; the message names the command that fetches them."""

    code = "encoder_unavailable"


def unit_rows(vectors: Vectors) -> Vectors:
    """Each row divided by its length, in place, float32. A row of zeros, which has no direction, becomes the first axis,
    so that a text without a single known word still has one."""
    # In float64, where the squares of the largest and the smallest float32 still fit.
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))[:, None]
    empty = norms[:, 0] == 0.0
    vectors[empty, 0] = norms[empty] = 1.0
    vectors /= norms
    return vectors


def well_formed(text: str) -> str:
    """The text with a question mark for each half of a surrogate pair, which no tokenizer and no server takes."""
    return text.encode("utf-8", "replace").decode()
