"""The graph of the agent: one node, because a tree is no small value; what is kept are the steps of the run.

Source: style sheet §5; tim §3.
"""

from __future__ import annotations

from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from agents.graphs import Work
from agents.tim.config import TimConfig
from agents.tim.executor import Executor
from agents.tim.streaming import stream_answer
from runtime.types import JsonObject


class State(TypedDict, total=False):
    """The answer of the run. The tree is in the log."""

    answer: JsonObject


async def think(state: State, runtime: Runtime[Work]) -> State:
    """Grow the tree and answer."""
    work = runtime.context
    config = work.ctx.config
    assert isinstance(config, TimConfig)
    if config.mode == "stream":
        return {"answer": await stream_answer(work)}
    executor = await Executor.open(work, config)
    return {"answer": await executor.run()}


def build() -> StateGraph[Any, Work, Any, Any]:
    """START → think → END."""
    graph = StateGraph(State, context_schema=Work)
    graph.add_node("think", think)
    graph.add_edge(START, "think")
    graph.add_edge("think", END)
    return graph
