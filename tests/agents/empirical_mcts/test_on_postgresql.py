"""What hangs on the database most, once more on PostgreSQL: questions at once, kills, one question teaching the next."""

from __future__ import annotations

from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.agents.empirical_mcts import test_learning_across, test_memory_plans, test_robustness, world
from tests.trial import open_trial

pytestmark = pytest.mark.anyio

test_sixteen_at_once = test_memory_plans.test_sixteen_questions_at_once_on_one_vault_lose_no_experience
test_interleaved_plans = test_memory_plans.test_f_of_two_interleaved_plans_that_change_the_same_the_later_one_adds
test_killed_after_any_rollout = test_robustness.test_h_killed_after_any_rollout_it_asks_for_nothing_twice
test_not_written_twice = test_robustness.test_h_a_plan_that_was_written_just_before_the_kill_is_not_written_twice
test_one_teaches_the_next = test_learning_across.test_g_one_question_fails_and_learns_the_next_one_succeeds_at_the_root


@pytest.fixture(scope="module", autouse=True)
async def _trial(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, postgres_server: str
) -> AsyncIterator[None]:
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE searching")
    url = postgres_server.rsplit("/", 1)[0] + "/searching"
    async with open_trial(tmp_path_factory.mktemp("trial"), database_url=url) as trial:
        world.shared.append(trial)
        yield
        world.shared.clear()
