"""A second opinion on the best hits: a model that reads question and text together. None ships; off unless it is given.

Source: memos §3.2 (5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Reranker(Protocol):
    """For example a cross encoder behind HTTP."""

    async def rerank(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        """How well each text answers the question, higher is better, in any scale. Raises `ModelError`."""
        ...
