"""Answers that fit: as many items as the tokens allow, the last one shortened, and a word on what is left out. Pure.

Tokens are the estimate of runtime/llm/estimate.py over the JSON that goes out. Source: contract §4 (`limit`, `max_tokens`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson

from runtime.llm.estimate import CHARS_PER_TOKEN, estimate_tokens

# A shorter beginning of a text says nothing.
LEAST_TOKENS: Final = 20
# Beside a text that does not fit, this goes before any of the text does: as a rule it says the same.
DATA: Final = "data"
Body = dict[str, Any]


class Fitted(NamedTuple):
    """The items that fit, how many do not, and how many characters of the last text are left out."""

    items: list[Body]
    items_left: int
    characters_left: int


class Cut(NamedTuple):
    """A text with a mark where it was cut, and how many characters are left out behind."""

    text: str
    left: int


def cost(body: object) -> int:
    """Tokens that the body takes on the wire, about."""
    return estimate_tokens(orjson.dumps(body, default=str).decode())


def fitted(
    items: Sequence[Body], max_tokens: int, text_at: Sequence[str] = (), how: str = "", start: int = 0
) -> Fitted:
    """The first items that take at most `max_tokens` together.

    `text_at` is the path of the text that is shortened in the last of them, where `DATA` beside it goes first; `how` tells
    the reader how to read on, `{next}` in it being the place in the text, which begins at `start`.
    """
    kept: list[Body] = []
    left = max_tokens
    for item in items:
        price = cost(item)
        if price <= left:
            kept.append(item)
            left -= price
            continue
        shorter = _shortened(item, left, text_at, how, start) if text_at else None
        if shorter is not None:
            return Fitted([*kept, shorter[0]], len(items) - len(kept) - 1, shorter[1])
        return Fitted(kept, len(items) - len(kept), 0)
    return Fitted(kept, 0, 0)


def cut(text: str, max_tokens: int, how: str, start: int = 0) -> Cut:
    """The beginning of the text, within `max_tokens` with the mark that is put behind it; the whole text when it fits."""
    if cost(text) <= max_tokens:
        return Cut(text, 0)
    room = max_tokens - cost(_mark(len(text), how, start + len(text)))
    kept = max(0, min(len(text), room * CHARS_PER_TOKEN))
    # Signs that are escaped in JSON take more than one character of it.
    while kept > 0 and cost(text[:kept]) > room:
        kept = kept * 3 // 4
    left = len(text) - kept
    return Cut(text[:kept] + _mark(left, how, start + kept), left)


def _shortened(item: Body, max_tokens: int, text_at: Sequence[str], how: str, start: int) -> tuple[Body, int] | None:
    *parents, last = text_at
    spared = _without(item, (*parents, DATA))
    room = max_tokens - cost(_with(spared, text_at, ""))
    if room - cost(_mark(0, how, start)) < LEAST_TOKENS:
        return None
    holder, kept = item, spared
    for name in parents:
        holder, kept = holder[name], kept[name]
    shorter = cut(str(holder[last]), room, how, start)
    data = len(orjson.dumps(holder[DATA])) if DATA in holder and DATA not in kept else 0
    return _with(spared, text_at, shorter.text), shorter.left + data


def _with(item: Body, path: Sequence[str], text: str) -> Body:
    first, *rest = path
    return {**item, first: _with(item[first], rest, text) if rest else text}


def _without(item: Body, path: Sequence[str]) -> Body:
    first, *rest = path
    if rest:
        return {**item, first: _without(item[first], rest)}
    return {name: value for name, value in item.items() if name != first}


def _mark(left: int, how: str, place: int) -> str:
    return f"… [{left} characters left out{'; ' if how else ''}{how.replace('{next}', str(place))}]"
