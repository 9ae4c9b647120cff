"""Points in time that a question names, and how well a moment fits them. Pure.

A question about May 2023 prefers what happened in May 2023. Source: ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

YEARLY: Final = "january february march april may june july august september october november december"
MONTHS: Final = YEARLY.split()
SHORT: Final = {name[:3]: number for number, name in enumerate(MONTHS, 1)} | {"sept": 9}
NUMBERS: Final = {name: number for number, name in enumerate(MONTHS, 1)} | SHORT
YEAR: Final = re.compile(r"\b((?:19|20)\d\d)\b")
ISO: Final = re.compile(r"\b((?:19|20)\d\d)-(\d\d)(?:-(\d\d))?\b")
# 8 May, 8th of May, May 8th, May 2023, May 8 2023.
MONTH: Final = re.compile(
    rf"\b(?:(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? )?({'|'.join(NUMBERS)})\b\.?"
    r"(?: (\d{1,2})(?:st|nd|rd|th)?\b)?(?: ((?:19|20)\d\d)\b)?"
)
# These are months only beside a number or after such a word.
AMBIGUOUS: Final = frozenset({"may", "march", *SHORT})
BEFORE_MONTH: Final = re.compile(r"\b(?:in|of|on|during|since|until|by|last|this|early|late|mid|before|after) $")
NEAR_DAYS: Final = 7


@dataclass(frozen=True, slots=True)
class When:
    """A date of which parts may be open."""

    year: int | None = None
    month: int | None = None
    day: int | None = None

    def match(self, moment: datetime) -> float:
        """1 when it fits, down to 0.5 when the month does and the day is some days off, 0 when it does not."""
        if self.year is not None and self.year != moment.year:
            return 0.0
        if self.month is not None and self.month != moment.month:
            return 0.0
        if self.day is None:
            return 1.0
        return max(0.5, 1.0 - 0.5 * abs(self.day - moment.day) / NEAR_DAYS)


def named(question: str) -> tuple[When, ...]:
    """The dates that the question names. A month without a year is of the only year that the question has."""
    text = question.lower().replace(",", "")
    found = [
        When(int(match[1]), int(match[2]), int(match[3]) if match[3] else None)
        for match in ISO.finditer(text)
        if 1 <= int(match[2]) <= 12
    ]
    text = ISO.sub(" ", text)
    years = [int(match[1]) for match in YEAR.finditer(text)]
    for match in MONTH.finditer(text):
        day, name, other_day, year = match.groups()
        numbered = day or other_day or year
        if name in AMBIGUOUS and not numbered and not BEFORE_MONTH.search(text[: match.start(2)]):
            continue
        of_year = int(year) if year else years[0] if len(years) == 1 else None
        found.append(When(of_year, NUMBERS[name], int(day or other_day) if day or other_day else None))
    return tuple(found) or tuple(When(year) for year in years)
