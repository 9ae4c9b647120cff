"""Sessions for the world of world.py: the model writes its tree in place, wherever the live text stands.

Where that is, is read from the live text alone, as a model would: lists that were pruned are empty, open ones are whole. So
a run that is picked up again meets a model that knows nothing of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import anyio.lowlevel
import pytest

from agents.tim import grammar
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.scripted_sessions import Asked, ScriptedEngine, ScriptedSession, decode
from runtime.llm.sessions import Bound, Session
from runtime.llm.shortest import shortest
from runtime.types import Message, Sampling
from tests.agents.tim.world import World
from tests.trial import Call, Watched

SCAN = re.compile(r'"(?:[^"\\]|\\.)*(?:"|$)|[\[\]{}]')
BEGIN = '{"reasoning":['


@dataclass
class Streams:
    """`live`: the live ids of each generation, as they were sent. `instead[path, field]`: what is said in place of a
    field, with its closing quote or without."""

    world: World
    engine: ScriptedEngine = field(init=False)
    live: list[tuple[int, ...]] = field(default_factory=list)
    bounds: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    instead: dict[tuple[str, str], str] = field(default_factory=dict)
    window: int = 8192
    chaos: Random | None = None

    def __post_init__(self) -> None:
        self.engine = ScriptedEngine(self.say, window=self.window)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Give the model of the trial its sessions."""
        streams = self

        # A class of its own: what a protocol finds in a class it remembers.
        class Streaming(Watched):
            @asynccontextmanager
            async def session(self, messages: Sequence[Message], *, info: CallInfo) -> AsyncIterator[Session]:
                made = _Watched(streams, self, ScriptedSession(streams.engine, messages, "scripted/watched"))
                streams.sessions.append(made)
                yield made

        monkeypatch.setattr(self.world.trial.llm, "__class__", Streaming)

    @property
    def texts(self) -> list[str]:
        """What was live at each generation, without the prompt."""
        return [BEGIN + decode(ids).rpartition(BEGIN)[2] for ids in self.live]

    def say(self, asked: Asked) -> str:
        """What comes next in the tree."""
        text = BEGIN + asked.text.rpartition(BEGIN)[2]
        if self.chaos is not None:
            assert asked.bound is not None
            return anything(self.chaos, asked.bound.regex or "")
        path = place(text)
        if (said := self.instead.get((path, _field(text)))) is not None:
            return said
        if _field(text) == "answer":
            answer = json.dumps(self.world.answer, separators=(",", ":"))
            return answer[1:] if text.endswith('"') else answer
        part = self.world.tree[path]
        if text.endswith('"title":'):
            return f"{json.dumps(part.kind)},"
        if text.endswith('"conclusion":'):
            return json.dumps(part.conclusion, separators=(",", ":"))
        pattern = asked.bound.regex if asked.bound is not None else None
        match _field(text):
            case "thought":
                return json.dumps(part.thought)[1:]
            case "conclusion":
                return json.dumps(part.conclusion)[1:]
            case "parameters":
                return json.dumps(part.tool, separators=(",", ":"))
            case _ if pattern == grammar.one_of(["]", ","]):
                owner, _, number = path.rpartition(".")
                after = f"{owner}.{int(number) + 1}" if owner else str(int(number) + 1)
                return "," if (after in self.world.tree if part.more is None else part.more) else "]"
            case _ if part.tool is not None and text.endswith('"'):
                return grammar.tool(part.tool_name)
            case _:
                return grammar.SUBTASKS if part.below else grammar.CONCLUSION


class _Watched(ScriptedSession):
    def __init__(self, streams: Streams, llm: Watched, inner: ScriptedSession) -> None:
        super().__init__(streams.engine, [], "scripted/watched")
        self._ids, self._counts = list(inner.ids), inner.counts
        self._streams, self._llm = streams, llm

    async def stream(self, *, info: CallInfo, sampling: Sampling, bound: Bound | None = None) -> AsyncIterator[Chunk]:
        assert bound is not None
        assert bound.regex is not None
        call = Call(info.purpose, (Message("assistant", decode(self._ids)),), sampling, (), None)
        self._llm.calls.append(call)
        if self._llm.before is not None:
            await self._llm.before(call)
        await anyio.lowlevel.checkpoint()
        self._streams.live.append(tuple(self._ids))
        self._streams.bounds.append(bound.regex)
        async for chunk in super().stream(info=info, sampling=sampling, bound=bound):
            yield chunk


def anything(random: Random, pattern: str) -> str:
    """Mostly a piece that fits, else one that no grammar held together."""
    if random.random() < 0.25:
        return random.choice(["", "\n", "]}]", '"', "{", "so it is", "é\\", ',"answer":"x"}', '"]}],"answer":"x"}'])
    fixed = [grammar.CONCLUSION, grammar.SUBTASKS, grammar.tool("look"), grammar.tool("recall"), "]", ",", '{"q":"x"}']
    texts = [
        random.choice(['a "b"', "}]", "tab\t", "42 é 😀", "Ada was here in 1999, twice at least"]) for _ in range(9)
    ]
    fits = [each for each in [*fixed, *(json.dumps(text)[1:] for text in texts)] if re.fullmatch(pattern, each)]
    return random.choice(fits) if fits else shortest(pattern)


def place(text: str) -> str:
    """The path of the task in which a live text ends."""
    stack: list[list[object]] = []
    key = ""
    for found in SCAN.finditer(text):
        token = found.group()
        if token == "[":
            stack.append(["list" if key in ('"reasoning"', '"subtasks"') else "other", 0])
        elif token == "{":
            if stack and stack[-1][0] == "list":
                stack[-1][1] = int(str(stack[-1][1])) + 1
            stack.append(["task"])
        elif token in ("]", "}"):
            stack.pop()
        key = token if token.startswith('"') else ""
    return ".".join(str(each[1]) for each in stack if each[0] == "list")


def _field(text: str) -> str:
    if text.endswith('"answer":'):
        return "answer"
    if text.endswith('"parameters":'):
        return "parameters"
    found = re.search(r'"(thought|conclusion|answer)":"(?:[^"\\]|\\.)*$', text)
    return found.group(1) if found else ""
