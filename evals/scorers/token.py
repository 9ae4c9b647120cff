"""Short answers that must stand in the reply as a word of their own. Source: README of the small-model tasks; ours."""

from __future__ import annotations

import re

from agents.verifiers.text import squad_normal
from evals.base import Score


def token(text: str, gold: str) -> Score:
    """Right when the answer stands in the reply and is not a part of a longer word or number."""
    said = squad_normal(text)
    found = re.search(rf"(?<!\w){re.escape(gold)}(?!\w)", text, re.IGNORECASE) is not None
    return Score(float(found), said[:200] or None, "token" if said else None)
