"""Forgetting: what of the results a conclusion must not lose, and what does not count as lost."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.tim.forgetting import missing, question
from agents.tim.guards import shorten

REPORT = (
    "The bridge opened on 3 May 1932 in Sydney. It cost 1,234,567 pounds, says Marie Curie of the Harbour Trust "
    "(see https://example.org/a_b?x=1.). “It never closed again”, wrote O'Brien about max_depth and json.loads() in v1.2.3."
)


def test_names_numbers_dates_sources_quotes_and_identifiers_are_found_in_their_order() -> None:
    assert missing([REPORT], "Nothing.") == (
        "3 May 1932",
        "Sydney",
        "1,234,567",
        "Marie Curie",
        "Harbour Trust",
        "https://example.org/a_b?x=1",
        "It never closed again",
        "O'Brien",
        "max_depth",
        "json.loads()",
        "v1.2.3",
    )


def test_a_conclusion_that_says_everything_in_its_own_way_lacks_nothing() -> None:
    conclusion = (
        "Opened 1932-05-03 (sydney) for 1 234 567 pounds according to Curie, Harbour Trust: "
        "https://example.org/a_b?x=1 – 'it never  closed again' (O’Brien). Set max_depth with json.loads(), V1.2.3"
    )
    assert missing([REPORT], conclusion) == ()
    assert missing([REPORT], REPORT) == ()


@pytest.mark.parametrize(
    ("result", "conclusion"),
    [
        ("it is 1,000 m", "1000"),
        ("it is 1000", "1 000 m"),
        ("it is 1000", "1\u202f000"),
        ("it is 1000", "1'000"),
        ("it is 3.50 kg", "3.5kg"),
        ("it is 3,5", "3.50"),
        ("it is 1.234,5", "1234.5"),
        ("it is 1.234", "1234"),
        ("it is 1.2 million", "1,200,000"),
        ("it is 2500000", "2.5 million"),
        ("it is 3.14159", "about 3.14"),
        ("it is 1e3", "1000"),
        ("it is −5", "-5"),
        ("between 10-20", "10 to 20"),
        ("see 100 200", "100, 200"),
        ("on May 3, 2024", "2024-05-03"),
        ("in May 2024", "3 May 2024"),
        ("on 2024-05-03", "the 3rd of May, 2024"),
    ],
)
def test_notation_does_not_count(result: str, conclusion: str) -> None:
    assert missing([result], conclusion) == ()


@pytest.mark.parametrize(
    ("result", "conclusion", "lost"),
    [
        ("it is 1,000", "100", "1,000"),
        ("it is 35", "3.5", "35"),
        ("it is -5", "5", "-5"),
        ("it is 3.14159", "3.15", "3.14159"),
        ("it is 0.7", "1", "0.7"),
        ("on 3 May 2024", "4 May 2024", "3 May 2024"),
        ("on 3 May 2024", "May 2024", "3 May 2024"),
        ("by Marie Curie", "Pierre Curie", "Marie Curie"),
        ("call foo_bar", "foo_bar2", "foo_bar"),
        ("commit 4f3a9c2", "4", "4f3a9c2"),
        ("at 10.0.0.12", "10", "10.0.0.12"),
    ],
)
def test_another_fact_is_not_the_same_fact(result: str, conclusion: str, lost: str) -> None:
    assert missing([result], conclusion) == (lost,)


def test_the_first_word_of_a_sentence_is_no_name() -> None:
    assert missing(["However, it rained. Then\n- Nobody came! The Thames rose."], "") == ("Thames",)


def test_the_numbers_of_a_list_are_no_facts() -> None:
    assert missing(["Steps:\n1. go 5 m\n 2) stop at 12."], "") == ("5", "12")


def test_a_short_text_in_json_is_a_title_and_its_keys_are_not_read() -> None:
    result = json.dumps({"City": "Paris", "rank": [1, 2.5, True, None], "nested": {"by": "Ada Lovelace"}})
    assert missing([result], "") == ("Paris", "1", "2.5", "Ada Lovelace")


def test_a_fact_is_named_once() -> None:
    assert missing(["by Marie Curie, 1,000", "1000 and Curie, marie curie"], "") == ("Marie Curie", "1,000")


def test_of_too_many_the_most_telling_stay_in_their_order() -> None:
    names = ", ".join(f"Place{chr(97 + at)}" for at in range(30))
    task = json.dumps({"thought": "it may be 55", "conclusion": "it is 77 for Zed"})
    assert missing([f"in {names}, 11", task], "", cap=4) == ("11", "55", "77", "Zed")
    assert missing([f"in {names}, 11", task], "", cap=2) == ("77", "Zed")
    assert len(missing([f"in {names}"], "")) == 20


def test_the_marker_of_a_shortened_result_is_not_a_fact() -> None:
    assert missing([shorten("a " * 500, 200, len)], "") == ()


def test_the_question_quotes_what_is_missing_as_data() -> None:
    asked = question(('1,000 "units"', "Curie"))
    assert '"1,000 \\"units\\"", "Curie"' in asked
    assert "conclusion" in asked


@given(st.text(alphabet="aZ9é .\"“”'-/:,\n{}[]_@eMy", max_size=80), st.text(max_size=40))
def test_a_text_lacks_nothing_of_itself_and_a_fact_stands_in_its_result(text: str, conclusion: str) -> None:
    result = f"{text} …"  # Never JSON, so it is read as it stands.
    assert missing([result], result) == ()
    lost = missing([result], conclusion)
    assert len(lost) == len(set(lost))
    assert all(fact in result for fact in lost)


@pytest.mark.parametrize(
    "text", ["-" * 20_000, "a.b+c-" * 4_000, '"' * 20_000, "9" * 20_000, "9,999" * 4_000, "[" * 99_999]
)
def test_hostile_text_is_read_in_no_time(text: str) -> None:
    start = time.perf_counter()
    missing([text], text[:100])
    assert time.perf_counter() - start < 2
