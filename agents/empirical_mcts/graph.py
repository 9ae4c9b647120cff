"""The graph of the agent: an expert is described, the tree grows, the best answer is given.

The whole search is one node, because its tree is no small value: what is kept are the steps of the run, of which there is
one for each model call. Source: style sheet §5; empirical_mcts §3.1, §3.9.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any, Final, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import JsonValue

from agents.base import Answer, Step
from agents.empirical_mcts.config import EmpiricalMCTSConfig
from agents.empirical_mcts.experiences import DoStep, Experiences
from agents.empirical_mcts.problem import Question
from agents.empirical_mcts.prompting import PROMPTS, base_prompt, contract_of, fit, question_text
from agents.empirical_mcts.tracing import Trace
from agents.graphs import Work
from agents.remembering import question_of
from agents.thinking import visible
from runtime.errors import BudgetExhausted, ModelError
from runtime.events import NodeSelected, ReasoningDelta, StepCompleted, TextDelta
from runtime.prompts import load_prompt
from runtime.types import JsonObject, Message, Sampling
from search.base import Budget
from search.events import BackedUp
from search.final import Choice, choose
from search.mcts import mcts
from search.tree import Tree

ROLE: Final = load_prompt(PROMPTS / "role.md")
ROLE_TOKENS: Final = 512
MAX_RANKED: Final = 100


class State(TypedDict, total=False):
    """The prompt of the first answer, and the answer of the run. The tree is in the log."""

    prompt: str
    answer: JsonObject


async def describe(state: State, runtime: Runtime[Work]) -> State:
    """The prompt of the first answer: a description of the expert for the task, or the base prompt."""
    work = runtime.context
    config, contract = config_of(work), contract_of(work.task)
    # A vault that may not be read fails the run before the model is asked.
    await experiences_of(work, work.ctx.step).shown(0)
    calls = work.ctx.spec.budget.calls
    # A description that leaves no call for an answer would be worth nothing.
    if not config.role or (calls is not None and calls < 2):
        return {"prompt": base_prompt(contract)}

    async def ask(step: Step) -> JsonValue:
        text = ROLE.render(question=question_text(work.task))
        sampling = Sampling(temperature=0.0, seed=work.ctx.seed, max_tokens=ROLE_TOKENS)
        try:
            reply = await step.ask("empirical_mcts.role", [Message("user", text)], sampling=sampling, prompt=ROLE)
        except ModelError:
            return None  # its `llm.call` tells why; the base prompt will do
        return visible(reply.text)

    said = await work.ctx.step("role", ask)
    return {"prompt": fit(str(said or ""), contract) or base_prompt(contract)}


async def search(state: State, runtime: Runtime[Work]) -> State:
    """Grow the tree and answer with the best of it."""
    work = runtime.context
    ctx, config = work.ctx, config_of(work)
    trace = Trace(ctx)
    experiences = experiences_of(work, trace.step)
    problem = Question(work, config, state["prompt"], experiences, trace)
    tree = Tree(config.rules())
    async for event in mcts(
        problem, budget=Budget(config.rollouts), rng=Random(ctx.seed), profile=tree.profile, tree=tree
    ):
        trace.note(event, tree)
        if isinstance(event, BackedUp):
            ctx.offer(answer_of(tree, choose(tree)))
    assert tree.stopped is not None
    if config.memory_when == "question" and tree.stopped.reason != "budget":
        try:
            await experiences.learn("", choose(tree).best, problem.lessons)
        except BudgetExhausted as error:
            # The search is done and its answer stands; a resumed run takes the lessons in.
            tree.stopped = replace(tree.stopped, reason="budget", limit=error.limit)
    return {"answer": await _given(tree, work, trace)}


async def _given(tree: Tree, work: Work, trace: Trace) -> JsonObject:
    """Give the answer. Raises `BudgetExhausted`, with the answer offered, when a budget has cut the search short."""
    answer = answer_of(tree, choose(tree))

    async def give(step: Step) -> JsonValue:
        best = answer.detail["best"]
        await step.emit(NodeSelected(id=str(best), detail={"for": "answer", "by": answer.detail["by"]}))
        await step.emit(ReasoningDelta(text=f"[node {best} is chosen as the answer]\n"))
        await step.emit(StepCompleted(name=step.key, score=tree.nodes[int(str(best))].objective, detail=answer.detail))
        await step.emit(TextDelta(text=answer.text))
        if tree.stopped is not None and tree.stopped.limit is not None:
            # The step stays unfinished: what it says is in the log until a resumed run chooses again.
            work.ctx.offer(answer)
            done = f"the answer is the best of {len(tree.nodes)}, after {tree.iteration} rollouts"
            raise BudgetExhausted(f"budget used up ({tree.stopped.limit}): {done}", limit=tree.stopped.limit)
        return answer.to_json()

    output: Any = await trace.step("choose", give)
    return dict(output)


def answer_of(tree: Tree, choice: Choice) -> Answer:
    """The chosen node as the answer of the run, with how it was chosen."""
    node = tree.nodes[choice.best]
    verified = node.objective == 1.0 and tree.profile.stop_on_pass
    detail: JsonObject = {
        "profile": tree.profile.name,
        "by": "verifier" if verified else tree.profile.final,
        "best": choice.best,
        "worst": choice.worst,
        "ranking": [[number, score] for number, score in choice.ranking[:MAX_RANKED]],
        "answers": dict(list(choice.masses.items())[:MAX_RANKED]),
        "nodes": len(tree.nodes),
        "rollouts": tree.iteration,
        "stopped": None if tree.stopped is None else tree.stopped.reason,
    }
    finish: Any = node.data.get("finish_reason") or "stop"
    return Answer(node.answer, finish_reason=finish, detail=detail)


def experiences_of(work: Work, step: DoStep) -> Experiences:
    """The experiences of the run."""
    return Experiences(work.ctx, config_of(work), question_of(work.task), step)


def config_of(work: Work) -> EmpiricalMCTSConfig:
    """The options of the run."""
    assert isinstance(work.ctx.config, EmpiricalMCTSConfig)
    return work.ctx.config


def build() -> StateGraph[Any, Work, Any, Any]:
    """START → describe → search → END."""
    graph = StateGraph(State, context_schema=Work)
    graph.add_node("describe", describe)
    graph.add_node("search", search)
    graph.add_edge(START, "describe")
    graph.add_edge("describe", "search")
    graph.add_edge("search", END)
    return graph
