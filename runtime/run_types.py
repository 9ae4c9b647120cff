"""What a run is, as values: the request it came from, its record, the claim of the process that executes it.

Source: contract §4; ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import JsonValue

from runtime.budget import Budget, Spent
from runtime.types import JsonObject, Usage

RunStatus = Literal["queued", "running", "succeeded", "failed", "cancelled", "budget_exhausted", "interrupted"]
TERMINAL: frozenset[RunStatus] = frozenset({"succeeded", "failed", "cancelled", "budget_exhausted"})
MemoryMode = Literal["on", "read", "off"]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What was asked for. `sampling` and `tools` are the fields of a chat request that go to the model as they are.

    `seed` below zero means: choose one when the run is accepted. `explore`: the largest share of units that a memory may be
    held out of, to measure what it is worth; 0 for none, None leaves it to agent and vault. `context`: the agent, app or
    session in which the run acts, for grants that are bound to one. `suite`: the evaluation that the run is part of.
    """

    agent: str
    input: JsonValue
    model: str | None = None
    vaults: tuple[str, ...] = ()
    memory: MemoryMode = "on"
    budget: Budget = field(default_factory=Budget)
    config: JsonObject = field(default_factory=dict)
    seed: int = -1
    sampling: JsonObject = field(default_factory=dict)
    tools: tuple[JsonObject, ...] = ()
    explore: float | None = None
    context: str | None = None
    suite: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The form that is stored and shown."""
        return {
            "agent": self.agent,
            "input": self.input,
            "model": self.model,
            "vaults": list(self.vaults),
            "memory": self.memory,
            "budget": {
                "tokens": self.budget.tokens,
                "calls": self.budget.calls,
                "seconds": self.budget.seconds,
            },
            "config": self.config,
            "seed": self.seed,
            "sampling": self.sampling,
            "tools": list(self.tools),
            "explore": self.explore,
            "context": self.context,
            "suite": self.suite,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSpec:
        """Read what `to_json` wrote."""
        return cls(
            agent=data["agent"],
            input=data["input"],
            model=data["model"],
            vaults=tuple(data["vaults"]),
            memory=data["memory"],
            budget=Budget(**data["budget"]),
            config=data["config"],
            seed=data["seed"],
            sampling=data["sampling"],
            tools=tuple(data["tools"]),
            # Runs of earlier releases do not have them.
            explore=data.get("explore"),
            context=data.get("context"),
            suite=data.get("suite"),
        )


@dataclass(frozen=True, slots=True)
class PurposeUsage:
    """What the calls of one purpose took."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    ms: float = 0.0

    @property
    def usage(self) -> Usage:
        return Usage(self.prompt_tokens, self.completion_tokens, self.cached_tokens, self.reasoning_tokens)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One row of `runs`. `usage` is by purpose and counts every call that was made, also in steps done again."""

    id: str
    owner: str
    agent: str
    agent_version: int
    model: str
    status: RunStatus
    spec: RunSpec
    output: JsonValue
    error: JsonObject | None
    usage: Mapping[str, PurposeUsage]
    epoch: int
    attempt: int
    executor: str | None
    cancel_reason: str | None
    last_seq: int
    parent_id: str | None
    parent_seq: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def total_usage(self) -> Usage:
        """The sum over all purposes."""
        return sum((part.usage for part in self.usage.values()), Usage())


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write to a run, valid while nobody claims it after this. `steps` holds what finished steps returned."""

    record: RunRecord
    epoch: int
    steps: Mapping[str, JsonValue]
    spent: Spent


@dataclass(frozen=True, slots=True)
class RunPage:
    """A page of a list; `next` is the cursor of the following one, None on the last."""

    items: list[RunRecord]
    next: str | None
