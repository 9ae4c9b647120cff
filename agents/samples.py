"""Drawing n answers to one task side by side: the part that `best-of-n` and `self-consistency` share.

Each answer is a step of its own (`answer.<i>`, seed of the run + i), shown as reasoning while it comes; choosing is the
last step, and its text is the answer. A budget that ends in between cuts the answers that have not begun; the run then
ends with the best of those it has, and draws the others when it is resumed with a larger one. Source: ours.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send
from pydantic import JsonValue

from agents.base import Answer, Step
from agents.graphs import Work
from agents.remembering import Units
from agents.sampling import sampling_of
from runtime.errors import BudgetExhausted
from runtime.events import StepCompleted, TextDelta
from runtime.types import FinishReason, JsonObject


class State(TypedDict, total=False):
    """How many answers to draw, and the chosen one. The answers themselves are in the log."""

    count: int
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


@dataclass(frozen=True, slots=True)
class Choice:
    """The sample that was chosen, how good it is by the agent's own measure, and how it came about."""

    sample: Sample
    score: float | None
    detail: JsonObject

    def answer(self) -> Answer:
        """As the answer of the run."""
        return Answer(self.sample.text, finish_reason=self.sample.finish_reason, detail=self.detail)


@dataclass(frozen=True, slots=True)
class Drawing:
    """What an agent adds: the purpose of its calls, how many answers it draws and how warm, and how it chooses."""

    purpose: str
    count: Callable[[Work], int]
    temperature: Callable[[Work], float]
    choose: Callable[[list[Sample], Work, Step], Awaitable[Choice]]


def at_once(work: Work, wanted: int) -> int:
    """How many answers may be drawn at a time: one where tokens are limited, to keep the limit to within one call."""
    return wanted if work.ctx.spec.budget.tokens is None else 1


def graph_of(drawing: Drawing) -> StateGraph[Any, Work, Any, Any]:
    """START → draw × n → choose → END."""

    async def draw(state: One, runtime: Runtime[Work]) -> State:
        try:
            await drawn(state["number"], runtime.context, drawing)
        except BudgetExhausted:
            return {}  # `choose` finds it missing, and says why.
        return {}

    async def choose(state: State, runtime: Runtime[Work]) -> State:
        return {"answer": (await chosen(state["count"], runtime.context, drawing)).to_json()}

    def fan_out(state: State) -> list[Send]:
        return [Send("draw", One(number=number)) for number in range(state["count"])]

    graph = StateGraph(State, context_schema=Work)
    graph.add_node("draw", draw)
    graph.add_node("choose", choose)
    graph.add_conditional_edges(START, fan_out, ["draw"])
    graph.add_edge("draw", "choose")
    graph.add_edge("choose", END)
    return graph


def name_of(number: int) -> str:
    """The step, and the unit, of an answer."""
    return f"answer.{number}"


async def units_of(work: Work, count: int) -> Units:
    """The memories that each answer is shown. Asked for before the graph, so that a vault that may not be read fails the run
    before any of its nodes."""
    return await work.ctx.memories(work.task, [name_of(number) for number in range(count)])


async def drawn(number: int, work: Work, drawing: Drawing) -> Sample:
    """Answer `number`, drawn now or before. Raises `BudgetExhausted`."""
    name = name_of(number)
    units = await units_of(work, drawing.count(work))

    async def ask(step: Step) -> JsonValue:
        sampling = sampling_of(work.ctx.spec, temperature=drawing.temperature(work), seed=work.ctx.seed + number)
        messages = units.placed(name, work.task.messages())
        reply = await step.ask(drawing.purpose, messages, sampling=sampling, show="reasoning", prompt=work.task.prompt)
        canonical = await work.ctx.verifiers.canonical(work.task, reply.text)
        verdict = await work.ctx.verifiers.verify(work.task, reply.text)
        score = verdict.score if verdict else None
        detail = verdict.detail if verdict else ""
        told: JsonObject = {"canonical": canonical, "verdict": detail or None}
        if score is not None and units.measured:
            await units.report(step, name, score, "verifier", told)
        else:
            await step.emit(StepCompleted(name=name, score=score, detail=told))
        return {
            "text": reply.text,
            "finish_reason": reply.finish_reason,
            "canonical": canonical,
            "score": score,
            "detail": detail,
        }

    output: Any = await work.ctx.step(name, ask)
    return Sample(number, **output)


async def chosen(count: int, work: Work, drawing: Drawing) -> Answer:
    """Choose among the answers there are. Raises `BudgetExhausted` when some are missing, with the best one offered."""

    samples: list[Sample] = []
    cut: BudgetExhausted | None = None
    for number in range(count):
        try:
            # Drawn before: costs nothing. Cut before: cut again at once in this execution, drawn in a later one.
            samples.append(await drawn(number, work, drawing))
        except BudgetExhausted as error:
            cut = error
    if cut is not None and not samples:
        raise cut

    async def decide(step: Step) -> JsonValue:
        work.ctx.offer(Answer(samples[0].text, finish_reason=samples[0].finish_reason))
        choice = await drawing.choose(samples, work, step)
        if cut is not None:
            # The step stays unfinished: what it says is in the log until a resumed run chooses again.
            await step.emit(TextDelta(text=choice.sample.text))
            work.ctx.offer(choice.answer())
            words = f"{cut.message}; the answer is chosen from {len(samples)} of {count}"
            raise BudgetExhausted(words, limit=cut.limit)
        await step.emit(StepCompleted(name=step.key, score=choice.score, detail=choice.detail))
        await step.emit(TextDelta(text=choice.sample.text))
        return choice.answer().to_json()

    output: Any = await work.ctx.step("choose", decide)
    return Answer.from_json(output)
