"""A model that answers from a script: deterministic, without a server, fast. Product code, used by demos and tests.

What it says depends on the request alone, never on order or concurrency (see `script.py` for the format and the one
exception that a script may ask for). Where no rule fits it answers by itself: a minimal instance when a schema binds the
reply, a call with minimal arguments when a tool must be called, else the last user message again. Tokens are words
with the white space before them. Source: ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import anyio
from pydantic import JsonValue

from runtime.errors import InvalidInput, MalformedReply, ModelError, ModelOverloaded, ModelRejected, ModelUnavailable
from runtime.llm.base import CallInfo, Chunk, ToolCallDelta
from runtime.llm.instance import minimal_instance
from runtime.llm.script import Request, Script, ScriptedCall, ScriptedReply, ScriptedUsage, Turns
from runtime.types import FinishReason, JsonObject, JsonSchema, Message, Sampling, ToolSpec, Usage

_TOKEN = re.compile(r"\s*\S+|\s+$")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to be said: `chunks`, each after `delay_s`, and perhaps a fault that strikes behind them."""

    chunks: tuple[Chunk, ...]
    usage: Usage | None
    delay_s: float
    fault: ScriptedReply | None


class Player:
    """Turns requests into plans; shared by the in-process model and the server."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self._turns = Turns()

    def plan(self, request: Request) -> Plan:
        """Decide the whole answer. Raises `InvalidInput` for a schema that has no instance."""
        number = self.script.rule_for(request)
        if number is None:
            return _plan(request, self._by_itself(request), self.script.delay_ms)
        rule = self.script.rules[number]
        delay_ms = self.script.delay_ms if rule.delay_ms is None else rule.delay_ms
        return _plan(request, self._turns.reply(number, rule, request), delay_ms)

    def _by_itself(self, request: Request) -> ScriptedReply:
        if request.schema is not None and self.script.binds_schema:
            return ScriptedReply(json=_instance(request.schema.schema, f"schema {request.schema.name!r}"))
        tool = _demanded_tool(request)
        if tool is not None:
            arguments = _instance(tool.parameters, f"parameters of tool {tool.name!r}")
            call = ScriptedCall(name=tool.name, arguments=arguments if isinstance(arguments, dict) else {})
            return ScriptedReply(tool_calls=(call,))
        wanted = request.sampling.response_format
        if wanted is not None and wanted.get("type") == "json_object" and self.script.binds_schema:
            return ScriptedReply(json={"echo": request.last_user_text})
        return ScriptedReply(text=request.last_user_text or "Nothing was asked.")


class Scripted:
    """An `LLM` in this process. `idle_timeout_s` is how long a scripted `hang` lasts before it counts as dead."""

    def __init__(self, script: Script = Script(), *, model: str = "echo", idle_timeout_s: float = 120.0) -> None:  # noqa: B008
        self._player = Player(script)
        self._model = model
        self._idle_timeout_s = idle_timeout_s

    @property
    def ref(self) -> str:
        return f"scripted/{self._model}"

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]:
        """Yield the planned chunks, then the usage. Raises the `ModelError` that a scripted fault stands for."""
        request = Request(
            info.purpose,
            info.run_id,
            self._model,
            tuple(messages),
            sampling,
            tuple(tools),
            schema or schema_of(sampling.response_format),
        )
        try:
            plan = self._player.plan(request)
        except InvalidInput as error:
            raise ModelRejected(error.message, status=400) from error
        for chunk in plan.chunks:
            await anyio.sleep(plan.delay_s)
            yield chunk
        if plan.fault is not None:
            if plan.fault.fault == "hang":
                await anyio.sleep(self._idle_timeout_s)
            raise fault_error(plan.fault)
        if plan.usage is not None:
            yield Chunk(usage=plan.usage, model=self._model)

    async def models(self) -> Sequence[str]:
        """The names the script lists."""
        return self._player.script.models

    async def binds_schema(self) -> bool:
        """As the script says."""
        return self._player.script.binds_schema

    async def aclose(self) -> None:
        """Nothing is held open."""


def schema_of(response_format: JsonObject | None) -> JsonSchema | None:
    """The schema inside a `response_format` of type `json_schema`."""
    spec = response_format.get("json_schema") if response_format else None
    if not isinstance(spec, dict) or not isinstance(inner := spec.get("schema"), dict):
        return None
    return JsonSchema(str(spec.get("name")), inner, bool(spec.get("strict")))


def tokens_of(text: str) -> list[str]:
    """The tokens of a text; joined they are the text again."""
    return _TOKEN.findall(text)


def fault_error(reply: ScriptedReply) -> ModelError:
    """What a client of a server with this fault raises."""
    where = f"scripted fault {reply.fault!r}: {reply.message}"
    match reply.fault:
        case "status" | "error_event" if reply.status == 429 or reply.status >= 500:
            return ModelOverloaded(where, status=reply.status, retry_after_s=reply.retry_after_s)
        case "status" | "error_event":
            return ModelRejected(where, status=reply.status)
        case "malformed" | "empty_choices":
            return MalformedReply(where)
        case _:
            return ModelUnavailable(where)


def _plan(request: Request, reply: ScriptedReply, delay_ms: float) -> Plan:
    reasoning, content = tokens_of(reply.reasoning), tokens_of(_until_stop(reply.content, request.sampling.stop))
    spoken = [Chunk(reasoning=token, model=request.model) for token in reasoning]
    spoken += [Chunk(text=token, model=request.model) for token in content]
    spoken += _calls(reply.tool_calls, request)
    finish: FinishReason = reply.finish_reason or ("tool_calls" if reply.tool_calls else "stop")
    limit = request.sampling.max_tokens
    if limit is not None and len(spoken) > limit:
        spoken, finish = spoken[:limit], "length"
    usage = None if reply.usage is False else _usage(request, reply.usage, spoken)
    fault = None if reply.fault is None else reply
    if fault is not None:
        return Plan(tuple(spoken[: fault.after]), usage, delay_ms / 1000, fault)
    end = Chunk(finish_reason=finish, model=request.model)
    return Plan((*spoken, end), usage, delay_ms / 1000, None)


def _calls(calls: Sequence[ScriptedCall], request: Request) -> Iterator[Chunk]:
    """Each call as servers stream it: the name first, then its arguments in pieces."""
    # Ids count on through the conversation, so that no two calls of it share one.
    made = sum(len(message.tool_calls) for message in request.messages)
    for index, call in enumerate(calls):
        first = ToolCallDelta(index, f"call_{made + index + 1}", call.name)
        yield Chunk(tool_calls=(first,), model=request.model)
        for token in tokens_of(json.dumps(call.arguments, ensure_ascii=False)):
            yield Chunk(tool_calls=(ToolCallDelta(index, arguments=token),), model=request.model)


def _usage(request: Request, given: ScriptedUsage, spoken: Sequence[Chunk]) -> Usage:
    def first(*counts: int | None) -> int:
        return next(count for count in counts if count is not None)

    return Usage(
        prompt_tokens=first(given.prompt_tokens, sum(len(tokens_of(m.text)) + 1 for m in request.messages)),
        completion_tokens=first(given.completion_tokens, len(spoken)),
        cached_tokens=given.cached_tokens,
        reasoning_tokens=first(given.reasoning_tokens, sum(bool(chunk.reasoning) for chunk in spoken)),
    )


def _until_stop(text: str, stops: Sequence[str]) -> str:
    ends = [at for stop in stops if (at := text.find(stop)) >= 0]
    return text[: min(ends)] if ends else text


def _demanded_tool(request: Request) -> ToolSpec | None:
    """The tool that `tool_choice` demands, by name or as any of them."""
    choice = request.sampling.tool_choice
    if choice == "required" and request.tools:
        return request.tools[0]
    named = choice.get("function") if isinstance(choice, dict) else None
    name = named.get("name") if isinstance(named, dict) else None
    return next((tool for tool in request.tools if tool.name == name), None)


def _instance(schema: JsonObject, what: str) -> JsonValue:
    try:
        return minimal_instance(schema)
    except ValueError as error:
        raise InvalidInput(f"{what}: {error}; expected a schema that some JSON value can meet") from error
