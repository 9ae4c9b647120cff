"""A kind of task that must call a tool: it can do nothing else first, unless the limits of the run forbid it."""

from __future__ import annotations

from typing import Any

import pytest

from agents.tim.config import TimConfig
from agents.tim.document import document_schema
from agents.tim.offering import Places
from agents.tim.parallel import Branch
from agents.tim.typed import TypedTree
from agents.tooling.schemas import faults
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


def test_a_list_that_goes_in_circles_ends_where_its_shape_allows_it() -> None:
    tree: JsonObject = {
        "root": {"tuple": ["pair", "many"]},
        "kinds": {
            "pair": {"subtasks": {"tuple": ["note", "note"]}},
            "many": {"subtasks": {"list": "free"}},
            "note": {"tools": ["look"], "must_call": True},
            "free": {"tools": ["look"]},
        },
    }
    places = Places(TimConfig(tree=tree), [LOOK])
    branch = Branch(ThreadTree(), tools_left=9, output_left=1000)
    for path, kind in {"1": "pair", "2": "many"}.items():
        places.named(path, kind, "")

    def here(path: str) -> tuple[set[str], bool | None]:
        branch.ending = path.rpartition(".")[0]
        (can,) = places.opening(branch, path, alone=False, ending=False)
        return {*can.acts}, can.more

    assert here("1") == ({"descend"}, True)
    assert here("2") == ({"descend"}, False)
    assert here("1.1") == ({"tool"}, True)
    assert here("1.2") == ({"tool"}, False)
    assert here("2.1") == ({"conclude"}, False)


def test_a_kind_without_tools_cannot_have_to_call_one() -> None:
    with pytest.raises(InvalidInput, match=r"kinds\.plan: 'must_call' needs 'tools'"):
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
    assert [len(run.of(kind)) for kind in ("tool.call", "check.failed")] == [2, 1]
    opened = [actions(call) for call in world.calls if call.purpose == "tim.open"]
    assert opened[0] == {"conclude"}
    assert set().union(*opened[1:]) == {"tool"}


@pytest.mark.anyio
async def test_a_task_that_cannot_be_read_goes_down_where_its_kind_must(world: World) -> None:
    tree: JsonObject = {"root": {"tuple": ["plan"]}, "kinds": {"plan": {"subtasks": {"tuple": ["step"]}}, "step": {}}}
    world.tree = {"1": Part("plan", "planned", below=True, kind="plan"), "1.1": Part("go", "gone", kind="step")}
    world.instead = {("open", "1", number): "not JSON" for number in range(3)}
    run = await world.run(tree=tree)
    schema = document_schema([LOOK], None, TypedTree.parse(tree), max_depth=5)
    assert faults(schema, run.document) == []
