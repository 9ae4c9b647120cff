"""`arcmemo`: solves puzzles with grids by programs, and remembers concepts rather than puzzles.

Before a puzzle the model picks, by reasoning, what of its memory may help; programs are written side by side, run on the
train pairs in the sandbox, and mended with what came of them; from a program that gets all of them right it is learned what
other puzzles can use. The right outputs of the tests are never known here. Source: arcmemo; contract §4, §5.
"""

from __future__ import annotations

import anyio.to_thread

from agents.arc_memo.captioning import CAPTION
from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.graph import build
from agents.arc_memo.helpers import HELPERS
from agents.arc_memo.lessons import DERIVE
from agents.arc_memo.lessons import LESSONS as WRITE_LESSONS
from agents.arc_memo.prompting import RETRY, SOLVE
from agents.arc_memo.reading import CONCEPTS, DESCRIPTION, LESSONS
from agents.arc_memo.selecting import SELECT_CONCEPTS, SELECT_LESSONS
from agents.arc_memo.writing import ABSTRACT, ABSTRACT_HELPERS, CONSOLIDATE, PSEUDOCODE
from agents.base import AgentSpec, Answer, Context
from agents.graphs import Work, run_single
from agents.tasks import ArcTask, Task
from runtime.errors import InvalidInput

FILES = (
    SOLVE,
    RETRY,
    CONCEPTS,
    HELPERS,
    LESSONS,
    DESCRIPTION,
    CAPTION,
    SELECT_CONCEPTS,
    SELECT_LESSONS,
    PSEUDOCODE,
    ABSTRACT,
    ABSTRACT_HELPERS,
    CONSOLIDATE,
    DERIVE,
    WRITE_LESSONS,
)


class ArcMemo:
    """Read, solve, choose, learn; see agents/arc_memo/graph.py."""

    spec = AgentSpec(
        name="arcmemo",
        version=1,
        description="Programs for puzzles with grids, mended by what they do; concepts of those that work are kept.",
        config=ArcMemoConfig,
        kinds=frozenset({"arc"}),
        prompts={prompt.name: prompt for prompt in FILES},
    )

    async def run(self, task: Task, ctx: Context) -> Answer:
        """See `Agent`."""
        if not isinstance(task, ArcTask):
            raise InvalidInput(f"arcmemo: got a task of kind {task.kind!r}; expected 'arc'", param="input.kind")
        # Where no program can be run, nothing is asked for that would have to be paid.
        await anyio.to_thread.run_sync(lambda: ctx.sandbox.level)
        if ctx.learning is not None:
            await ctx.learning.check()
        end = await run_single(build, {}, Work(task, ctx))
        return Answer.from_json(end["answer"])
