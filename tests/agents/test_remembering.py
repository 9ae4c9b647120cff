"""Runs that read memories: who is shown what, what the log says, what is counted; and runs that read none."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import insert, select, update

from memory import access
from memory.tables import EffectRow, MeasureRow, MemoryUse, VaultRow
from memory.types import Actor, Change, Draft, MemCube
from runtime.errors import ModelOverloaded
from runtime.events import Event, MemoryRead, StepCompleted
from runtime.llm.scripted import Rule
from runtime.runs import RunSpec
from runtime.tables import RunStep, User
from runtime.types import JsonObject, Message
from tests.trial import Call, Trial, open_trial, story

pytestmark = pytest.mark.anyio

OWNER = Actor("usr_test")
MATH: JsonObject = {"kind": "math", "problem": "What is x if 3x + 4 = 19?", "check": {"equations": ["3*x+4=19"]}}
HINTS = ("Subtract 4 from 3x + 4 = 19 first", "Divide 3x by 3", "Check x in 3x + 4 = 19", "What x is: a number")
RIGHT = Rule(purpose="*.answer", replies=("\\boxed{5}", "\\boxed{4}", "\\boxed{5}", "\\boxed{9}"))


@asynccontextmanager
async def remembering(home: Path, *rules: Rule) -> AsyncIterator[tuple[Trial, list[MemCube]]]:
    """A trial whose owner, and a stranger, have a vault of hints each."""
    async with open_trial(home, *rules) as trial:
        now = datetime.now(UTC)
        users = [{"id": f"usr_{name}", "name": name, "role": "member", "created_at": now} for name in ("test", "eve")]
        await trial.parts.db.write(lambda connection: connection.execute(insert(User), users))
        added = await trial.parts.memory.add(OWNER, [Draft(text) for text in HINTS])
        await trial.parts.memory.add(Actor("usr_eve"), [Draft("3x + 4 = 19 is a secret of Eve")])
        yield trial, [item.memory for item in added if item.memory is not None]


def spec(agent: str = "best-of-n", **more: Any) -> RunSpec:
    config = {} if agent == "direct" else {"n": 4}
    defaults: dict[str, Any] = {"input": MATH, "seed": 5, "vaults": ("default",), "config": config}
    return RunSpec(agent=agent, **{**defaults, **more})


def reads(events: Sequence[Event]) -> list[MemoryRead]:
    return [event.payload for event in events if isinstance(event.payload, MemoryRead)]


def outcomes(events: Sequence[Event]) -> dict[str, float | None]:
    told = [event.payload for event in events if isinstance(event.payload, StepCompleted)]
    return {payload.name: payload.score for payload in told if payload.outcome == "verifier"}


def told_in(messages: Sequence[Message]) -> list[str]:
    """The ids of the memories that a prompt holds."""
    text = "\n".join(message.text for message in messages)
    if "<memories>" not in text:
        return []
    lines = text.split("<memories>\n")[1].split("\n</memories>")[0].splitlines()
    return [json.loads(line)["id"] for line in lines]


async def rows(trial: Trial, table: Any) -> list[Any]:
    return list(await trial.parts.db.read(lambda connection: connection.execute(select(table.__table__)).all()))


# -- reading -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agent", ["direct", "best-of-n", "self-consistency"])
async def test_each_unit_is_shown_the_memories_that_its_log_says(agent: str, tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT) as (trial, hints):
        record = await trial.run(spec(agent))
        found = reads(await trial.events(record.id))
    assert record.status == "succeeded"
    units = ["answer"] if agent == "direct" else [f"answer.{number}" for number in range(4)]
    assert [*dict.fromkeys(read.unit for read in found)] == units
    calls = sorted(trial.llm.calls, key=lambda call: call.sampling.seed or 0)
    for unit, call in zip(units, calls, strict=True):
        mine = [read for read in found if read.unit == unit]
        assert {read.id for read in mine} == {cube.id for cube in hints}
        assert told_in(call.messages) == [read.id for read in mine if read.shown == "shown"]
        assert {read.p for read in mine} == {0.9 if agent == "direct" else 0.8}
        assert all(read.why and read.version == 1 for read in mine)
        assert call.messages[-1].text.endswith(str(MATH["problem"]))


async def test_units_differ_by_chance(tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT) as (trial, _):
        for seed in range(6):
            await trial.run(spec(seed=seed))
    assert len({tuple(told_in(call.messages)) for call in trial.llm.calls}) > 2


async def test_a_system_message_and_what_was_said_before_stay_in_front(tmp_path: Path) -> None:
    chat: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "What is x if 3x + 4 = 19?"},
    ]
    async with remembering(tmp_path) as (trial, _):
        await trial.run(spec("direct", input=chat, explore=0.0))
    (call,) = trial.llm.calls
    assert [message.role for message in call.messages] == ["system", "user", "assistant", "user", "user"]
    assert "<memories>" in call.messages[3].text
    assert call.messages[-1].text == "What is x if 3x + 4 = 19?"


@pytest.mark.parametrize(
    ("agent", "without"),
    [("direct", {"vaults": ()}), ("direct", {"memory": "off"}), ("best-of-n", {"memory": "off"})],
)
async def test_a_run_without_memory_is_as_if_there_were_no_store(
    agent: str, without: dict[str, Any], tmp_path: Path
) -> None:
    plain = spec(agent, vaults=())
    async with open_trial(tmp_path / "a", RIGHT) as trial:
        record = await trial.run(plain)
        expected, calls = story(await trial.events(record.id)), trial.llm.calls
    async with remembering(tmp_path / "b", RIGHT) as (trial, _):
        record = await trial.run(spec(agent, **without))
        events = await trial.events(record.id)
        steps = await rows(trial, RunStep)
    assert story(events) == expected
    assert trial.llm.calls == calls
    assert "memories" not in {step.key for step in steps}
    assert not any("outcome" in str(line) for lines in expected.values() for line in lines)


async def test_an_empty_vault_leaves_the_prompt_alone(tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT) as (trial, _):
        record = await trial.run(spec("direct", input="zebra crossing"))
        before = trial.llm.calls[-1].messages
    assert record.status == "succeeded"
    assert [message.text for message in before][-1] == "zebra crossing"


@pytest.mark.parametrize("agent", ["direct", "best-of-n"])
async def test_a_foreign_vault_fails_as_an_unknown_one_does_before_the_model_is_asked(
    agent: str, tmp_path: Path
) -> None:
    async with remembering(tmp_path, RIGHT) as (trial, _):
        eve = Actor("usr_eve")
        foreign = (await trial.parts.memory.core.read(eve, lambda tx: access.vault(tx, "default", "read"))).vault.id
        ended = [await trial.run(spec(agent, vaults=("default", ref))) for ref in (foreign, "vlt_nowhere")]
    for record, ref in zip(ended, (foreign, "vlt_nowhere"), strict=True):
        assert record.status == "failed"
        assert record.error == {
            "code": "not_found",
            "message": f"vault {ref!r}: not found; check the id, and that this key may read it",
        }
    assert trial.llm.calls == []


# -- counting ----------------------------------------------------------------------------------------------------------


async def test_what_the_verifier_says_of_each_unit_is_counted_when_the_run_succeeds(tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT) as (trial, hints):
        record = await trial.run(spec())
        events = await trial.events(record.id)
        measured = await rows(trial, MeasureRow)
        sums = await rows(trial, EffectRow)
    assert set(outcomes(events)) == {f"answer.{number}" for number in range(4)}
    assert sorted(score or 0.0 for score in outcomes(events).values()) == [0.0, 0.0, 1.0, 1.0]
    assert {row.memory_id for row in measured} == {cube.id for cube in hints}
    assert {(row.run_id, row.units, row.kind, row.agent) for row in measured} == {
        (record.id, 4, "verifier", "best-of-n")
    }
    by_id = {row.memory_id: row for row in sums}
    for row in measured:
        assert (by_id[row.memory_id].n, by_id[row.memory_id].total) == (1, row.x)
        mine = [read for read in reads(events) if read.id == row.memory_id]
        for side, mean in (("shown", row.outcome_shown), ("held_out", row.outcome_held_out)):
            scores = [outcomes(events)[read.unit] or 0.0 for read in mine if read.shown == side]
            assert mean == (pytest.approx(sum(scores) / len(scores)) if scores else None)


async def test_direct_is_measured_where_the_task_can_be_checked(tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT) as (trial, hints):
        checked = await trial.run(spec("direct"))
        free = await trial.run(spec("direct", input="What is x if 3x + 4 = 19?"))
        measured = await rows(trial, MeasureRow)
        events = await trial.events(free.id)
    assert {row.run_id for row in measured} == {checked.id}
    assert len(measured) == len(hints)
    assert outcomes(events) == {}


async def test_switched_off_everything_is_shown_and_nothing_is_counted(tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT) as (trial, hints):
        by_run = await trial.run(spec(explore=0.0))
        off = update(VaultRow).where(VaultRow.owner_id == OWNER.user_id).values(explore=0.0)
        await trial.parts.db.write(lambda connection: connection.execute(off))
        by_vault = await trial.run(spec())
        logs = [await trial.events(record.id) for record in (by_run, by_vault)]
        assert await rows(trial, MeasureRow) == []
    for events in logs:
        assert {(read.shown, read.p) for read in reads(events)} == {("shown", 1.0)}
        assert outcomes(events) == {}
    assert len({call.messages for call in trial.llm.calls}) == 1
    assert set(told_in(trial.llm.calls[0].messages)) == {cube.id for cube in hints}
    assert by_run.output == by_vault.output


async def test_what_a_run_was_shown_counts_as_used_once_and_what_was_held_out_does_not(tmp_path: Path) -> None:
    expected: Counter[str] = Counter()
    async with remembering(tmp_path, RIGHT) as (trial, hints):
        everything = {cube.id for cube in hints}
        for seed in range(40):
            # Many units show everything to some of them; one unit now and then goes without a memory.
            record = await trial.run(spec("direct" if seed else "best-of-n", seed=seed))
            found = reads(await trial.events(record.id))
            shown = {read.id for read in found if read.shown == "shown"}
            expected.update(shown)
            if seed and shown != everything:
                break
        await trial.parts.memory.uses.flush()
        counted = {row.memory_id: row.uses for row in await rows(trial, MemoryUse)}
    assert {read.id for read in found} == everything > shown
    assert counted == expected


async def test_a_run_that_fails_on_the_way_contributes_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    async def third_fails(call: Call) -> None:
        if call.sampling.seed == 5 + 2:
            raise ModelOverloaded("scripted", status=500)

    async with remembering(tmp_path, RIGHT) as (trial, hints):
        trial.llm.before = third_fails
        record = await trial.run(spec())
        assert record.status == "failed"
        assert await rows(trial, MeasureRow) == []
        trial.llm.before = None
        await trial.store.requeue(record.id)
        record = await trial.go_on(record.id)
        measured = await rows(trial, MeasureRow)
    assert record.status == "succeeded"
    assert {row.units for row in measured} == {4}
    assert len(measured) == len(hints)


# -- going on ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 2, 4])
async def test_a_run_that_is_picked_up_shows_the_same_and_counts_once(at: int, tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT) as (trial, hints):
        trial.breaking_off_at(at)
        record = await trial.run(spec())
        assert record.status == "interrupted"
        trial.llm.before = None
        record = await trial.go_on(record.id)
        events = await trial.events(record.id)
        measured = await rows(trial, MeasureRow)
    assert record.status == "succeeded"
    shown = {call.sampling.seed: told_in(call.messages) for call in trial.llm.calls}
    for number in range(4):
        unit = [read for read in reads(events) if read.unit == f"answer.{number}"]
        assert shown[5 + number] == [read.id for read in unit if read.shown == "shown"]
    assert len(reads(events)) == 4 * len(hints)
    assert {row.units for row in measured} == {4}


async def test_a_run_goes_on_with_the_texts_that_it_began_with_and_without_what_was_erased(tmp_path: Path) -> None:
    async with remembering(tmp_path, RIGHT) as (trial, hints):
        trial.breaking_off_at(1)
        record = await trial.run(spec(explore=0.0))
        await trial.parts.memory.edit(OWNER, hints[0].id, Change({"content": "Add 4"}), expect=1)
        await trial.parts.memory.purge(OWNER, hints[1].id)
        trial.llm.before = None
        record = await trial.go_on(record.id)
        steps = await rows(trial, RunStep)
    assert record.status == "succeeded"
    prompt = "\n".join(message.text for message in trial.llm.calls[-1].messages)
    assert HINTS[0] in prompt
    assert "Add 4" not in prompt
    assert HINTS[1] not in prompt
    # No text of a memory is kept with the run.
    assert not any(hint in str(step.output) for hint in HINTS for step in steps if step.key == "memories")


async def test_several_units_that_ask_at_once_recall_once(tmp_path: Path) -> None:
    async with remembering(tmp_path, Rule(purpose="*.answer", reply="\\boxed{5}", delay_ms=2)) as (trial, hints):
        with anyio.fail_after(30):
            record = await trial.run(spec(config={"n": 8}))
        events = await trial.events(record.id)
    assert record.status == "succeeded"
    assert trial.llm.most_at_once > 1
    assert len(reads(events)) == 8 * len(hints)
