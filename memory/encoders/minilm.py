"""all-MiniLM-L6-v2 (384 dimensions, at most 256 tokens) from the packaged weights, without torch.

The forward pass is NumPy's (bert.py). onnxruntime answers a question in half the time and reads a document in two thirds
of it, but 6 ms is within what a search may take, documents are read in the background, and it would add 73 MB and a step
that makes the graph, which no package with these weights carries. Measured on one thread of a busy EPYC core, paragraphs
of 70 tokens, questions of 14; `python -m evals.bench.encoders --onnx` measures it again:

| | texts/s | ms per question | smallest cosine with float32 | MB on disk |
| --- | --- | --- | --- | --- |
| NumPy | 66-82 | 6-7 | 0.9999999 | none of its own |
| onnxruntime 1.32.0, graph made from these weights | 85 | 3.2 | 0.9999995 | 73, and the package that makes the graph |
| the same, int8 weights | 144 | 0.9 | 0.84 | as above |
| openvino 2026 | 83 | 2.4 | 0.9999999 | 178 |

Two threads per call gain a fifth when the machine is idle and lose most when it is not.
Source: storage §3; Reimers and Gurevych 2019 (mean pooling, unit vectors).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memory.encoders.base import EncoderUnavailable, Profile, Role, Vectors, unit_rows, well_formed
from memory.encoders.bert import Bert
from memory.encoders.local import Workers, by_length, in_order, one_blas_thread
from memory.encoders.tokens import load_tokenizer
from memory.encoders.weights import read_safetensors

SLUG = "minilm-l6"
LONGEST = 256
# About 1000 tokens: the products are then large enough for the processor and the arrays small enough for its cache.
BATCH_CHARACTERS = 4_000
# What the tokenizer could still need of a text that is cut at 256 tokens. The longest word of its table has 18 letters,
# but white space counts for nothing, so a text is only cut where it is far beyond any prose.
KEPT_CHARACTERS = 20_000


class MiniLM:
    """See `Encoder`."""

    def __init__(self, folder: Path, *, revision: str, batch_size: int = 64, threads: int | None = None) -> None:
        """`folder` holds `model.safetensors` and `tokenizer.json`. Raises `EncoderUnavailable`."""
        self._tokenizer = load_tokenizer(folder / "tokenizer.json", longest=LONGEST)
        try:
            self._bert = Bert(read_safetensors(folder / "model.safetensors"))
        except KeyError as error:
            raise EncoderUnavailable(f"weights in {str(folder)!r}: no tensor {error}; fetch them again") from error
        self._batch_size = batch_size
        self._workers = Workers(threads)
        one_blas_thread()
        self.profile = Profile(SLUG, "packaged", "all-MiniLM-L6-v2", revision, self._bert.dim)

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        """See `Encoder`. Text after the 256th token is not read."""
        batches = list(by_length(texts, size=self._batch_size, characters=BATCH_CHARACTERS))
        parts = await self._workers.run(self._encode, texts, batches, role=role)
        return in_order(parts, batches, dim=self.profile.dim)

    async def aclose(self) -> None:
        """See `Encoder`."""

    def _encode(self, texts: Sequence[str]) -> Vectors:
        encoded = self._tokenizer.encode_batch([well_formed(text[:KEPT_CHARACTERS]) for text in texts])
        return unit_rows(self._bert([entry.ids for entry in encoded]))
