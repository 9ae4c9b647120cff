"""How one text differs from another, piece by piece, for reading: long pieces that are the same are cut out in the middle.

Pieces end at the marks of JSON and of lines, so a document of one line is compared as finely as a text of many.
Source: ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import takewhile
from typing import Final, Literal, NamedTuple

MOST: Final = 3000
KEPT: Final = 160
PIECE: Final = re.compile(r"[^,{}\[\]\n]*(?:[,{}\[\]\n]|$)")


class Piece(NamedTuple):
    """`left_out`: characters that the text of a piece that both have is without."""

    what: Literal["same", "ins", "del"]
    text: str
    left_out: int = 0


def same_start(old: str, new: str) -> int:
    """How many characters both texts begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=False)))


def differing(old: str, new: str) -> list[Piece]:
    """The new text as pieces: what both have, what came, what went."""
    a, b = _cut(old), _cut(new)
    start = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))
    rest = zip(reversed(a[start:]), reversed(b[start:]), strict=False)
    end = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], rest))
    pieces = [_same("".join(b[:start]))] if start else []
    pieces += _changes(a[start : len(a) - end], b[start : len(b) - end])
    return pieces + ([_same("".join(b[len(b) - end :]))] if end else [])


def _cut(text: str) -> list[str]:
    return [piece for piece in PIECE.findall(text) if piece]


def _changes(a: Sequence[str], b: Sequence[str]) -> Iterator[Piece]:
    if max(len(a), len(b)) > MOST:  # to compare them all takes too long
        codes: Sequence[tuple[str, int, int, int, int]] = [("replace", 0, len(a), 0, len(b))]
    else:
        codes = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    for what, a1, a2, b1, b2 in codes:
        if what == "equal":
            yield _same("".join(b[b1:b2]))
            continue
        if a2 > a1:
            yield Piece("del", "".join(a[a1:a2]))
        if b2 > b1:
            yield Piece("ins", "".join(b[b1:b2]))


def _same(text: str) -> Piece:
    if len(text) <= 2 * KEPT + 40:
        return Piece("same", text)
    left_out = len(text) - 2 * KEPT
    return Piece("same", f"{text[:KEPT]}\n… {left_out:,} characters that are the same …\n{text[-KEPT:]}", left_out)
