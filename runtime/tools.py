"""Tools: typed functions that a model may call. The schema comes from the signature, and nothing a call does raises.

A wrong argument, an unknown one or a failure inside is a result that the model reads and can act on; a result that is
too long is cut, and says so. What ends the run itself (`RunStopped`) passes. Text from tools is data, never instructions
(contract §6). Source: ours.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, JsonValue, TypeAdapter, ValidationError, create_model

from runtime.errors import MnemeError, RunStopped, boundary
from runtime.events import ToolCalled, ToolResult
from runtime.types import ToolCall, ToolSpec

LIMIT_CHARS = 8000
_ANY: TypeAdapter[Any] = TypeAdapter(Any)


@dataclass(frozen=True, slots=True)
class ToolOutcome:
    """What a call came to. `text` is what the model reads; `ok` is False when it is an error in words."""

    text: str
    ok: bool = True
    truncated: bool = False


class Tool:
    """One function, sync (run in a thread) or async. Its name, annotations and docstring are what the model is told."""

    def __init__(self, function: Callable[..., object], *, limit_chars: int = LIMIT_CHARS) -> None:
        self._function = function
        self._limit_chars = limit_chars
        self._arguments = arguments_of(function)
        schema = self._arguments.model_json_schema()
        schema.pop("title", None)
        self.spec = ToolSpec(function.__name__, inspect.getdoc(function) or "", schema)

    async def call(self, arguments: str) -> ToolOutcome:
        """Run the function on arguments as the model wrote them. Raises `RunStopped` only."""
        try:
            given = self._arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in error.errors())
            return self._outcome(f"error: {faults}; expected {json.dumps(self.spec.parameters)}", ok=False)
        values = {name: getattr(given, name) for name in type(given).model_fields}
        try:
            with boundary(f"tool {self.spec.name!r}"):
                return self._outcome(_words(await self._run(values)), ok=True)
        except RunStopped:
            raise
        except MnemeError as error:
            return self._outcome(f"error: {error.message}", ok=False)

    async def _run(self, values: Mapping[str, object]) -> object:
        if inspect.iscoroutinefunction(self._function):
            return await self._function(**values)
        return await anyio.to_thread.run_sync(lambda: self._function(**values))

    def _outcome(self, text: str, *, ok: bool) -> ToolOutcome:
        if len(text) <= self._limit_chars:
            return ToolOutcome(text, ok)
        marker = f"\n[cut: {len(text) - self._limit_chars} of {len(text)} characters left out]"
        return ToolOutcome(text[: self._limit_chars] + marker, ok, truncated=True)


class Toolbox:
    """The tools of one agent, by name."""

    def __init__(self, *tools: Tool) -> None:
        self._tools = {tool.spec.name: tool for tool in tools}
        if len(self._tools) != len(tools):
            raise ValueError(f"tools {[tool.spec.name for tool in tools]!r}: expected each name once")

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What goes to the model."""
        return tuple(tool.spec for tool in self._tools.values())

    async def call(self, call: ToolCall) -> tuple[ToolCalled, ToolResult]:
        """Do what the model asked for; the events say what and with which result. Raises `RunStopped` only."""
        tool = self._tools.get(call.name)
        if tool is None:
            outcome = ToolOutcome(f"error: no tool {call.name!r}; expected one of {', '.join(self._tools)}", ok=False)
        else:
            outcome = await tool.call(call.arguments)
        asked = ToolCalled(call_id=call.id, name=call.name, arguments=call.arguments)
        return asked, ToolResult(call_id=call.id, result=outcome.text, ok=outcome.ok, truncated=outcome.truncated)


def arguments_of(function: Callable[..., object]) -> type[BaseModel]:
    """The arguments of a function as a model that refuses unknown ones.

    Raises `TypeError` for an argument without annotation and for `*args`, `**kwargs` and positional-only ones.
    """
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) or name not in hints:
            raise TypeError(f"tool {function.__name__!r}: argument {name!r} must be named and annotated")
        fields[name] = (hints[name], ... if parameter.default is parameter.empty else parameter.default)
    return create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)


def _words(result: object) -> str:
    if isinstance(result, str):
        return result
    plain: JsonValue = _ANY.dump_python(result, mode="json")
    return json.dumps(plain, ensure_ascii=False)
