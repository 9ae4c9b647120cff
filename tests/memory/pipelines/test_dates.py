"""Dates that depend on when something was said become dates that do not, and what is left over shows."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

from memory.pipelines.dates import absolute

FRIDAY = datetime(2024, 5, 3, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ana went to Porto yesterday", "Ana went to Porto on 2024-05-02"),
        ("Ana leaves today", "Ana leaves on 2024-05-03"),
        ("Ana leaves tomorrow", "Ana leaves on 2024-05-04"),
        ("Ana slept well last night", "Ana slept well on 2024-05-02"),
        ("Ana won yesterday's game", "Ana won 2024-05-02's game"),
        ("Ana met Ben three days ago", "Ana met Ben on 2024-04-30"),
        ("Ana met Ben a week ago", "Ana met Ben on 2024-04-26"),
        ("Ana met Ben a couple of weeks ago", "Ana met Ben on 2024-04-19"),
        ("Ana met Ben 5 months ago", "Ana met Ben in 2023-12"),
        ("Ana met Ben two years ago", "Ana met Ben in 2022"),
        ("last Friday Ana left", "on 2024-04-26 Ana left"),
        ("Ana leaves on next Friday", "Ana leaves on 2024-05-10"),
        ("Ana leaves this Friday", "Ana leaves on 2024-05-03"),
        ("Ana came last Monday", "Ana came on 2024-04-29"),
        ("Ana runs this weekend", "Ana runs on the weekend of 2024-05-04"),
        ("Ana ran last weekend", "Ana ran on the weekend of 2024-04-27"),
        ("Ana was ill last week", "Ana was ill in the week of 2024-04-22"),
        ("Ana missed last week's meeting", "Ana missed the week of 2024-04-22's meeting"),
        ("Ana moved last month", "Ana moved in 2024-04"),
        ("Ana moves next year", "Ana moves in 2025"),
        ("Ana will move in two months", "Ana will move in 2024-07"),
        ("Ana moves in two weeks' time", "Ana moves on 2024-05-17"),
        ("In three days from now Ana flies", "on 2024-05-06 Ana flies"),
    ],
)
def test_a_relative_date_is_computed_from_when_it_was_said(text: str, expected: str) -> None:
    assert absolute(text, FRIDAY) == (expected, True)


@pytest.mark.parametrize(
    "text",
    [
        "Ana learned Spanish in two months",
        "Ana was born on 1985-03-04",
        "in the middle of two weeks of rain Ana left",
        "Ana moves in one week of June",
        "the week before Easter is quiet",
    ],
)
def test_what_is_no_relative_date_stays(text: str) -> None:
    assert absolute(text, FRIDAY) == (text, True)


@pytest.mark.parametrize(
    "text",
    ["the other day Ana fell", "many years ago Ana sang", "last winter Ana skied", "the day after the feast Ana left"],
)
def test_what_cannot_be_computed_is_reported(text: str) -> None:
    assert absolute(text, FRIDAY) == (text, False)


def test_without_a_time_nothing_is_computed_and_everything_reported() -> None:
    assert absolute("Ana left yesterday", None) == ("Ana left yesterday", False)
    assert absolute("Ana left on 2024-05-02", None) == ("Ana left on 2024-05-02", True)


@how(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["Ana", "left", "yesterday", "last", "week", "two", "days", "ago", "next", "Monday", "in", "will"]
        )
    ),
    st.datetimes(datetime(1950, 1, 1), datetime(2100, 1, 1)),
)
def test_computing_twice_computes_once(parts: list[str], said_at: datetime) -> None:
    once, settled = absolute(" ".join(parts), said_at.replace(tzinfo=UTC))
    assert absolute(once, None)[1] == settled
