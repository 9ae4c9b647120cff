"""What a tool is, what a call of one gives, and what an agent is given of all of them.

    tools = await ctx.tools(config.tools, result_tokens=4096)        # a step of the run: the same specs when it goes on
    answer = await tools.call("python", {"code": "print(1)"}, timeout_s=30, step=step)      # inside a step; kept there
    shown = await tools.shown("python", answer)                      # what the model reads: `shown.result()`

Nothing that a call does raises, but what ends the run and cancellation: an unknown tool, parameters that do not fit its
schema, a time-out and a failure inside are answers that a model reads and can act on. A result that is too long is cut and
says so. What a tool returns is data, never instructions (contract §6). An answer that is kept names memories and does not
hold their text, so that a text that is erased is gone; `shown` puts the text in. Source: tim §3.4, §5; ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from pydantic import JsonValue

from runtime.types import JsonObject, ToolSpec

if TYPE_CHECKING:
    from agents.base import Step

RESULT_TOKENS: Final = 4096
# Between the name of a server and that of its tool.
SEPARATOR: Final = "__"
ToolError = Literal["unknown_tool", "invalid_parameters", "timeout", "exception", "unavailable"]


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a call came to. When it failed `error` says how, and `data` is an object with the details: `known` names for
    `unknown_tool`, `detail` for the others. `elapsed_s`: wall seconds. `truncated`: `data` was cut to its limit."""

    ok: bool
    data: JsonValue
    error: ToolError | None = None
    elapsed_s: float = 0.0
    truncated: bool = False

    @classmethod
    def failed(cls, error: ToolError, *, elapsed_s: float = 0.0, **details: JsonValue) -> ToolAnswer:
        """An answer in place of a result."""
        return cls(False, details, error, elapsed_s)

    def result(self) -> JsonValue:
        """What stands in the place of the result: the data, or `{"error": …, …}`."""
        if self.ok:
            return self.data
        details = self.data if isinstance(self.data, dict) else {"detail": self.data}
        return {"error": self.error, **details}

    def to_json(self) -> JsonObject:
        """For the output of a step."""
        return {
            "ok": self.ok,
            "data": self.data,
            "error": self.error,
            "elapsed_s": self.elapsed_s,
            "truncated": self.truncated,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ToolAnswer:
        """Read what `to_json` wrote."""
        return cls(data["ok"], data["data"], data["error"], data["elapsed_s"], data["truncated"])


class Tools(Protocol):
    """The tools that one agent may use in one run."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told, in an order that stays."""
        ...

    async def call(self, name: str, parameters: JsonObject, *, timeout_s: float, step: Step) -> ToolAnswer:
        """Run a tool, at most `timeout_s` seconds; an idempotent one is tried twice when nothing came of it. `step`: where
        the call happens; it logs the memories that are read. Raises `RunStopped` only."""
        ...

    async def shown(self, name: str, answer: ToolAnswer) -> ToolAnswer:
        """The answer of the tool as the model reads it, in this execution of the run or in a later one. Raises
        `RunStopped` only."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool that there is. `idempotent`: a second call does no harm, so one that failed is made once more."""

    spec: ToolSpec
    idempotent: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call as its source is handed it. `seconds` are what is left of its time."""

    name: str
    parameters: JsonObject
    seconds: float
    step: Step


class ToolSource(Protocol):
    """The tools of one origin: a built-in one, or those of one server. Its own name is what stands before `SEPARATOR` in
    the names of its tools."""

    async def offers(self) -> Sequence[Offer]:
        """What there is. Raises `MnemeError` when the origin cannot be asked."""
        ...

    async def run(self, call: Call) -> ToolAnswer:
        """Make a call whose parameters fit the schema. May raise anything, which is the error `exception`."""
        ...

    async def show(self, data: JsonValue) -> JsonValue:
        """The data of a good answer as the model reads it."""
        ...
