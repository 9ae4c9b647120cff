"""Points in time that a question names, and whether a text tells one. Pure.

A question about May 2023 prefers what happened in May 2023; a question that begins with "when" prefers texts that say
when. Source: ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

MONTHS: Final = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
SHORT: Final = {name[:3]: index + 1 for index, name in enumerate(MONTHS)} | {"sept": 9}
NAMES: Final = {name: index + 1 for index, name in enumerate(MONTHS)} | SHORT
YEAR: Final = re.compile(r"\b((?:19|20)\d\d)\b")
ISO: Final = re.compile(r"\b((?:19|20)\d\d)-(\d\d)(?:-(\d\d))?\b")
DAY_MONTH: Final = re.compile(
    rf"\b(?:(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? )?({'|'.join(NAMES)})\b\.?(?: (\d{{1,2}})(?:st|nd|rd|th)?\b)?"
)
# These are months only beside a number or after such a word.
AMBIGUOUS: Final = frozenset(
    {"may", "march", "mar", "jan", "dec", "sep", "oct", "nov", "jun", "jul", "aug", "apr", "feb", "sept"}
)
BEFORE_MONTH: Final = re.compile(r"\b(?:in|of|on|during|since|until|by|last|this|early|late|mid|before|after) $")
ASKS_TIME: Final = re.compile(
    r"\bwhen\b|\bhow long\b|\b(?:what|which) (?:date|day|month|year|time|week)\b|\bhow (?:recent|old|soon)",
    re.IGNORECASE,
)
TELLS_TIME: Final = re.compile(
    rf"""\b(?:yesterday|today|tonight|tomorrow|ago|recently|last|next|since|week|weekend|month|year|morning|evening|weeks
    |months|years|days|(?:mon|tues|wednes|thurs|fri|satur|sun)day|{"|".join(m for m in MONTHS if m not in {"may", "march"})}
    |(?:19|20)\d\d|\d{{1,2}}:\d\d)\b""",
    re.IGNORECASE | re.VERBOSE,
)
NEAR_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class When:
    """A date of which parts may be open."""

    year: int | None = None
    month: int | None = None
    day: int | None = None

    def match(self, moment: datetime) -> float:
        """1 when it fits, less when only the month does or the day is some days off, 0 when it does not."""
        if self.year is not None and self.year != moment.year:
            return 0.0
        if self.month is not None and self.month != moment.month:
            return 0.0
        if self.day is None:
            return 1.0
        return max(0.5, 1.0 - 0.5 * abs(self.day - moment.day) / NEAR_DAYS)


def named(question: str) -> tuple[When, ...]:
    """The dates that the question names, in order."""
    text = question.lower()
    found: list[When] = []
    years: list[int] = []
    for match in ISO.finditer(text):
        year, month, day = int(match[1]), int(match[2]), int(match[3]) if match[3] else None
        if 1 <= month <= 12:
            found.append(When(year, month, day))
    text = ISO.sub(" ", text)
    years = [int(match[1]) for match in YEAR.finditer(text)]
    for match in DAY_MONTH.finditer(text.replace(",", "")):
        before, after = match[1], match[3]
        start = text.replace(",", "")[: match.start(2)]
        if match[2] in AMBIGUOUS and not (before or after) and not BEFORE_MONTH.search(start):
            continue
        day = int(before or after) if before or after else None
        found.append(When(years[0] if len(years) == 1 else None, NAMES[match[2]], day))
    return tuple(found) or tuple(When(year) for year in years)


def asks_time(question: str) -> bool:
    """Whether the answer is a time."""
    return bool(ASKS_TIME.search(question))


def tells_time(text: str) -> bool:
    """Whether the text says when something was or will be."""
    return bool(TELLS_TIME.search(text))
