"""What a question asks for, and how often each text says it. Pure.

Question and texts are cut into words and stemmed as the full text is (memory/indices); only words of a text that begin
like one of the question are stemmed. Irregular verbs are one word with their forms, which no stemmer knows: questions say
"did she go", answers say "went". Source: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memory.indices import porter
from memory.indices import words as indexed

Floats = NDArray[np.float32]
Places = NDArray[np.intp]
# What is left of a word by the stemmer begins like the word, but may be as short as this.
PREFIX: Final = 2
# Neighbours of the question stand together in a text when at most one word is between them.
APART: Final = 2
NONE: Final = -1
STOPS: Final = frozenset(word.encode() for word in indexed.STOP_WORDS)
# ASCII in lower case, everything but letters and digits a space: many times faster than the general way, same words.
FOLDED: Final = bytes(ord(chr(code).lower()) if chr(code).isalnum() and code < 128 else 32 for code in range(256))
# Of each line the first form is the one that the others become.
IRREGULAR: Final = """
become became|begin began begun|bite bit bitten|blow blew blown|break broke broken|bring brought|build built|buy bought
catch caught|choose chose chosen|come came|cook cooked|deal dealt|dig dug|draw drew drawn|dream dreamt|drink drank drunk
drive drove driven|eat ate eaten|fall fell fallen|feed fed|feel felt|fight fought|find found|fly flew flown
forget forgot forgotten|forgive forgave forgiven|freeze froze frozen|get got gotten|give gave given|go went gone goes
grow grew grown|hear heard|hide hid hidden|hold held|keep kept|know knew known|lead led|learn learnt|leave left|lend lent
lose lost|make made|mean meant|meet met|pay paid|ride rode ridden|ring rang rung|rise rose risen|run ran|say said
see saw seen|seek sought|sell sold|send sent|shake shook shaken|shine shone|shoot shot|show shown|sing sang sung
sink sank sunk|sit sat
sleep slept|speak spoke spoken|spend spent|stand stood|steal stole stolen|stick stuck|swim swam swum|take took taken
teach taught|tell told|think thought|throw threw thrown|understand understood|wake woke woken|wear wore worn|win won
write wrote written|child children|man men|woman women|person people|foot feet|tooth teeth|mouse mice
good better best|bad worse worst
"""
FORMS: Final = {
    form: group.split()[0]
    for line in IRREGULAR.strip().splitlines()
    for group in line.split("|")
    for form in group.split()
}
FAMILY: Final = {
    base: tuple(form for form, root in FORMS.items() if root == base and form != base) for base in set(FORMS.values())
}
IRREGULAR_OF: Final = {porter.stem(base): forms for base, forms in FAMILY.items()}


def stem(word: str) -> str:
    """What the forms of a lower-case word have in common: `painted`, `paints` and `painting` are `paint`."""
    return porter.stem(FORMS.get(word, word))


def terms(question: str) -> tuple[str, ...]:
    """The different things that a question asks for: stems, or characters that stand next to each other ("a b")."""
    found = (" ".join(term.words) if len(term.words) > 1 else stem(term.words[0]) for term in indexed.terms(question))
    return tuple(dict.fromkeys(found))


def expanded(question: str) -> str:
    """The question with the other forms of its irregular words, for an index that only takes endings off."""
    said = indexed.prepared(question).split()
    more = dict.fromkeys(form for word in said if word in FORMS for form in (FORMS[word], *FAMILY[FORMS[word]]))
    return " ".join([question, *(form for form in more if form not in said)])


@dataclass(frozen=True, slots=True)
class Occurrences:
    """`counts`: how often each term is in each text, shape (texts, terms). `phrases`: which neighbours of the question
    stand together in a text too, shape (texts, pairs of terms). `lengths`: words of each text."""

    counts: Floats
    phrases: Floats
    lengths: Floats


def occurrences(texts: Sequence[str], wanted: Sequence[str]) -> Occurrences:
    """Look for the terms in the texts. Only words that begin like a term are stemmed."""
    split = [_words(text) for text in texts]
    lengths = np.fromiter(map(len, split), np.intp, len(split))
    flat = list(chain.from_iterable(split))
    column = {term: index for index, term in enumerate(wanted) if " " not in term}
    starts = {form.encode()[:PREFIX] for term in column for form in (term, *IRREGULAR_OF.get(term, ()))}
    known = {word: column.get(stem(word.decode()), NONE) for word in set(flat) if word[:PREFIX] in starts}
    found = np.fromiter(map(known.get, flat, repeat(NONE)), np.intp, len(flat))
    rows = np.repeat(np.arange(len(split)), lengths)
    places = np.flatnonzero(found != NONE)
    counts = np.zeros((len(split), len(wanted)), np.float32)
    np.add.at(counts, (rows[places], found[places]), 1)
    for index, term in enumerate(wanted):
        if " " in term:
            counts[:, index] = [text.count(term.encode()) for text in map(b" ".join, split)]
    return Occurrences(counts, _phrases(rows, found, places, len(split), len(wanted)), lengths.astype(np.float32))


def telling(text: str) -> frozenset[bytes]:
    """The different words of a text that are no stop words; of a text that has no others, these."""
    found = frozenset(_words(text))
    return found - STOPS or found


def _phrases(rows: Places, found: Places, places: Places, texts: int, terms: int) -> Floats:
    together = np.zeros((texts, max(0, terms - 1)), np.float32)
    first, second = places[:-1], places[1:]
    beside = (rows[first] == rows[second]) & (second - first <= APART) & (found[second] == found[first] + 1)
    together[rows[first[beside]], found[first[beside]]] = 1
    return together


def _words(text: str) -> list[bytes]:
    if text.isascii():
        return text.encode().translate(FOLDED).split()
    return indexed.prepared(text).encode(errors="surrogatepass").split()
