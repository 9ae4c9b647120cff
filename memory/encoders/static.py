"""A table of one vector for each token; a text is the mean of its rows. Ten thousand texts a second.

It reads words, not sentences: alone it finds no more than keywords do, in a fusion with them it adds a little.
Source: storage §3; ours (the packaged reader of these weights cannot find its own tokenizer).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from memory.encoders.base import EncoderUnavailable, Profile, Role, Vectors, unit_rows, well_formed
from memory.encoders.local import Workers, by_length, in_order
from memory.encoders.tokens import load_tokenizer
from memory.encoders.weights import read_safetensors

SLUG = "wordllama-256"
TABLE = "embedding.weight"
BATCH_CHARACTERS = 200_000
# So little is read sooner than another thread is woken (a tenth of a millisecond).
AT_ONCE_CHARACTERS = 1_000


class StaticTable:
    """See `Encoder`."""

    def __init__(self, folder: Path, *, revision: str, batch_size: int = 1024, threads: int | None = None) -> None:
        """`folder` holds `model.safetensors` and `tokenizer.json`. Raises `EncoderUnavailable`."""
        self._tokenizer = load_tokenizer(folder / "tokenizer.json", longest=None)
        tensors = read_safetensors(folder / "model.safetensors")
        if TABLE not in tensors:
            raise EncoderUnavailable(f"weights in {str(folder)!r}: no tensor {TABLE!r}; fetch them again")
        self._table = tensors[TABLE]
        self._batch_size = batch_size
        self._workers = Workers(threads)
        self.profile = Profile(SLUG, "packaged", "wordllama-l2-supercat", revision, int(self._table.shape[1]))

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """See `Encoder`. A text of any length is read to its end."""
        if sum(map(len, texts)) <= AT_ONCE_CHARACTERS:
            return self._encode(texts)
        batches = list(by_length(texts, size=self._batch_size, characters=BATCH_CHARACTERS))
        parts = await self._workers.run(self._encode, texts, batches, role=role)
        return in_order(parts, batches, dim=self.profile.dim)

    async def aclose(self) -> None:
        """See `Encoder`."""

    def _encode(self, texts: Sequence[str]) -> Vectors:
        out = np.zeros((len(texts), self.profile.dim), np.float32)
        read = self._tokenizer.encode_batch([well_formed(text) for text in texts], add_special_tokens=False)
        for row, entry in enumerate(read):
            if entry.ids:
                out[row] = self._table[entry.ids].astype(np.float32).mean(axis=0)
        return unit_rows(out)
