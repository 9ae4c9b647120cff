"""`self-consistency`: n answers, and the one most of them agree on.

Answers vote by their canonical form; one without an answer does not vote; a tie goes to the answer seen first. Source:
arXiv 2203.11171 (majority over reasoning paths); canonical forms and ties as in the evaluation sheet §3.2.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from langgraph.graph import StateGraph
from pydantic import BaseModel, ConfigDict, Field

from agents.base import AgentSpec, Answer, Context, Step
from agents.graphs import Work, run_graph
from agents.samples import Choice, Drawing, Sample, at_once, graph_of, units_of
from agents.tasks import Task


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
        work = Work(task, ctx)
        config = config_of(work)
        await units_of(work, config.n)
        end = await run_graph(build, {"count": config.n}, work, at_once=at_once(work, config.at_once))
        return Answer.from_json(end["answer"])


def majority(answers: Sequence[str | None]) -> tuple[int, Counter[str]]:
    """Where the most frequent answer stands first, and the votes; 0 when nobody votes."""
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return 0, votes
    most = max(votes.values())
    return next(i for i, answer in enumerate(answers) if answer is not None and votes[answer] == most), votes


async def choose(samples: list[Sample], work: Work, step: Step) -> Choice:
    """Count the votes; the score is the share of all answers that agree."""
    place, votes = majority([sample.canonical for sample in samples])
    best = samples[place]
    share = votes[best.canonical] / len(samples) if best.canonical is not None else 0.0
    return Choice(
        best,
        round(share, 4),
        {
            "chosen": best.number,
            "answer": best.canonical,
            "votes": dict(votes),
            "without_answer": sum(sample.canonical is None for sample in samples),
        },
    )


def config_of(work: Work) -> SelfConsistencyConfig:
    """The options of the run."""
    assert isinstance(work.ctx.config, SelfConsistencyConfig)
    return work.ctx.config


def build() -> StateGraph[Any, Work, Any, Any]:
    """The graph of the agent."""
    return graph_of(
        Drawing(
            "self_consistency.answer",
            lambda work: config_of(work).n,
            lambda work: config_of(work).temperature,
            choose,
        )
    )
