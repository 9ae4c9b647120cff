"""`tim`: reasoning as a tree of tasks whose finished parts leave the working memory.

The model writes one piece of a JSON document at a time; lists of subtasks that are finished are cut out of what it is
shown, and what they came to stays in the conclusion of their owner. So a run may write many times more than its model can
see at once. Nothing is lost: the log holds the whole tree. Source: tim; contract §4, §5.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from agents.base import AgentSpec, Answer, Context
from agents.graphs import Work, run_single
from agents.tasks import Task
from agents.tim.config import TimConfig
from agents.tim.graph import build
from agents.tim.rendering import FILES
from agents.tim.streaming import with_sessions
from agents.tim.tree import tree_of
from runtime.events import Event
from runtime.llm.base import LLM
from runtime.run_types import RunSpec
from runtime.types import JsonObject


class Tim:
    """One call for each step of a tree, or one stream; see agents/tim/executor.py and agents/tim/streaming.py."""

    spec = AgentSpec(
        name="tim",
        version=1,
        description="A tree of tasks with tools; finished parts leave the working memory, so the output has no bound.",
        config=TimConfig,
        kinds=frozenset({"chat", "math", "qa", "arc", "code"}),
        prompts={prompt.name: prompt for prompt in FILES},
    )

    async def run(self, task: Task, ctx: Context) -> Answer:
        """See `Agent`."""
        end = await run_single(build, {}, Work(task, ctx))
        return Answer.from_json(end["answer"])

    def check_model(self, config: BaseModel, llm: LLM) -> None:
        """See `ChecksModel`."""
        if isinstance(config, TimConfig) and config.mode == "stream":
            with_sessions(llm)

    def tree(self, spec: RunSpec, events: Sequence[Event]) -> JsonObject:
        """See `GrowsTree`."""
        return tree_of(events)
