"""What a question asks for, and how often each text says it. Pure.

The question is cut into words as the full text is (memory/indices/words.py); the stemmer is light on purpose, because
it has to agree with itself, not with a dictionary, and runs only on the words of a text that begin like one of the
question. Irregular verbs are one word with their forms: questions say "did she go", answers say "went". Source: ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from memory.indices import words as indexed

PREFIX: Final = 3
VOWELS: Final = frozenset("aeiouy")
# Of each line the first form is the one that the others become.
IRREGULAR: Final = """
become became|begin began begun|bite bit bitten|blow blew blown|break broke broken|bring brought|build built|buy bought
catch caught|choose chose chosen|come came|cook cooked|deal dealt|dig dug|draw drew drawn|dream dreamt|drink drank drunk
drive drove driven|eat ate eaten|fall fell fallen|feed fed|feel felt|fight fought|find found|fly flew flown
forget forgot forgotten|forgive forgave forgiven|freeze froze frozen|get got gotten|give gave given|go went gone goes
grow grew grown|hear heard|hide hid hidden|hold held|keep kept|know knew known|lead led|learn learnt|leave left|lend lent
lose lost|make made|mean meant|meet met|pay paid|ride rode ridden|ring rang rung|rise rose risen|run ran|say said|see saw seen
seek sought|sell sold|send sent|shake shook shaken|shine shone|shoot shot|show shown|sing sang sung|sink sank sunk|sit sat
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


def occurrences(texts: Sequence[str], wanted: Sequence[str]) -> NDArray[np.float32]:
    """How often each term occurs in each text: an array of shape (texts, wanted)."""
    counts = np.zeros((len(texts), len(wanted)), np.float32)
    column = {term: index for index, term in enumerate(wanted) if " " not in term}
    pairs = {term: index for index, term in enumerate(wanted) if " " in term}
    starts = {form[:PREFIX] for term in column for form in (term, *_forms(term))}
    begins = re.compile(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, sorted(starts))) or '$.'})[^\W_]*")
    known: dict[str, int] = {}
    for row, text in enumerate(texts):
        plain = text.lower() if text.isascii() else indexed.prepared(text)
        for word in begins.findall(plain):
            index = known.get(word)
            if index is None:
                index = known[word] = column.get(stem(word), -1)
            if index >= 0:
                counts[row, index] += 1
        for pair, index in pairs.items():
            counts[row, index] = plain.count(pair)
    return counts


def _forms(term: str) -> tuple[str, ...]:
    for base in (term, term + "e", term + "y"):
        if base in FAMILY:
            return FAMILY[base]
    return ()
