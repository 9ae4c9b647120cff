"""A graph that is run again after its process was killed ends as if it had not been, wherever that was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, TypedDict, cast

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

from agents.graphs import Work, run_graph
from runtime.errors import StorageError

pytestmark = pytest.mark.anyio


class State(TypedDict, total=False):
    count: int
    answer: str


class One(TypedDict):
    n: int


def two_draws_and_a_choice() -> StateGraph[Any, Work, Any, Any]:
    async def draw(state: One) -> State:
        return {}

    async def choose(state: State) -> State:
        return {"answer": "chosen"}

    graph = StateGraph(State, context_schema=Work)
    graph.add_node("draw", draw)
    graph.add_node("choose", choose)
    graph.add_conditional_edges(START, lambda state: [Send("draw", {"n": n}) for n in range(state["count"])], ["draw"])
    graph.add_edge("draw", "choose")
    graph.add_edge("choose", END)
    return graph


class DiesBeforeStep(InMemorySaver):
    """Keeps what finished nodes wrote, and dies before the checkpoint of one superstep, like a process that is killed."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step: int | None = step

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if metadata.get("step") == self.step:
            raise StorageError("killed")
        return await super().aput(config, checkpoint, metadata, new_versions)


@pytest.mark.parametrize("step", [0, 1, 2])
async def test_killed_before_any_checkpoint_a_graph_ends_with_its_answer(step: int) -> None:
    saver = DiesBeforeStep(step)
    work = cast(Work, SimpleNamespace(ctx=SimpleNamespace(saver=saver, run_id="run_1")))
    with pytest.raises(StorageError):
        await run_graph(two_draws_and_a_choice, {"count": 2}, work)
    saver.step = None
    assert (await run_graph(two_draws_and_a_choice, {"count": 2}, work))["answer"] == "chosen"
