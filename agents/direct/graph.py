"""The graph of `direct`: one node, one step."""

from __future__ import annotations

from typing import Any, Final, TypedDict, cast

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import JsonValue

from agents.base import Answer, Step
from agents.graphs import Work
from agents.sampling import sampling_of, tools_of
from runtime.types import JsonObject

UNIT: Final = "answer"


class State(TypedDict, total=False):
    """The answer, once it is there."""

    answer: JsonObject


async def answer(state: State, runtime: Runtime[Work]) -> State:
    """Ask, showing every token."""
    work = runtime.context
    units = await work.ctx.memories(work.task, [UNIT])

    async def ask(step: Step) -> JsonValue:
        spec = work.ctx.spec
        reply = await step.ask(
            "direct.answer",
            units.placed(UNIT, work.task.messages()),
            sampling=sampling_of(spec),
            tools=tools_of(spec.tools),
            show="text",
            prompt=work.task.prompt,
        )
        if units.measured:
            verdict = await work.ctx.verifiers.verify(work.task, reply.text)
            if verdict is not None:
                await units.report(step, UNIT, verdict.score, "verifier", verdict.detail)
        detail: JsonObject = {"logprobs": cast(JsonObject, dict(reply.logprobs))} if reply.logprobs else {}
        return Answer(reply.text, reply.tool_calls, reply.finish_reason, detail).to_json()

    # What is counted must stand in the log before it is counted, so that no other answer can take its place.
    do = work.ctx.step if units.measured else work.ctx.last_step
    output = await do(UNIT, ask)
    assert isinstance(output, dict)
    return {"answer": output}


def build() -> StateGraph[Any, Work, Any, Any]:
    """START → answer → END."""
    graph = StateGraph(State, context_schema=Work)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph
