"""Prompts that are rebuilt from what the steps returned are those that the model was sent, for every agent."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from agents.prompt_parts import parts_of
from agents.replaying import rebuild
from agents.tasks import parse_input
from memory.types import Actor, Draft
from runtime.llm.scripted import Rule
from runtime.runs import RunRecord, RunSpec
from runtime.tables import User
from tests.trial import Trial, open_trial

pytestmark = pytest.mark.anyio
FACT = "Turbine T1 is rated at 300 kW at a flow of 2.4 m/s."
QUESTION = "What is the rating of turbine T1 at that flow?"
JUDGED = '{"specific_criteria":"c","critique":"k","weight_allocation":"w","scoring_process":"s","final_score":[7,4],'
RULES = [
    Rule(
        purpose="empirical_mcts.judge", reply=JUDGED + '"new_experiences":["lesson"],"new_system_prompt":"New words."}'
    ),
    Rule(purpose="empirical_mcts.memory", reply='{"think":"t","plan":[]}'),
]


async def _run(trial: Trial, agent: str, **more: Any) -> RunRecord:
    trial.llm.calls.clear()
    spec = RunSpec(agent=agent, input=QUESTION, vaults=("default",), memory="read", seed=5, explore=0.0, **more)
    record = await trial.run(spec)
    assert record.status == "succeeded", record.error
    return record


async def _sent_again(trial: Trial, record: RunRecord) -> None:
    """The rebuilt prompts are the calls, whatever their order."""
    calls = list(trial.llm.calls)
    rebuilt = await rebuild(trial.parts, record)
    assert (rebuilt.missing, rebuilt.changed) == ("", ())
    assert len(trial.llm.calls) == len(calls), "a replay asks no model"
    sent = sorted((call.purpose, repr(call.messages), repr(call.tools), repr(call.schema)) for call in calls)
    made = rebuilt.prompts.values()
    assert sorted((p.purpose, repr(p.messages), repr(p.tools), repr(p.schema)) for p in made) == sent


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def trial(
    anyio_backend: str, tmp_path_factory: pytest.TempPathFactory, migrated_file: Path
) -> AsyncIterator[Trial]:
    home = tmp_path_factory.mktemp("trial")
    shutil.copy(migrated_file, home)
    async with open_trial(home, *RULES) as opened:
        owner = {"id": "usr_test", "name": "test", "role": "member", "created_at": datetime.now(UTC)}
        await opened.parts.db.write(lambda connection: connection.execute(insert(User), [owner]))
        await opened.parts.memory.add(Actor("usr_test"), [Draft(FACT)])
        yield opened


@pytest.mark.parametrize(
    ("agent", "config"),
    [
        ("direct", {}),
        ("self-consistency", {"n": 3}),
        ("best-of-n", {"n": 3}),
        ("empirical-mcts", {"rollouts": 3}),
    ],
)
async def test_every_prompt_of_a_run_is_rebuilt_to_the_letter(trial: Trial, agent: str, config: Any) -> None:
    record = await _run(trial, agent, config=config)
    lines = await trial.store.events(record.id)
    await _sent_again(trial, record)
    assert await trial.store.events(record.id) == lines
    (first, *_) = (await rebuild(trial.parts, record)).prompts.values()
    parts = parts_of(first, parse_input(QUESTION).messages())
    assert any(part.name == "recalled" and "300 kW" in part.text for part in parts) == (agent != "empirical-mcts")
    assert "".join(part.text for part in parts if part.role) == "".join(message.text for message in first.messages)


async def test_the_prompts_before_the_step_that_is_asked_for_are_not_written_again(trial: Trial) -> None:
    record = await _run(trial, "empirical-mcts", config={"rollouts": 3})
    every = (await rebuild(trial.parts, record)).prompts
    last = [*every][-1]
    assert len(every) > 3
    rebuilt = await rebuild(trial.parts, record, step=last)
    assert (rebuilt.prompts, rebuilt.missing) == ({last: every[last]}, "")
