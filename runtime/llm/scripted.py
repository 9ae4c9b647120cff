"""A model without a model: replies by rule, the same request always the same reply.

The backend of tests and demos, in process (`scripted/echo`, `scripted/<path to a script>`) and as a server
(runtime/llm/scripted_server.py). A script is TOML:

    [[rule]]
    purpose = "best_of_n.*"        # glob over X-Mneme-Purpose; default: any
    contains = "apples"            # must stand in some message; default: anything
    reply = "It is \\\\boxed{7}."    # or `replies`: one is chosen by the request's seed
    reasoning = "Seven of them."   # optional
    json = { score = 0.5 }         # instead of a reply: this object
    tool_calls = [{ name = "add", arguments = { a = 1 } }]
    delay_ms = 5                   # before each token
    first_delay_ms = 20            # before the first
    fault = "die"                  # see `Fault`; `times = 2`: only the first two equal requests

A session of it (runtime/llm/scripted_sessions.py) takes the same rules: `contains` then looks at everything live, and a
reply must fit what the generation is bound to.

The first rule that matches answers. Without one the reply repeats the last user message, and a request with a JSON
schema gets the smallest object that fits. `times` counts requests of the same purpose, messages and seed, so that what a
request gets does not depend on the others around it. Source: ours.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, get_args

import anyio
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError, model_validator

from runtime.errors import InvalidInput, MalformedReply, ModelOverloaded, ModelRejected, ModelUnavailable
from runtime.llm.base import CallInfo, Chunk, ToolCallDelta
from runtime.llm.instance import minimal_instance
from runtime.llm.scripted_sessions import Asked, ScriptedEngine, ScriptedSession
from runtime.llm.sessions import Session
from runtime.llm.shortest import shortest
from runtime.settings import Settings
from runtime.types import FinishReason, JsonObject, JsonSchema, Message, Sampling, ToolSpec, Usage

Fault = Literal["429", "500", "400", "malformed", "empty", "half", "die", "hang", "garbage", "error"]
TOKEN = re.compile(r"\s*\S+\s*$|\s*\S+")
ECHOED = 200


class ScriptedToolCall(BaseModel):
    """A tool call of a reply."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    arguments: JsonObject = {}


class Rule(BaseModel):
    """One rule of a script; see the module's docstring."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    purpose: str = "*"
    contains: str = ""
    reply: str | None = None
    replies: tuple[str, ...] = ()
    json_reply: JsonValue = None
    reasoning: str = ""
    tool_calls: tuple[ScriptedToolCall, ...] = ()
    delay_ms: float = 0.0
    first_delay_ms: float = 0.0
    fault: Fault | None = None
    times: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _json_key(cls, data: Any) -> Any:
        # `json` is what a script says; as a field name it would hide a method of pydantic's.
        return {("json_reply" if key == "json" else key): value for key, value in dict(data).items()}

    def matches(self, purpose: str, messages: Sequence[Message]) -> bool:
        """True when purpose and text fit."""
        return fnmatchcase(purpose, self.purpose) and any(self.contains in m.text for m in messages)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a request will be answered with."""

    tokens: tuple[str, ...]
    reasoning: tuple[str, ...]
    tool_calls: tuple[ScriptedToolCall, ...]
    finish: FinishReason
    usage: Usage
    delay_s: float
    first_delay_s: float
    fault: Fault | None


@dataclass(slots=True)
class Script:
    """Rules, and how often each one with a limit has been used."""

    rules: tuple[Rule, ...] = ()
    _used: dict[tuple[int, str], int] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Script:
        """Read a script. Raises `InvalidInput` naming file and rule."""
        # A model name can come from a caller: nothing but a script may be opened, no device, no pipe.
        if path.suffix != ".toml" or not path.is_file():
            raise InvalidInput(f"script {str(path)!r}: not found; expected a file that ends in '.toml'")
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
            return cls(tuple(Rule.model_validate(rule) for rule in data.get("rule", [])))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise InvalidInput(f"script {str(path)!r}: {error}; faults are {', '.join(get_args(Fault))}") from error

    def plan(self, purpose: str, messages: Sequence[Message], sampling: Sampling, schema: JsonSchema | None) -> Planned:
        """Decide the reply; only rules with `times` remember anything."""
        said = repr((purpose, sampling.seed, messages))
        rules = enumerate(self.rules)
        rule = next((rule for n, rule in rules if self._takes(n, rule, purpose, messages, said)), Rule())
        text = _text_of(rule, messages, sampling.seed or 0, schema)
        tokens = tuple(TOKEN.findall(text))
        limit = sampling.max_tokens if sampling.max_tokens is not None else len(tokens)
        finish: FinishReason = "tool_calls" if rule.tool_calls else "length" if len(tokens) > limit else "stop"
        reasoning = tuple(TOKEN.findall(rule.reasoning))
        prompt = sum(len(message.text.split()) + 3 for message in messages)
        return Planned(
            tokens=tokens[:limit],
            reasoning=reasoning,
            tool_calls=rule.tool_calls,
            finish=finish,
            usage=Usage(prompt, len(tokens[:limit]) + len(reasoning), 0, len(reasoning)),
            delay_s=rule.delay_ms / 1000,
            first_delay_s=rule.first_delay_ms / 1000,
            fault=rule.fault,
        )

    def rules_for(self, purpose: str, messages: Sequence[Message]) -> bool:
        """Whether any rule may speak here; without one the reply is a default."""
        return any(rule.matches(purpose, messages) for rule in self.rules)

    def _takes(self, number: int, rule: Rule, purpose: str, messages: Sequence[Message], said: str) -> bool:
        if not rule.matches(purpose, messages):
            return False
        if rule.times is None:
            return True
        used = self._used.get((number, said), 0)
        self._used[number, said] = used + 1
        return used < rule.times


def from_settings(model: str | None, settings: Settings) -> Scripted:
    """`echo`, or the path of a script."""
    name = model or "echo"
    return Scripted(name, Script() if name == "echo" else Script.load(Path(name)))


class Scripted:
    """The scripted model in this process."""

    def __init__(self, name: str = "echo", script: Script | None = None) -> None:
        self._name = name
        self._script = script or Script()
        self._engine = ScriptedEngine(self._say)

    @property
    def ref(self) -> str:
        """See `LLM`."""
        return f"scripted/{self._name}"

    async def models(self) -> Sequence[str]:
        """See `LLM`."""
        return [self.ref]

    async def aclose(self) -> None:
        """See `LLM`; there is nothing to close."""

    async def binds_schema(self) -> bool:
        """See `SupportsSchema`."""
        return True

    @asynccontextmanager
    async def session(self, messages: Sequence[Message], *, info: CallInfo) -> AsyncIterator[Session]:
        """See `SupportsSessions`."""
        yield ScriptedSession(self._engine, messages, self.ref)

    def _say(self, asked: Asked) -> str:
        """What a generation of a session writes; bound to something, it fits that."""
        bound, whole = asked.bound, replace(asked.sampling, max_tokens=None)
        schema = JsonSchema("session", bound.json) if bound is not None and bound.json is not None else None
        pattern = bound.regex if bound is not None else None
        try:
            plan = self._script.plan(asked.info.purpose, [Message("user", asked.text)], whole, schema)
            ruled = self._script.rules_for(asked.info.purpose, [Message("user", asked.text)])
            text = "".join(plan.tokens) if ruled or pattern is None else shortest(pattern)
            if pattern is not None and re.fullmatch(pattern, text) is None:
                raise ValueError(f"the reply {text[:80]!r} does not fit the pattern {pattern[:200]!r}")
        except ValueError as error:
            raise ModelRejected(f"scripted model: {asked.info.purpose}: {error}", status=400) from error
        raise_at_start(plan.fault)
        return text

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]:
        """See `LLM`."""
        try:
            plan = self._script.plan(info.purpose, messages, sampling, schema)
        except ValueError as error:
            raise ModelRejected(f"scripted model: {error}", status=400) from error
        raise_at_start(plan.fault)
        await anyio.sleep(plan.first_delay_s)
        if plan.fault == "hang":
            await anyio.sleep_forever()
        for n, token in enumerate(plan.reasoning):
            await anyio.sleep(plan.delay_s)
            yield Chunk(reasoning=token, model=self.ref if n == 0 else None)
        for n, token in enumerate(plan.tokens):
            if plan.fault in ("half", "die") and n >= len(plan.tokens) // 2:
                raise ModelUnavailable("scripted model: the answer broke off before its end")
            await anyio.sleep(plan.delay_s)
            yield Chunk(text=token)
        for n, call in enumerate(plan.tool_calls):
            yield Chunk(tool_calls=(ToolCallDelta(n, f"call_{n}", call.name, json.dumps(call.arguments)),))
        yield Chunk(finish_reason=plan.finish, usage=plan.usage, model=self.ref)


def raise_at_start(fault: Fault | None) -> None:
    """The faults that come instead of an answer, as the errors a server's client would raise."""
    match fault:
        case "429":
            raise ModelOverloaded("scripted model: 429", status=429, retry_after_s=0.0)
        case "500" | "error":
            raise ModelOverloaded(f"scripted model: {fault}", status=500)
        case "400":
            raise ModelRejected("scripted model: 400", status=400)
        case "malformed" | "empty" | "garbage":
            raise MalformedReply(f"scripted model: {fault} reply")
        case _:
            return


def _text_of(rule: Rule, messages: Sequence[Message], seed: int, schema: JsonSchema | None) -> str:
    if rule.json_reply is not None:
        return json.dumps(rule.json_reply)
    if rule.replies:
        return rule.replies[seed % len(rule.replies)]
    if rule.reply is not None:
        return rule.reply
    if schema is not None:
        return json.dumps(minimal_instance(schema.schema))
    if rule.tool_calls:
        return ""
    last = next((m.text for m in reversed(messages) if m.role == "user"), "")
    return f"You said: {last[:ECHOED]}"
