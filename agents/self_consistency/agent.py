"""`self-consistency`: n answers, and the one most of them agree on.

Answers vote by their canonical form; one without an answer does not vote; a tie goes to the answer seen first. Source:
arXiv 2203.11171 (majority over reasoning paths); canonical forms and ties as in the evaluation sheet §3.2.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from langgraph.graph import StateGraph
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agents.base import AgentSpec, Answer, Context, Step
from agents.graphs import Work, run_graph
from agents.samples import Sample, graph_of
from agents.tasks import Task
from runtime.events import StepCompleted, TextDelta


class SelfConsistencyConfig(BaseModel):
    """`n` answers, drawn at `temperature` unless the request names one, `at_once` of them at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    n: int = Field(5, ge=1, le=256)
    temperature: float = Field(0.7, ge=0, le=2)
    at_once: int = Field(8, ge=1, le=64)


class SelfConsistency:
    """Draw, count, answer with the majority."""

    spec = AgentSpec(
        name="self-consistency",
        version=1,
        description="n answers side by side; the one most of them agree on.",
        config=SelfConsistencyConfig,
        kinds=frozenset({"chat", "math", "qa"}),
    )

    async def run(self, task: Task, ctx: Context) -> Answer:
        """See `Agent`."""
        config = ctx.config
        assert isinstance(config, SelfConsistencyConfig)
        end = await run_graph(build, {"count": config.n}, Work(task, ctx), at_once=config.at_once)
        return Answer.from_json(end["answer"])


def majority(samples: list[Sample]) -> tuple[Sample, Counter[str]]:
    """The first sample of the most frequent answer, and the votes; without any vote the first sample."""
    votes: Counter[str] = Counter(sample.canonical for sample in samples if sample.canonical is not None)
    if not votes:
        return samples[0], votes
    most = max(votes.values())
    return next(s for s in samples if s.canonical is not None and votes[s.canonical] == most), votes


async def choose(samples: list[Sample], work: Work[Any]) -> Answer:
    """Count the votes."""

    async def decide(step: Step) -> JsonValue:
        best, votes = majority(samples)
        share = votes[best.canonical] / len(samples) if best.canonical is not None else 0.0
        detail: dict[str, JsonValue] = {
            "chosen": best.number,
            "answer": best.canonical,
            "votes": dict(votes),
            "without_answer": sum(sample.canonical is None for sample in samples),
        }
        await step.emit(StepCompleted(name=step.key, score=round(share, 4), detail=detail))
        await step.emit(TextDelta(text=best.text))
        return Answer(best.text, finish_reason=best.finish_reason, detail=detail).to_json()

    output: Any = await work.ctx.step("choose", decide)
    return Answer.from_json(output)


def _temperature(ctx: Context) -> float:
    assert isinstance(ctx.config, SelfConsistencyConfig)
    return ctx.config.temperature


def build() -> StateGraph[Any, Work[Any], Any, Any]:
    """The graph of the agent."""
    return graph_of("self_consistency.answer", _temperature, choose)
