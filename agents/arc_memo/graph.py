"""The graph of the agent: select, write programs side by side, choose what is submitted, learn.

    START → read → solve → choose → learn → END

The steps of the run hold all that was done, one for each model call and each program, so the graph needs no checkpoints;
its state holds the answer. A budget that ends while samples are drawn cuts those that are missing: the run then ends with
the best of what there is, learns nothing, and goes on when it is resumed with a larger one. Source: arcmemo §3.1, §3.8,
§3.9; style sheet §5.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypedDict, cast

import anyio
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import JsonValue

from agents.arc_memo import choosing
from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.gate import judged
from agents.arc_memo.grids import problem_id
from agents.arc_memo.lessons import learn_lessons
from agents.arc_memo.programs import Attempt
from agents.arc_memo.reading import Reading, read
from agents.arc_memo.solving import Thread, task_of, thread
from agents.arc_memo.writing import learn_concepts
from agents.base import Answer, Step
from agents.graphs import Work
from agents.samples import at_once
from runtime.errors import BudgetExhausted, MnemeError
from runtime.events import StepCompleted, TextDelta
from runtime.types import JsonObject


class State(TypedDict, total=False):
    """The answer of the run."""

    answer: JsonObject


async def read_memory(state: State, runtime: Runtime[Work]) -> State:
    """Select what the samples are shown; each node behind finds it in the steps of the run."""
    await read(runtime.context, config_of(runtime.context))
    return {}


async def solve(state: State, runtime: Runtime[Work]) -> State:
    """Draw the samples side by side. The first one that fails for a reason of its own ends all of them."""
    work = runtime.context
    config = config_of(work)
    reading = await read(work, config)
    limit = anyio.CapacityLimiter(at_once(work, config.at_once))
    failures: list[MnemeError] = []

    async def one(number: int) -> None:
        async with limit:
            try:
                await thread(work, config, number, reading)
            except MnemeError as error:
                failures.append(error)
                group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for number in range(config.samples):
            group.start_soon(one, number)
    if failures:
        raise failures[0]
    return {}


async def choose(state: State, runtime: Runtime[Work]) -> State:
    """Submit the best of what there is. Raises `BudgetExhausted` when samples are missing, with the answer offered."""
    work = runtime.context
    threads, reading, cut = await _drawn(work)
    if cut is not None and not any(each.attempts for each in threads):
        raise cut
    answer = answer_of(work, reading, [each.attempts for each in threads])

    async def submit(step: Step) -> JsonValue:
        if cut is not None:
            # The step stays unfinished: what it says is in the log until a resumed run chooses again.
            await step.emit(TextDelta(text=answer.text))
            work.ctx.offer(answer)
            done = sum(bool(each.attempts) for each in threads)
            words = f"{cut.message}; the answer is chosen from {done} of {len(threads)} samples"
            raise BudgetExhausted(words, limit=cut.limit)
        told = {name: answer.detail[name] for name in ("problem", "train", "programs", "passing", "rule")}
        score = cast(float, answer.detail["train"])
        await step.emit(StepCompleted(name=step.key, score=score, detail=told))
        await step.emit(TextDelta(text=answer.text))
        return answer.to_json()

    output: Any = await work.ctx.step("choose", submit)
    return {"answer": dict(output)}


async def learn(state: State, runtime: Runtime[Work]) -> State:
    """Take in what the shortest program that passes every train pair teaches, if the run may write."""
    work = runtime.context
    config, learning, task = config_of(work), work.ctx.learning, task_of(work)
    if config.format == "none" or learning is None or not learning.writes:
        return {}
    work.ctx.offer(Answer.from_json(state["answer"]))
    threads = [each.attempts for each in (await _drawn(work))[0]]
    best = choosing.shortest_passing(threads)
    if best is None:
        return {}

    async def gate(step: Step) -> JsonValue:
        verdict = await judged(work.ctx, step, config, task, best, threads)
        told: dict[str, JsonValue] = {"gate": config.gate, "opens": verdict.opens, "why": verdict.why}
        await step.emit(StepCompleted(name=step.key, detail=told))
        return verdict.opens

    if await work.ctx.step("gate", gate):
        await (learn_concepts if config.format == "ps" else learn_lessons)(work, config, task, best)
    return {}


async def _drawn(work: Work) -> tuple[list[Thread], Reading, BudgetExhausted | None]:
    """Every sample: those that were drawn cost nothing, those that were cut are cut again at once."""
    config = config_of(work)
    reading = await read(work, config)
    threads = [await thread(work, config, number, reading) for number in range(config.samples)]
    return threads, reading, next((each.cut for each in threads if each.cut is not None), None)


def answer_of(work: Work, reading: Reading, threads: Sequence[Sequence[Attempt]]) -> Answer:
    """What is submitted, with how it came about: the two attempts for each test input, the same for every retry depth, and
    what each sample would have submitted alone."""
    config, task = config_of(work), task_of(work)
    tests = len(task.test)
    depths = [choosing.attempts(choosing.at_depth(threads, depth), tests) for depth in range(config.retries + 1)]
    made = [attempt for each in threads for attempt in each]
    best = choosing.shortest_passing(threads)
    last = choosing.at_depth(threads, config.retries)
    detail: dict[str, Any] = {
        "problem": problem_id(task),
        "attempts": depths[-1],
        "depths": depths,
        "samples": [{"outputs": list(each.outputs), "train": each.share} for each in last],
        "train": max((attempt.share for attempt in last), default=0.0),
        "programs": sum(attempt.source is not None for attempt in made),
        "passing": sum(attempt.passes for attempt in last),
        "program": best.whole if best is not None else None,
        "rule": choosing.RULE,
        "format": config.format,
        "gate": config.gate,
        "selected": list(reading.chosen),
        "selection": reading.why,
        "sandbox": next((attempt.level for attempt in made if attempt.level is not None), None),
    }
    return Answer(json.dumps(depths[-1], separators=(",", ":")), detail=detail)


def config_of(work: Work) -> ArcMemoConfig:
    """The options of the run."""
    assert isinstance(work.ctx.config, ArcMemoConfig)
    return work.ctx.config


def build() -> StateGraph[Any, Work, Any, Any]:
    """The graph of the agent."""
    graph = StateGraph(State, context_schema=Work)
    for name, node in (("read", read_memory), ("solve", solve), ("choose", choose), ("learn", learn)):
        graph.add_node(name, node)
    graph.add_edge(START, "read")
    graph.add_edge("read", "solve")
    graph.add_edge("solve", "choose")
    graph.add_edge("choose", "learn")
    graph.add_edge("learn", END)
    return graph
