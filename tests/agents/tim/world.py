"""A scripted model that writes a given tree, whatever it is shown, and a tool that notes its calls.

    world.tree = {"1": Part("think", "found", below=True), "1.1": Part("look", "seen", tool={"q": "x"})}
    run = await world.run(k=0)

`world.instead[purpose, path, number]` is said in place of what the tree says: text as it comes, `Cut` for a reply that the
length limit ends, or an object.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple, cast

import anyio
import anyio.lowlevel
import pytest
from pydantic import JsonValue

from agents import registry
from agents.base import Context, GrowsTree
from agents.tooling.base import Call as ToolCall
from agents.tooling.base import Offer, ToolAnswer, Tools
from agents.tooling.opening import RunTools
from runtime.events import Event
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.scripted import Scripted
from runtime.runs import RunRecord, RunSpec
from runtime.types import JsonObject, JsonSchema, Message, Sampling, ToolSpec, Usage
from tests.trial import Call, Trial

CURSOR = re.compile(r"Next: task ([\d.]*\d)[.,]")
LOOK = ToolSpec(
    "look",
    "Looks something up.",
    {
        "type": "object",
        "properties": {"q": {"type": "string"}},
        "required": ["q"],
        "additionalProperties": False,
    },
)


class Cut(NamedTuple):
    """A reply that ended at the length limit."""

    text: str


@dataclass(frozen=True)
class Part:
    """What the model says of a task. `below`: it goes down; `side`: side by side. `more` None: as the tree is."""

    thought: str
    conclusion: str = "done"
    tool: JsonObject | None = None
    below: bool = False
    side: tuple[str, ...] = ()
    more: bool | None = None
    title: str = ""
    kind: str = ""
    tool_name: str = "look"


# The tree of the sheet: three inner nodes, two tool leaves, two plain leaves.
SHEET = {
    "1": Part("compare the two halves", "both halves agree", below=True, title="halves"),
    "1.1": Part("the left half first", "left is settled", below=True),
    "1.1.1": Part("see what is there", "there is a stone", tool={"q": "left"}),
    "1.1.2": Part("weigh it by hand", "it is heavy"),
    "1.2": Part("the right half now", "right is settled", tool={"q": "right"}),
    "2": Part("check once more", "it holds", below=True),
    "2.1": Part("turn it around", "same from behind"),
}


def document(tree: dict[str, Part], results: dict[str, JsonValue], answer: JsonValue = "the answer") -> JsonObject:
    """The whole document that the tree makes."""

    def tasks(prefix: str) -> list[JsonValue]:
        made: list[JsonValue] = []
        number = 1
        while (path := f"{prefix}{number}") in tree:
            part = tree[path]
            task: JsonObject = {"title": part.title} if part.title else {}
            task["thought"] = part.thought
            if part.tool is not None:
                task["tooluse"] = {
                    "tool_name": part.tool_name,
                    "parameters": part.tool,
                    "tool_result": results[path],
                }
            if part.below or part.side:
                task["subtasks"] = tasks(f"{path}.")
            task["conclusion"] = part.conclusion
            made.append(task)
            number += 1
        return made

    return {"reasoning": tasks(""), "answer": answer}


class Run(NamedTuple):
    """How a run ended, and its log."""

    record: RunRecord
    events: list[Event]

    @property
    def detail(self) -> Any:
        return cast(Any, self.record.output)["detail"]

    @property
    def document(self) -> Any:
        return self.detail["document"]

    def of(self, kind: str) -> list[Any]:
        """The payloads of a type."""
        return [event.payload for event in self.events if event.type == kind]

    @property
    def tree(self) -> Any:
        """As the API tells it."""
        agent = registry.get("tim")
        assert isinstance(agent, GrowsTree)
        return agent.tree(self.record.spec, self.events)


@dataclass
class Model:
    """Says what the tree of the world says."""

    world: World
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]:
        found = CURSOR.search(messages[-1].text)
        purpose, path = info.purpose.removeprefix("tim."), found.group(1) if found else ""
        number = self.asked[purpose, path]
        self.asked[purpose, path] += 1
        if self.world.chaos is not None and schema is not None:
            said = self.world.chaos(schema.schema)
        else:
            said = self.world.instead.get((purpose, path, number)) or self.world.says(purpose, path)
        cut = isinstance(said, Cut)
        text = said.text if isinstance(said, Cut) else said if isinstance(said, str) else json.dumps(said)
        await anyio.lowlevel.checkpoint()
        yield Chunk(text=text)
        usage = Usage(sum(len(each.text.split()) for each in messages), len(text.split()), self.world.cached)
        yield Chunk(finish_reason="length" if cut else "stop", usage=usage, model="scripted/watched")


@dataclass
class Source:
    """The origin of the tool."""

    world: World

    async def offers(self) -> Sequence[Offer]:
        return [Offer(LOOK)]

    async def run(self, call: ToolCall) -> ToolAnswer:
        self.world.tool_calls.append((call.name, call.parameters))
        if self.world.hangs:
            await anyio.sleep_forever()
        q = str(call.parameters["q"])
        return ToolAnswer(True, cast(JsonValue, self.world.results.get(q, f"what stands at {q}")))

    async def show(self, data: JsonValue) -> JsonValue:
        return data


class World:
    """See the module."""

    def __init__(self, trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trial = trial
        self.tree: dict[str, Part] = dict(SHEET)
        self.instead: dict[tuple[str, str, int], object] = {}
        self.answer: JsonValue = "the answer"
        self.tool_calls: list[tuple[str, JsonObject]] = []
        self.results: dict[str, object] = {}
        self.hangs = False
        self.cached = 0
        self.clock: Iterator[float] = repeat(0.0)
        self.chaos: Callable[[JsonObject], object] | None = None
        self.names: tuple[str, ...] = ("look",)
        world = self

        async def tools(ctx: Context, names: object = None, *, result_tokens: int = 4096, key: str = "tools") -> Tools:
            offers = [Offer(ToolSpec(name, LOOK.description, LOOK.parameters)) for name in world.names]
            return RunTools(
                offers, {name: Source(world) for name in world.names}, result_tokens, clock=lambda: next(world.clock)
            )

        monkeypatch.setattr(Context, "tools", tools)
        self.forget()

    def forget(self) -> None:
        """A model and a list of calls that know nothing of earlier runs."""
        self.trial.llm.inner = cast(Scripted, Model(self))
        self.trial.llm.before = None
        self.trial.llm.calls.clear()
        self.trial.llm.most_at_once = 0
        self.tool_calls.clear()

    # -- the model -----------------------------------------------------------------------------------------------------

    def says(self, purpose: str, path: str) -> JsonObject:
        """What the tree has at this place."""
        if purpose == "answer":
            return {"answer": self.answer}
        part = self.tree[path]
        owner, _, number = path.rpartition(".")
        after = f"{owner}.{int(number) + 1}" if owner else str(int(number) + 1)
        more = after in self.tree if part.more is None else part.more
        conclude: JsonObject = {"conclusion": part.conclusion, "more": more}
        deeper: JsonObject = {"kind": "descend", **({"parallel": [*part.side]} if part.side else {})}
        acts: JsonObject = deeper if part.below or part.side else {"kind": "conclude", **conclude}
        if purpose == "after_list":
            return conclude
        if purpose == "after_tool":
            return {"action": acts}
        if part.tool is not None:
            acts = {"kind": "tool", "tool_name": part.tool_name, "parameters": part.tool}
        title: JsonObject = {"title": part.title} if part.title else {}
        kind: JsonObject = {"task_kind": part.kind} if part.kind else {}
        return {**kind, **title, "thought": part.thought, "action": acts}

    # -- runs ----------------------------------------------------------------------------------------------------------

    def spec(self, *, budget: Any = None, sampling: JsonObject | None = None, **config: Any) -> RunSpec:
        more: dict[str, Any] = {} if budget is None else {"budget": budget}
        return RunSpec(agent="tim", input="Which is it?", seed=3, config=config, sampling=sampling or {}, **more)

    async def run(self, **options: Any) -> Run:
        """A run from its beginning to its end."""
        self.forget()
        return await self.told(await self.trial.run(self.spec(**options)))

    async def told(self, record: RunRecord) -> Run:
        return Run(record, await self.trial.events(record.id))

    @property
    def calls(self) -> list[Call]:
        return self.trial.llm.calls

    @property
    def purposes(self) -> Counter[str]:
        return Counter(call.purpose.removeprefix("tim.") for call in self.calls)


def live(call: Call) -> Any:
    """The live document of a prompt."""
    (message,) = [message for message in call.messages if message.role == "assistant"]
    return json.loads(message.text)


def words(call: Call) -> str:
    """What was asked."""
    return call.messages[-1].text


def actions(call: Call) -> set[str]:
    """The kinds of action that the schema of a call offers."""
    assert call.schema is not None
    return set(re.findall(r'"kind": \{"const": "(\w+)"\}', json.dumps(call.schema.schema)))
