"""An agent for tests that writes memories: what a question tells it to do.

A question with `note WORD` adds the memory "WORD was learned"; `revise WORD` appends to the memory that holds WORD; `forget
WORD` deletes it; `archive WORD` archives it; `break` fails. What it is shown stands in its answer.
"""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, JsonValue

from agents.base import AgentSpec, Answer, Context, Step
from agents.tasks import MathTask, Task
from evals.vaults import live
from memory.types import Actor, Change, Draft, Source
from runtime.errors import MalformedReply
from runtime.events import MemoryWritten

ORDER = re.compile(r"\b(note|revise|forget|archive) (\w+)")


class ScribeConfig(BaseModel):
    """No options."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scribe:
    """Reads, asks, writes."""

    spec = AgentSpec("scribe", 1, "Writes down what it is told to.", ScribeConfig, frozenset({"math", "chat", "qa"}))

    async def run(self, task: Task, ctx: Context) -> Answer:
        question = task.problem if isinstance(task, MathTask) else task.messages()[-1].text
        if "break" in question:
            raise MalformedReply("the scribe broke its pen")
        units = await ctx.memories(task, ["answer"])

        async def ask(step: Step) -> JsonValue:
            reply = await step.ask("scribe.answer", units.placed("answer", task.messages()))
            if ctx.spec.vaults and ctx.spec.memory == "on":
                await _obey(question, ctx, step)
            shown = ", ".join(sorted(cube.content for cube in units.shown.get("answer", ())))
            return f"{reply.text} [{shown}]"

        return Answer(str(await ctx.step("answer", ask)))


async def _obey(question: str, ctx: Context, step: Step) -> None:
    assert ctx._remembering is not None
    memory, actor = ctx._remembering._memory, ctx._remembering._actor
    assert isinstance(actor, Actor)
    vault = ctx.spec.vaults[0]
    for verb, word in ORDER.findall(question):
        if verb == "note":
            draft = Draft(f"{word} was learned", "experience", sources=(Source("run", uri=ctx.run_id),))
            (added,) = await memory.add(actor, [draft], vault=vault, force=True)
            assert added.memory is not None
            await step.emit(MemoryWritten(id=added.memory.id, version=1, op="add"))
            continue
        for cube in await live(memory, actor, vault):
            if word in cube.content and verb == "revise":
                text = f"{cube.content}, and again"
                after = await memory.edit(actor, cube.id, Change({"content": text}), expect=cube.version)
                await step.emit(MemoryWritten(id=after.id, version=after.version, op="modify"))
            elif word in cube.content and verb == "forget":
                await memory.delete(actor, cube.id, expect=cube.version)
                await step.emit(MemoryWritten(id=cube.id, version=cube.version + 1, op="delete"))
            elif word in cube.content:
                await memory.move(actor, cube.id, "archive")
                await step.emit(MemoryWritten(id=cube.id, version=cube.version + 1, op="merge"))
