"""What a question asks for, taken apart: words, people, dates, and what is left for the encoder. Pure.

Who said something and when are fields of a memory, not words of it. A small encoder that reads "What did Ann paint?"
finds every text that speaks to Ann; without the name it finds paintings, and the field finds Ann. So a name that is a
speaker of some candidate is matched against that field only. Source: design storage §4b; ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from memory.indices import words as indexed
from memory.ranking import dates, words

WORD: Final = re.compile(r"([^\W_]+)(['’`]s\b)?")
SHORTEST_NAME: Final = 2


@dataclass(frozen=True, slots=True)
class Question:
    """`terms`: stems to be matched, names of speakers left out; `people`: the words of those names; `meaning`: the
    question without them, which is what the encoder reads."""

    text: str
    terms: tuple[str, ...]
    people: frozenset[str]
    meaning: str
    dates: tuple[dates.When, ...]


def understood(text: str, speakers: Iterable[str]) -> Question:
    """Take the question apart; `speakers` are those of the candidates. A question of names only keeps them as words."""
    said = set(indexed.prepared(text).split())
    people = frozenset(word for speaker in speakers for word in name_words(speaker) if word in said)
    asked = words.terms(text)
    terms = tuple(term for term in asked if term not in {words.stem(word) for word in people})
    if not people or not terms:
        return Question(text, asked, people, text, dates.named(text))
    return Question(text, terms, people, _without(text, people), dates.named(text))


def name_words(name: str) -> tuple[str, ...]:
    """The words of a name as they are compared."""
    split = indexed.prepared(name).split()
    return tuple(word for word in split if len(word) >= SHORTEST_NAME and word not in indexed.STOP_WORDS)


def _without(text: str, people: frozenset[str]) -> str:
    kept = WORD.sub(lambda found: "" if indexed.prepared(found[1]) in people else found[0], text)
    return " ".join(kept.split())
