"""How an agent's LangGraph graph is run for a context: from its last checkpoint, or from the start.

State holds ids and small values; the task and the context come through the graph's runtime context. A checkpoint that is
behind does no harm, because finished steps return what they returned. Source: style sheet §5; ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import anyio
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.graph.state import CompiledStateGraph

from agents.base import Context
from agents.tasks import Task
from runtime.checkpoints import forget

Build = Callable[[], "StateGraph[Any, Work, Any, Any]"]


@dataclass(frozen=True, slots=True)
class Work:
    """What the nodes of a graph get: the task and the hands."""

    task: Task
    ctx: Context


async def run_graph(build: Build, start: dict[str, Any], work: Work, *, at_once: int = 16) -> dict[str, Any]:
    """Run the graph to its end and return its last state; at most `at_once` nodes at a time.

    `build` is a function of a module: its graph is compiled once for each saver.
    """
    graph = _compiled(build, work.ctx.saver)
    config: RunnableConfig = {"configurable": {"thread_id": work.ctx.run_id}, "max_concurrency": at_once}
    here = await graph.aget_state(config)
    # `next` leaves out tasks that have written and whose checkpoint the crash prevented; `tasks` does not.
    if here.values and not here.tasks:
        return dict(here.values)
    begin = None if here.values else start
    end = await _to_the_end(graph.ainvoke(begin, config, context=work, durability="async"))
    # What the run still needs stands in its steps; checkpoints of finished graphs would only pile up.
    await forget(work.ctx.saver, work.ctx.run_id)
    return end


async def run_single(build: Build, start: dict[str, Any], work: Work) -> dict[str, Any]:
    """Run a graph of one step without checkpoints: the record of the step is all there is to keep."""
    return await _to_the_end(_compiled(build, None).ainvoke(start, context=work))


async def _to_the_end(running: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    # LangGraph runs nodes as tasks and waits for them when it is cancelled. A cancel scope cancels that waiting again
    # and again, which would leave nodes, and their model calls, behind. So the graph is a task that is cancelled once.
    task = asyncio.ensure_future(running)
    try:
        return await asyncio.shield(task)
    finally:
        if not task.done():
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])


@lru_cache(maxsize=64)
def _compiled(build: Build, saver: BaseCheckpointSaver[str] | None) -> CompiledStateGraph[Any, Any, Any, Any]:
    return build().compile(checkpointer=saver)
