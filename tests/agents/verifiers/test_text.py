"""Canonical forms of free text and short answers."""

from __future__ import annotations

import pytest

from agents.tasks import ChatTask, QATask, parse_input
from agents.verifiers import open_verifiers
from agents.verifiers.text import QAVerifier, TextVerifier, squad_normal

pytestmark = pytest.mark.anyio

CHAT = parse_input("How many?")
QA = QATask(question="Who?")


def test_short_answers_compare_without_articles_case_and_punctuation() -> None:
    assert squad_normal("The  Eiffel-Tower, an icon!") == "eiffeltower icon"


async def test_a_chat_votes_with_its_box_or_with_all_it_says() -> None:
    text = TextVerifier()
    assert await text.canonical(CHAT, r"Let me see. \boxed{007}") == "7"
    assert await text.canonical(CHAT, r"So, quickly: \boxed{7}") == "7"
    assert await text.canonical(CHAT, "Seven \n Apples") == "seven apples"
    assert await text.canonical(CHAT, "  ") is None


async def test_a_question_votes_with_its_short_answer() -> None:
    assert await QAVerifier().canonical(QA, "The Ada.") == await QAVerifier().canonical(QA, "ada")
    assert await QAVerifier().canonical(QA, "the!") is None


async def test_neither_can_be_judged_without_a_gold_answer() -> None:
    async with open_verifiers() as verifiers:
        assert isinstance(CHAT, ChatTask)
        assert await verifiers.verify(CHAT, "7") is None
        assert await verifiers.verify(QA, "Ada") is None
        assert await verifiers.canonical(QA, "An Ada") == "ada"
