"""The Porter stemmer, as SQLite's full-text index runs it, so that PostgreSQL and scans in Python find the same. Pure.

Source: Porter, An algorithm for suffix stripping, 1980; the departures of SQLite's `porter` tokeniser are kept (words
shorter than three or longer than 64 bytes stay as they are, `logi` becomes `log`, `bli` becomes `ble`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

MAX_BYTES: Final = 64
CACHED = 50_000

STEP_2: Final = (
    ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("logi", "log"),
    ("bli", "ble"), ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"),
    ("ation", "ate"), ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"),
    ("aliti", "al"), ("iviti", "ive"), ("biliti", "ble"),
)  # fmt: skip
STEP_3: Final = (
    ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
)  # fmt: skip
STEP_4: Final = (
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism", "ate", "iti",
    "ous", "ive", "ize",
)  # fmt: skip


@lru_cache(CACHED)
def stem(word: str) -> str:
    """The stem of a word in lower case."""
    if len(word) < 3 or len(word.encode(errors="surrogatepass")) > MAX_BYTES:
        return word
    word = _plural(word)
    word = _past(word)
    if word.endswith("y") and _has_vowel(word[:-1]):
        word = word[:-1] + "i"
    word = _swap(_swap(word, STEP_2), STEP_3)
    word = _cut(word)
    return _final(word)


def _plural(word: str) -> str:
    for ending in ("sses", "ies"):
        if word.endswith(ending) and word != ending:
            return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _past(word: str) -> str:
    if len(word) > 3 and word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    for ending in ("ed", "ing"):
        if word.endswith(ending):
            rest = word[: -len(ending)]
            if not _has_vowel(rest):
                return word
            if rest.endswith(("at", "bl", "iz")):
                return rest + "e"
            if len(rest) > 1 and rest[-1] == rest[-2] and not _vowel(rest, len(rest) - 1) and rest[-1] not in "lsz":
                return rest[:-1]
            return rest + "e" if _measure(rest) == 1 and _closed(rest) else rest
    return word


def _swap(word: str, pairs: tuple[tuple[str, str], ...]) -> str:
    found = max((pair for pair in pairs if word.endswith(pair[0])), key=lambda pair: len(pair[0]), default=None)
    if found is None:
        return word
    rest = word[: len(word) - len(found[0])]
    return rest + found[1] if _measure(rest) > 0 else word


def _cut(word: str) -> str:
    found = max((ending for ending in STEP_4 if word.endswith(ending)), key=len, default=None)
    if found is None:
        return word
    rest = word[: len(word) - len(found)]
    if found == "ion" and not rest.endswith(("s", "t")):
        return word
    return rest if _measure(rest) > 1 else word


def _final(word: str) -> str:
    if word.endswith("e"):
        rest = word[:-1]
        measure = _measure(rest)
        if measure > 1 or (measure == 1 and not _closed(rest)):
            word = rest
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word


def _vowel(word: str, at: int) -> bool:
    if word[at] == "y":
        return at > 0 and not _vowel(word, at - 1)
    return word[at] in "aeiou"


def _kinds(word: str) -> str:
    return "".join("v" if _vowel(word, at) else "c" for at in range(len(word)))


def _measure(word: str) -> int:
    """How often a vowel is followed by a consonant."""
    return _kinds(word).count("vc")


def _has_vowel(word: str) -> bool:
    return "v" in _kinds(word)


def _closed(word: str) -> bool:
    """Ends in consonant, vowel, consonant, the last being none of w, x, y."""
    return _kinds(word)[-3:] == "cvc" and word[-1] not in "wxy"
