"""Dates that a question names, and how well a moment fits them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from memory.ranking.dates import When, named


@pytest.mark.parametrize(
    ("question", "dates"),
    [
        ("What happened on 8 May 2023?", (When(2023, 5, 8),)),
        ("What happened on May 8th, 2023?", (When(2023, 5, 8),)),
        ("in January 2023", (When(2023, 1, None),)),
        ("during August", (When(None, 8, None),)),
        ("on 2023-05-08", (When(2023, 5, 8),)),
        ("in 2023-05", (When(2023, 5, None),)),
        ("what was in 2021", (When(2021),)),
        ("from May 2021 to June 2022", (When(2021, 5), When(2022, 6))),
        ("between May 8 2021 and 9 June", (When(2021, 5, 8), When(2021, 6, 9))),
        ("He may march to the sea", ()),
        ("in May", (When(None, 5, None),)),
        ("2023-17-40", ()),
        ("room 101", ()),
    ],
)
def test_a_date_is_read_as_it_is_written(question: str, dates: tuple[When, ...]) -> None:
    assert named(question) == dates


def test_a_moment_fits_a_date_by_what_the_date_says() -> None:
    moment = datetime(2023, 5, 8, 13, tzinfo=UTC)
    assert When(2023).match(moment) == When(2023, 5).match(moment) == When(None, 5, 8).match(moment) == 1.0
    assert When(2022, 5, 8).match(moment) == When(2023, 6).match(moment) == 0.0
    assert 0.5 < When(2023, 5, 6).match(moment) < 1.0
    assert When(2023, 5, 31).match(moment) == 0.5
