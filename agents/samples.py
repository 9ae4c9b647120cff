"""Drawing n answers to one task side by side: the part that `best-of-n` and `self-consistency` share.

Each answer is a step of its own (`answer.<i>`, seed of the run + i), shown as reasoning while it comes. A budget that
ends in between cuts the answers that have not begun, and the agent goes on with those it has. Source: ours.
"""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send
from pydantic import JsonValue

from agents.base import Answer, Context, Step
from agents.graphs import Work
from agents.sampling import sampling_of
from runtime.errors import BudgetExhausted
from runtime.events import StepCompleted
from runtime.types import FinishReason, JsonObject


class State(TypedDict, total=False):
    """Numbers of the answers drawn, why others were cut, and the chosen answer."""

    count: int
    drawn: Annotated[list[int], operator.add]
    cut: Annotated[list[str], operator.add]
    answer: JsonObject


class One(TypedDict):
    """Which answer a `draw` node is to draw."""

    number: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer. `score` and `detail` come from the task's verifier, `canonical` is None without an answer."""

    number: int
    text: str
    finish_reason: FinishReason
    canonical: str | None
    score: float | None
    detail: str


Choose = Callable[[list[Sample], Work[Any]], Awaitable[Answer]]


def graph_of(
    purpose: str, temperature: Callable[[Context], float], choose: Choose
) -> StateGraph[Any, Work[Any], Any, Any]:
    """START → draw × n → choose → END."""

    async def draw(state: One, runtime: Runtime[Work[Any]]) -> State:
        try:
            await drawn(state["number"], runtime.context, purpose, temperature(runtime.context.ctx))
        except BudgetExhausted as error:
            return {"cut": [error.message]}
        return {"drawn": [state["number"]]}

    async def choose_one(state: State, runtime: Runtime[Work[Any]]) -> State:
        work = runtime.context
        cut = state.get("cut", [])
        samples = [
            await drawn(number, work, purpose, temperature(work.ctx)) for number in sorted(state.get("drawn", []))
        ]
        if not samples:
            raise BudgetExhausted(cut[0], limit="budget")
        answer = await choose(samples, work)
        if cut:
            work.ctx.offer(answer)
            raise BudgetExhausted(f"{cut[0]}; the answer is the best of {len(samples)}", limit="budget")
        return {"answer": answer.to_json()}

    def fan_out(state: State) -> list[Send]:
        return [Send("draw", One(number=number)) for number in range(state["count"])]

    graph = StateGraph(State, context_schema=Work)
    graph.add_node("draw", draw)
    graph.add_node("choose", choose_one)
    graph.add_conditional_edges(START, fan_out, ["draw"])
    graph.add_edge("draw", "choose")
    graph.add_edge("choose", END)
    return graph


async def drawn(number: int, work: Work[Any], purpose: str, temperature: float) -> Sample:
    """Answer `number`, drawn now or before."""

    async def ask(step: Step) -> JsonValue:
        sampling = sampling_of(work.ctx.spec, seed=work.ctx.seed + number)
        if sampling.temperature is None:
            sampling = sampling_of(work.ctx.spec, seed=work.ctx.seed + number, temperature=temperature)
        reply = await step.ask(purpose, work.task.messages(), sampling=sampling, show="reasoning")
        canonical = await work.ctx.verifiers.canonical(work.task, reply.text)
        verdict = await work.ctx.verifiers.verify(work.task, reply.text)
        score = verdict.score if verdict else None
        detail = verdict.detail if verdict else ""
        await step.emit(
            StepCompleted(name=step.key, score=score, detail={"canonical": canonical, "verdict": detail or None})
        )
        return {
            "text": reply.text,
            "finish_reason": reply.finish_reason,
            "canonical": canonical,
            "score": score,
            "detail": detail,
        }

    output: Any = await work.ctx.step(f"answer.{number}", ask)
    return Sample(number, **output)
