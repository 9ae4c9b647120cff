"""The prompts of a tree are rebuilt from its steps, byte for byte, and nothing is counted twice by it."""

from __future__ import annotations

import pytest

from agents.prompt_parts import parts_of
from agents.replaying import rebuild
from agents.tasks import parse_input
from runtime.metrics import metrics
from tests.agents.tim.world import World

pytestmark = pytest.mark.anyio


async def test_every_prompt_of_a_tree_is_rebuilt_byte_for_byte(world: World) -> None:
    run = await world.run(k=0)
    counted = metrics.working_memory_tokens.labels("pruned")._value.get()
    asked = len(world.tool_calls)
    rebuilt = await rebuild(world.trial.parts, run.record)
    assert (rebuilt.missing, rebuilt.changed) == ("", ())
    assert [each.messages for each in rebuilt.prompts.values()] == [call.messages for call in world.calls]
    assert [each.schema for each in rebuilt.prompts.values()] == [call.schema for call in world.calls]
    assert metrics.working_memory_tokens.labels("pruned")._value.get() == counted
    assert len(world.tool_calls) == asked


async def test_one_step_is_enough_and_its_parts_join_to_its_messages(world: World) -> None:
    run = await world.run()
    rebuilt = await rebuild(world.trial.parts, run.record, step="1.2.after_tool")
    prompt = rebuilt.prompts["1.2.after_tool"]
    parts = parts_of(prompt, parse_input(run.record.spec.input).messages())
    assert {"system", "tools", "request", "working memory", "instructions", "form"} == {part.name for part in parts}
    assert "".join(part.text for part in parts if part.role) == "".join(message.text for message in prompt.messages)
    assert all(part.tokens > 0 for part in parts)


async def test_a_run_that_was_broken_off_tells_how_far_it_goes(world: World) -> None:
    world.trial.breaking_off_at(4)
    record = await world.trial.run(world.spec())
    rebuilt = await rebuild(world.trial.parts, record)
    known = [each.messages for each in rebuilt.prompts.values()]
    assert known == [call.messages for call in world.calls[: len(known)]]
    assert len(known) >= 3
    nowhere = await rebuild(world.trial.parts, record, step="nowhere")
    assert (nowhere.prompts, nowhere.missing) == ({}, "")
