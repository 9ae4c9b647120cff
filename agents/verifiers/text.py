"""Free text and questions: equal after normalisation. Neither can be judged without a gold answer.

A chat may well ask for a final answer; where the reply boxes one, that is what is compared. The normalisation of
questions is that of SQuAD (lower case, no punctuation, no articles, single spaces). Source: evaluation sheet §3.4.
"""

from __future__ import annotations

import re
import string

from agents.tasks import Task
from agents.verifiers.answers import boxed, normal
from agents.verifiers.base import Verdict

ARTICLES = re.compile(r"\b(a|an|the)\b")
PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad_normal(text: str) -> str:
    """Lower case, without punctuation and articles, single spaces."""
    return " ".join(ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split())


class TextVerifier:
    """The boxed answer of a reply, or else all of it, compared without case and spacing."""

    async def verify(self, task: Task, text: str) -> Verdict | None:
        """Free text has no test."""
        return None

    async def canonical(self, task: Task, text: str) -> str | None:
        """See `Verifier`."""
        inside = boxed(text)
        if inside is not None:
            return normal(inside)
        return " ".join(text.casefold().split()) or None


class QAVerifier(TextVerifier):
    """Short answers."""

    async def canonical(self, task: Task, text: str) -> str | None:
        """See `Verifier`."""
        return squad_normal(text) or None
