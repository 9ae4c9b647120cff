"""A kind of task that must call a tool: it can do nothing else first, unless the limits of the run forbid it."""

from __future__ import annotations

from typing import Any

import pytest

from agents.tim.config import TimConfig
from agents.tim.offering import Places
from agents.tim.parallel import Branch
from agents.tim.typed import TypedTree
from runtime.errors import InvalidInput
from runtime.threads import ThreadTree
from runtime.types import JsonObject
from tests.agents.tim.world import LOOK, Part, World, actions

MUST: JsonObject = {
    "root": {"tuple": ["plan", "fetch"]},
    "kinds": {
        "plan": {},
        "fetch": {"tools": ["look"], "must_call": True, "subtasks": {"tuple": ["note"]}},
        "note": {"tools": ["look"], "must_call": True},
    },
}


def test_it_may_only_call_its_tool_until_the_tool_has_answered() -> None:
    places = Places(TimConfig(tree=MUST), [LOOK])
    branch = Branch(ThreadTree(), tools_left=1, output_left=1000)
    acts = [can.acts for can in places.opening(branch, "2", alone=False, ending=False)]
    assert acts == [{"tool"}]
    places.named("2", "fetch", "")
    assert places.after_tool(branch, "2", alone=False, ending=False).acts == {"descend"}
    assert places.after_list(branch, "2", alone=False, ending=False).acts == {"conclude"}
    assert [can.acts for can in places.opening(branch, "2.1", alone=False, ending=False)] == [{"tool"}]
    places.named("2.1", "note", "")
    assert places.after_tool(branch, "2.1", alone=False, ending=False).acts == {"conclude"}


def test_the_limits_of_the_run_go_first() -> None:
    places = Places(TimConfig(tree=MUST), [LOOK])
    spent = Branch(ThreadTree(), tools_left=0, output_left=1000)
    assert [can.acts for can in places.opening(spent, "2", alone=False, ending=False)] == [{"descend"}]
    branch = Branch(ThreadTree(), tools_left=1, output_left=1000)
    assert [can.acts for can in places.opening(branch, "2", alone=False, ending=True)] == [{"conclude"}]


def test_a_kind_without_tools_cannot_have_to_call_one() -> None:
    with pytest.raises(InvalidInput, match="kinds.plan: 'must_call' needs 'tools'"):
        TypedTree.parse({"root": {"list": "plan"}, "kinds": {"plan": {"must_call": True}}})


@pytest.mark.anyio
async def test_a_model_that_concludes_at_once_is_asked_for_the_call(world: World) -> None:
    world.tree = {
        "1": Part("plan", "planned", kind="plan"),
        "2": Part("fetch it", "fetched", tool={"q": "x"}, below=True, kind="fetch"),
        "2.1": Part("note it", "noted", tool={"q": "y"}, kind="note"),
    }
    early: Any = {"task_kind": "fetch", "thought": "no need", "action": {"kind": "conclude", "conclusion": "done"}}
    world.instead["open", "2", 0] = early
    run = await world.run(tree=MUST)
    assert run.record.status == "succeeded"
    assert [len(run.of(kind)) for kind in ("tool.called", "check.failed")] == [2, 1]
    opened = [actions(call) for call in world.calls if call.purpose == "tim.open"]
    assert opened[0] == {"conclude"}
    assert set().union(*opened[1:]) == {"tool"}
