"""Words and pieces of words thrown into a fixed number of buckets: an encoder that needs nothing at all.

It finds the same words and their inflections, no synonyms. It is the floor for tests and for a machine that cannot
fetch weights, and is used only when it is asked for by name. Source: Weinberger et al. 2009 (the signed hashing trick);
storage §3; ours.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence

import anyio
import numpy as np

from memory.encoders.base import Profile, Role, Vectors, unit_rows

DIM = 384
REVISION = "1"
WORD = re.compile(r"\w+")
WORD_WEIGHT = 1.0
# The pieces of a word together weigh about as much as the word.
PIECES = (3, 4)
BESIDE_THE_LOOP = 20_000


class Hashing:
    """See `Encoder`. The same text gives the same vector on every machine."""

    def __init__(self, dim: int = DIM) -> None:
        self.profile = Profile(f"hashing-{dim}", "hashing", "words+3,4-grams", REVISION, dim)

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """See `Encoder`."""
        if sum(len(text) for text in texts) < BESIDE_THE_LOOP:
            return self.vectors(texts)
        return await anyio.to_thread.run_sync(self.vectors, texts)

    async def aclose(self) -> None:
        """See `Encoder`."""

    def vectors(self, texts: Sequence[str]) -> Vectors:
        """`encode`, at once."""
        out = np.zeros((len(texts), self.profile.dim), np.float32)
        for row, text in enumerate(texts):
            for bucket, weight in self._buckets(text):
                out[row, bucket] += weight
        return unit_rows(out)

    def _buckets(self, text: str) -> Iterator[tuple[int, float]]:
        words = Counter(WORD.findall(unicodedata.normalize("NFKC", text).casefold()))
        for word, count in words.items():
            # A word said twice counts for more, but not for twice as much.
            weight = 1.0 + float(np.log(count))
            yield self._signed(word, weight * WORD_WEIGHT)
            pieces = [piece for size in PIECES for piece in _pieces(f"<{word}>", size)]
            for piece in pieces:
                yield self._signed(f"#{piece}", weight / len(pieces) ** 0.5)

    def _signed(self, feature: str, weight: float) -> tuple[int, float]:
        digest = zlib.crc32(feature.encode())
        # The sign comes from a bit that the remainder does not hang on, so that collisions cancel on average.
        return (digest >> 1) % self.profile.dim, weight if digest & 1 else -weight


def _pieces(word: str, size: int) -> Iterator[str]:
    for start in range(len(word) - size + 1):
        yield word[start : start + size]
