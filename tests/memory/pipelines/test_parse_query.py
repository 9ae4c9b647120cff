"""A question as it is searched for: the model can add to it and never take it away."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from memory.pipelines.parse_query import PURPOSE, Asked, parse_query, plain
from runtime.errors import MalformedReply, ModelUnavailable
from tests.memory.laboratory import Lab, rule

pytestmark = pytest.mark.anyio
NOW = datetime(2025, 6, 1, tzinfo=UTC)
QUESTION = "Where did she live last year?"


async def parsed(lab: Lab, reply: object, *turns: str) -> Asked:
    return await parse_query(lab.asker(rule(PURPOSE, reply)), "run_1", QUESTION, turns, NOW)


async def test_wordings_names_period_and_kinds_are_taken_from_the_model(lab: Lab) -> None:
    reply: dict[str, Any] = {
        "queries": ["Where did Ana live in 2024?", " Ana  home 2024 ", "", "Where did Ana live in 2024?"],
        "entities": ["Ana", " Ana ", ""],
        "time": {"from": "2024", "to": "2024-12-31"},
        "kinds": ["fact", "event", "fact"],
        "intent": " find a former address ",
    }
    reply["queries"] = reply["queries"][:3]
    assert await parsed(lab, reply) == Asked(
        (QUESTION, "Where did Ana live in 2024?", "Ana home 2024"),
        ("Ana",),
        datetime(2024, 1, 1, tzinfo=UTC),
        datetime(2024, 12, 31, tzinfo=UTC),
        ("fact", "event"),
        "find a former address",
    )


async def test_the_question_itself_is_always_asked(lab: Lab) -> None:
    assert (await parsed(lab, {"queries": []})).queries == (QUESTION,)
    assert (await parsed(lab, {"queries": [QUESTION]})).queries == (QUESTION,)
    assert plain(QUESTION) == Asked((QUESTION,))


async def test_a_period_that_ends_before_it_begins_is_none(lab: Lab) -> None:
    asked = await parsed(lab, {"queries": [], "time": {"from": "2025", "to": "2024"}})
    assert (asked.since, asked.until) == (None, None)
    asked = await parsed(lab, {"queries": [], "time": {"from": "soon", "to": "2024"}})
    assert (asked.since, asked.until) == (None, datetime(2024, 1, 1, tzinfo=UTC))


async def test_the_last_turns_are_shown_as_data(lab: Lab) -> None:
    turns = [f"turn {n}" for n in range(10)]
    seen = rule(PURPOSE, {"queries": ["seen"]}, contains='{"turn":"turn 4"}')
    hidden = rule(PURPOSE, {"queries": ["too many"]}, contains='{"turn":"turn 3"}')
    asked = await parse_query(lab.asker(hidden, seen), "run_1", QUESTION, turns, NOW)
    assert asked.queries == (QUESTION, "seen")


@pytest.mark.parametrize(
    "reply", [{"queries": ["a", "b", "c", "d"]}, {"queries": [], "kinds": ["rumour"]}, "where she lived"]
)
async def test_a_reply_of_another_shape_is_an_error_and_not_a_guess(lab: Lab, reply: object) -> None:
    with pytest.raises(MalformedReply):
        await parsed(lab, reply)


async def test_a_model_that_is_away_is_an_error(lab: Lab) -> None:
    with pytest.raises(ModelUnavailable):
        await parse_query(lab.asker(rule(PURPOSE, "one two three four", fault="die")), "run_1", QUESTION, (), NOW)
