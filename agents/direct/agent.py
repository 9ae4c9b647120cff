"""`direct`: the model as it is, with the run recorded. Tools and `response_format` go through. Source: ours."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from agents.base import AgentSpec, Answer, Context
from agents.direct.graph import build
from agents.graphs import Work, run_single
from agents.tasks import Task


class DirectConfig(BaseModel):
    """`direct` has no options of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Direct:
    """One call, passed through."""

    spec = AgentSpec(
        name="direct",
        version=1,
        description="The model as it is: one call, streamed through, with tools and response_format.",
        config=DirectConfig,
        kinds=frozenset({"chat", "math", "qa", "arc", "code"}),
    )

    async def run(self, task: Task, ctx: Context) -> Answer:
        """See `Agent`."""
        end = await run_single(build, {}, Work(task, ctx))
        return Answer.from_json(end["answer"])
