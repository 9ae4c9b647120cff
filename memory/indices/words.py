"""How a text becomes words, the same for both databases and for questions. Pure.

Letters and digits in lower case, without accents, split at everything else; a run of Chinese or Japanese becomes single
characters, which a question asks for in pairs, because such text has no spaces. The databases only stem. What they get
holds no quote, operator or NUL, so no text can break a statement or a query. Source: ours.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise
from typing import Final, NamedTuple

MAX_TERMS: Final = 16
MAX_WORD: Final = 100
ACCENTS = re.compile("[\u0300-\u036f]")
# Ideographs and kana; Korean has spaces.
CJK = "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
PIECES = re.compile(f"[{CJK}]+|[^\\W_{CJK}]+")
SPACELESS = re.compile(f"[{CJK}]")
STOPS = """a about after again all also am an and any are as at be because been before being between both but by can could
    did do does doing don down during each few for from further had has have having he her here hers him his how i if in into
    is it its itself just let me more most my myself no nor not now of off on once only or other our out over own s same
    she should so some such t than that the their them then there these they this those through to too under until up very
    was we were what when where which while who whom whose why will with would you your yours"""
STOP_WORDS: Final = frozenset(STOPS.split())


class Term(NamedTuple):
    """Words that must stand next to each other; mostly one."""

    words: tuple[str, ...]


def prepared(text: str) -> str:
    """The words of a text, one space apart, as the full-text tables keep them."""
    return " ".join(word for piece in _pieces(text) for word in _words(piece))


def terms(question: str) -> list[Term]:
    """What a question asks for: at most 16 different terms, no stop words unless there is nothing else."""
    found = dict.fromkeys(term for piece in _pieces(question) for term in _terms(piece))
    telling = [term for term in found if term.words[0] not in STOP_WORDS]
    return (telling or list(found))[:MAX_TERMS]


def is_cjk(word: str) -> bool:
    """Whether the word is of a text without spaces."""
    return SPACELESS.match(word) is not None


def _pieces(text: str) -> Iterable[str]:
    plain = ACCENTS.sub("", unicodedata.normalize("NFKD", text).casefold())
    return PIECES.findall(unicodedata.normalize("NFC", plain))


def _words(piece: str) -> Iterable[str]:
    return piece if is_cjk(piece) else (piece[:MAX_WORD],)


def _terms(piece: str) -> Iterable[Term]:
    words = tuple(_words(piece))
    return [Term(words)] if len(words) == 1 else [Term(pair) for pair in pairwise(words)]
