"""`empirical-mcts`: a search over whole answers that learns while it searches, and leaves what it learned to later ones.

One judge call for each new answer compares it with its parent, and from it come a score, lessons, and the prompt of the
next answers; the lessons go into the vault, from which other questions take them. Source: empirical_mcts; contract §4, §5.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.base import AgentSpec, Answer, Context
from agents.empirical_mcts.config import EmpiricalMCTSConfig
from agents.empirical_mcts.experiences import PROMPT as MEMORY
from agents.empirical_mcts.graph import ROLE, build
from agents.empirical_mcts.judging import JUDGE
from agents.empirical_mcts.prompting import BASE, CONTRACT, EXPERIENCES, GENERATE, MERGE, REFINE
from agents.empirical_mcts.tracing import tree_of
from agents.graphs import Work, run_single
from agents.tasks import Task
from runtime.events import Event
from runtime.run_types import RunSpec
from runtime.types import JsonObject

FILES = (ROLE, BASE, CONTRACT, EXPERIENCES, GENERATE, REFINE, MERGE, JUDGE, MEMORY)


class EmpiricalMCTS:
    """Describe an expert, search, choose; see agents/empirical_mcts/graph.py."""

    spec = AgentSpec(
        name="empirical-mcts",
        version=1,
        description="A tree search over whole answers; a judge compares them, and its lessons are kept for later questions.",
        config=EmpiricalMCTSConfig,
        kinds=frozenset({"chat", "math", "qa", "arc", "code"}),
        prompts={prompt.name: prompt for prompt in FILES},
    )

    async def run(self, task: Task, ctx: Context) -> Answer:
        """See `Agent`."""
        if ctx.learning is not None:
            await ctx.learning.check()
        end = await run_single(build, {}, Work(task, ctx))
        return Answer.from_json(end["answer"])

    def tree(self, spec: RunSpec, events: Sequence[Event]) -> JsonObject:
        """See `GrowsTree`."""
        return tree_of(EmpiricalMCTSConfig.model_validate(spec.config).rules(), events)
