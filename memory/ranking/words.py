"""What a question asks for, and how often each text says it. Pure.

The question is cut into words as the full text is (memory/indices/words.py); the stemmer is light on purpose, because
it has to agree with itself, not with a dictionary, and runs only on the words of a text that begin like one of the
question. Irregular verbs are one word with their forms: questions say "did she go", answers say "went". Source: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memory.indices import words as indexed

Floats = NDArray[np.float32]
Places = NDArray[np.intp]
PREFIX: Final = 3
# Neighbours of the question stand together in a text when at most one word is between them.
APART: Final = 2
NONE: Final = -1
STOPS: Final = frozenset(word.encode() for word in indexed.STOP_WORDS)
# ASCII in lower case, everything but letters and digits a space: many times faster than the general way, same words.
FOLDED: Final = bytes(ord(chr(code).lower()) if chr(code).isalnum() and code < 128 else 32 for code in range(256))
VOWELS: Final = frozenset("aeiouy")
# Of each line the first form is the one that the others become.
IRREGULAR: Final = """
become became|begin began begun|bite bit bitten|blow blew blown|break broke broken|bring brought|build built|buy bought
catch caught|choose chose chosen|come came|cook cooked|deal dealt|dig dug|draw drew drawn|dream dreamt|drink drank drunk
drive drove driven|eat ate eaten|fall fell fallen|feed fed|feel felt|fight fought|find found|fly flew flown
forget forgot forgotten|forgive forgave forgiven|freeze froze frozen|get got gotten|give gave given|go went gone goes
grow grew grown|hear heard|hide hid hidden|hold held|keep kept|know knew known|lead led|learn learnt|leave left|lend lent
lose lost|make made|mean meant|meet met|pay paid|ride rode ridden|ring rang rung|rise rose risen|run ran|say said
see saw seen|seek sought|sell sold
send sent|shake shook shaken|shine shone|shoot shot|show shown|sing sang sung|sink sank sunk|sit sat
sleep slept|speak spoke spoken|spend spent|stand stood|steal stole stolen|stick stuck|swim swam swum|take took taken
teach taught|tell told|think thought|throw threw thrown|understand understood|wake woke woken|wear wore worn|win won
write wrote written|child children|man men|woman women|person people|foot feet|tooth teeth|mouse mice|life lives
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


def stem(word: str) -> str:
    """The lower-case word without its ending: `painted`, `paints` and `painting` become `paint`."""
    word = FORMS.get(word, word)
    if len(word) < 4 or not word.isalpha():
        return word
    word = _singular(word)
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base != word and len(base) > 2 and VOWELS & set(base):
            word = base[:-1] if base[-1] == base[-2] and base[-1] not in "lsz" else base
            break
    if len(word) > 5:
        word = word.removesuffix("ly")
    word = FORMS.get(word, word)
    return word[:-1] if len(word) > 3 and word[-1] in "eyi" else word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


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
    starts = {form.encode()[:PREFIX] for term in column for form in (term, *_forms(term))}
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


def _forms(term: str) -> tuple[str, ...]:
    for base in (term, term + "e", term + "y"):
        if base in FAMILY:
            return FAMILY[base]
    return ()
