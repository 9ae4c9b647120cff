"""Dates that depend on when something was said, turned into dates that do not. Pure.

What a memory says must still be right when it is read a year later. Common English forms are computed from the time of
the message; a text with a form that is left over is not admitted without a look. Source: memos §3.1 (4); ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
COUNTS: Final = {
    name: number
    for number, name in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), start=1
    )
} | {"a": 1, "an": 1, "a couple of": 2}
COUNT: Final = rf"\d{{1,3}}|{'|'.join(sorted(COUNTS, key=len, reverse=True))}"
DAY_WORD: Final = re.compile(
    r"\b(?:on )?(today|this morning|this afternoon|this evening|tonight|yesterday|last night|tomorrow)\b", re.I
)
AGO: Final = re.compile(rf"\b({COUNT}) (day|week|month|year)s? ago\b", re.I)
AHEAD: Final = re.compile(rf"\bin ({COUNT}) (day|week|month|year)s?(?: from now|['’]s? time)?\b(?! of\b)", re.I)
# "In two months" also tells how long something took; only of what is still to come it is a date.
COMING: Final = re.compile(
    r"\b(?:will|shall|won['’]t|(?:is|are|am) (?:going|about) to|plans?|intends?|wants?|hopes?|from now)\b|['’]ll\b"
    r"|['’]s? time\b",
    re.I,
)
SIDE: Final = re.compile(rf"\b(?:on |in )?(last|this|next) (week|weekend|month|year|{'|'.join(DAYS)})\b", re.I)
NAMED: Final = f"night|week|weekend|month|year|spring|summer|autumn|fall|winter|{'|'.join(DAYS)}"
LEFT: Final = re.compile(
    rf"\b(?:today|tonight|yesterday|tomorrow|(?:the )?day (?:before|after)|(?:last|this|next) (?:{NAMED})"
    r"|(?:days?|weeks?|months?|years?) ago|the other day)\b",
    re.I,
)


def absolute(text: str, said_at: datetime | None) -> tuple[str, bool]:
    """The text with relative dates computed from the time it was said, and whether none is left."""
    if said_at is not None:
        if COMING.search(text):
            text = AHEAD.sub(_bound(_ahead, said_at), text)
        for pattern, put in ((DAY_WORD, _day), (AGO, _ago), (SIDE, _side)):
            text = pattern.sub(_bound(put, said_at), text)
    return text, LEFT.search(text) is None


def _bound(put: Callable[[re.Match[str], datetime], str], said_at: datetime) -> Callable[[re.Match[str]], str]:
    def bound(match: re.Match[str]) -> str:
        made = put(match, said_at)
        # "yesterday's game" is that of a day, not on a day.
        owns = match.string[match.end() : match.end() + 2] in ("'s", "’s")
        return made.removeprefix("on ").removeprefix("in ") if owns else made

    return bound


def _day(match: re.Match[str], said_at: datetime) -> str:
    shift = {"yesterday": -1, "last night": -1, "tomorrow": 1}.get(match[1].casefold(), 0)
    return f"on {_date(said_at, shift)}"


def _ago(match: re.Match[str], said_at: datetime) -> str:
    return _moved(said_at, -_count(match[1]), match[2].casefold())


def _ahead(match: re.Match[str], said_at: datetime) -> str:
    return _moved(said_at, _count(match[1]), match[2].casefold())


def _side(match: re.Match[str], said_at: datetime) -> str:
    step = {"last": -1, "this": 0, "next": 1}[match[1].casefold()]
    unit = match[2].casefold()
    if unit in DAYS:
        distance = (DAYS.index(unit) - said_at.weekday()) % 7
        # The last Friday and the next one are never today; this Friday is the coming one.
        distance = distance - 7 if step < 0 else distance or 7 if step > 0 else distance
        return f"on {_date(said_at, distance)}"
    if unit in ("week", "weekend"):
        monday = said_at - timedelta(days=said_at.weekday()) + timedelta(weeks=step)
        return f"on the weekend of {_date(monday, 5)}" if unit == "weekend" else f"in the week of {_date(monday, 0)}"
    return _moved(said_at, step, unit)


def _moved(said_at: datetime, count: int, unit: str) -> str:
    if unit in ("day", "week"):
        return f"on {_date(said_at, count * (7 if unit == 'week' else 1))}"
    if unit == "year":
        return f"in {said_at.year + count}"
    months = said_at.year * 12 + said_at.month - 1 + count
    return f"in {months // 12:04d}-{months % 12 + 1:02d}"


def _date(said_at: datetime, days: int) -> str:
    return (said_at + timedelta(days=days)).date().isoformat()


def _count(text: str) -> int:
    return int(text) if text.isdigit() else COUNTS[text.casefold()]
