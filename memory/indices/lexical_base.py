"""The values of full-text search. Source: ours."""

from __future__ import annotations

from typing import NamedTuple


class LexicalRow(NamedTuple):
    """What is written for one memory: `seq` is its short key, `fields` what names it rather than says it."""

    seq: int
    vault_id: str
    text: str
    fields: str


class LexicalHit(NamedTuple):
    """A row that was found, with the BM25 score of its text and of its fields; higher is better, 0 is no match."""

    seq: int
    text_score: float
    fields_score: float
