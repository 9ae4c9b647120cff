"""`best-of-n`: n answers; the task's verifier chooses, or else a judge reads them all. Source: ours."""

from __future__ import annotations

from typing import Any

from langgraph.graph import StateGraph
from pydantic import BaseModel, ConfigDict, Field

from agents.base import AgentSpec, Answer, Context, Step
from agents.best_of_n.judge import JUDGE, judge
from agents.graphs import Work, run_graph
from agents.samples import Choice, Drawing, Sample, at_once, graph_of, units_of
from agents.tasks import Task


class BestOfNConfig(BaseModel):
    """`n` answers, drawn at `temperature` unless the request names one, `at_once` of them at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    n: int = Field(4, ge=1, le=64)
    temperature: float = Field(0.8, ge=0, le=2)
    at_once: int = Field(8, ge=1, le=64)


class BestOfN:
    """Draw, verify or judge, take the best."""

    spec = AgentSpec(
        name="best-of-n",
        version=1,
        description="n answers side by side; the task's verifier takes the best, or else a judge.",
        config=BestOfNConfig,
        kinds=frozenset({"chat", "math", "qa", "code"}),
        prompts={JUDGE.name: JUDGE},
    )

    async def run(self, task: Task, ctx: Context) -> Answer:
        """See `Agent`."""
        work = Work(task, ctx)
        config = config_of(work)
        await units_of(work, config.n)
        end = await run_graph(build, {"count": config.n}, work, at_once=at_once(work, config.at_once))
        return Answer.from_json(end["answer"])


async def choose(samples: list[Sample], work: Work, step: Step) -> Choice:
    """The best by the verifier where it judged every answer, by the judge otherwise; ties go to the first."""
    scores = [sample.score for sample in samples]
    if all(score is not None for score in scores):
        best = max(samples, key=lambda sample: (sample.score or 0.0, -sample.number))
        how, why = "verifier", best.detail
    elif len(samples) == 1:
        best, how, why = samples[0], "only answer", ""
    else:
        place, why = await judge([sample.text for sample in samples], work, step)
        best, how = samples[place], "judge"
    return Choice(best, best.score, {"by": how, "chosen": best.number, "why": why, "scores": [*scores]})


def config_of(work: Work) -> BestOfNConfig:
    """The options of the run."""
    assert isinstance(work.ctx.config, BestOfNConfig)
    return work.ctx.config


def build() -> StateGraph[Any, Work, Any, Any]:
    """The graph of the agent."""
    return graph_of(
        Drawing("best_of_n.answer", lambda work: config_of(work).n, lambda work: config_of(work).temperature, choose)
    )
