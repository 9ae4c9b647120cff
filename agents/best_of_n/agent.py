"""`best-of-n`: n answers; the task's verifier chooses, or else a judge reads them all. Source: ours."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from langgraph.graph import StateGraph
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agents.base import AgentSpec, Answer, Context, Step
from agents.graphs import Work, run_graph
from agents.samples import Sample, graph_of
from agents.tasks import Task
from runtime.events import StepCompleted, TextDelta
from runtime.prompts import load_prompt
from runtime.types import Message, Sampling

JUDGE = load_prompt(Path(__file__).parent / "prompts" / "judge.md")


class BestOfNConfig(BaseModel):
    """`n` answers, drawn at `temperature` unless the request names one, `at_once` of them at a time."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    n: int = Field(4, ge=1, le=64)
    temperature: float = Field(0.8, ge=0, le=2)
    at_once: int = Field(8, ge=1, le=64)


class Judgement(BaseModel):
    """What the judge says: the number of the best answer, counted from 1."""

    model_config = ConfigDict(extra="forbid")
    reason: str
    best: int


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
        config = ctx.config
        assert isinstance(config, BestOfNConfig)
        end = await run_graph(build, {"count": config.n}, Work(task, ctx), at_once=config.at_once)
        return Answer.from_json(end["answer"])


async def choose(samples: list[Sample], work: Work[Any]) -> Answer:
    """The best by the verifier where there is one, by the judge otherwise; ties go to the first."""

    async def decide(step: Step) -> JsonValue:
        how, why = "verifier", ""
        if all(sample.score is not None for sample in samples):
            best = max(samples, key=lambda sample: (sample.score or 0.0, -sample.number))
            why = best.detail
        elif len(samples) == 1:
            best, how = samples[0], "only answer"
        else:
            best, why = await judge(samples, work, step)
            how = "judge"
        await step.emit(StepCompleted(name=step.key, score=best.score, detail={"by": how, "chosen": best.number}))
        await step.emit(TextDelta(text=best.text))
        detail: dict[str, JsonValue] = {
            "by": how,
            "chosen": best.number,
            "why": why,
            "scores": [s.score for s in samples],
        }
        return Answer(best.text, finish_reason=best.finish_reason, detail=detail).to_json()

    output: Any = await work.ctx.step("choose", decide)
    return Answer.from_json(output)


async def judge(samples: list[Sample], work: Work[Any], step: Step) -> tuple[Sample, str]:
    """Ask a model. The order is shuffled by the run's seed, so that no place in the list is always the same answer's."""
    shuffled = list(samples)
    random.Random(work.ctx.seed).shuffle(shuffled)
    answers = "\n\n".join(f"--- answer {place} ---\n{sample.text}" for place, sample in enumerate(shuffled, start=1))
    task = "\n\n".join(message.text for message in work.task.messages())
    said = await step.ask_structured(
        "eval.judge",
        [Message("user", JUDGE.render(task=task, answers=answers))],
        Judgement,
        sampling=Sampling(temperature=0.0, seed=work.ctx.seed),
        prompt=JUDGE,
    )
    if not 1 <= said.best <= len(shuffled):
        return samples[0], f"the judge named answer {said.best}, which there is not; the first answer stands"
    return shuffled[said.best - 1], said.reason


def _temperature(ctx: Context) -> float:
    assert isinstance(ctx.config, BestOfNConfig)
    return ctx.config.temperature


def build() -> StateGraph[Any, Work[Any], Any, Any]:
    """The graph of the agent."""
    return graph_of("best_of_n.answer", _temperature, choose)
