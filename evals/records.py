"""What is written down of an evaluation: its header, and a record of each attempt. Source: evaluation sheet §3.7, §3.9."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import JsonValue

from evals.plan import Plan


@dataclass(frozen=True, slots=True)
class Usage:
    """What one attempt cost. `cached_tokens` are a part of the prompt tokens, `reasoning_tokens` of the generated ones;
    `peak_tokens` is the longest prompt with its answer; `retries` are calls that had to be made again. `programs`
    were run in the sandbox, for `sandbox_seconds` of its processor. `by_depth`: calls and
    tokens without the agent's own second tries, with the first ones of these, and so on; empty when there are none."""

    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    retries: int = 0
    peak_tokens: int = 0
    model_ms: float = 0.0
    memory_reads: int = 0
    memory_writes: int = 0
    programs: int = 0
    sandbox_seconds: float = 0.0
    estimated: bool = False
    by_depth: tuple[tuple[int, int], ...] = ()

    @property
    def tokens(self) -> int:
        """Prompt and answer."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Record:
    """One attempt at one sample. `answer` is what was read from the reply `output`; `stop_reason` is how the reply ended
    (stop, length, …), `budget_exhausted`, or `failed` with an `error`, which counts as wrong. `fallback` and `parts`: see
    `Score`."""

    suite: str
    data_sha256: str
    set: str
    item_id: str
    agent: str
    model: str
    seed: int
    order: int
    attempt: int
    place: int
    run_id: str | None
    run_seed: int
    answer: str | None
    how: str | None
    correct: bool
    score: float
    fallback: float | None
    stop_reason: str
    ms: float
    usage: Usage
    finished_at: str | None = None
    memory_ids: tuple[str, ...] = ()
    written_ids: tuple[str, ...] = ()
    output: str = ""
    detail: str = ""
    error: str | None = None
    chance: float | None = None
    meta: Mapping[str, JsonValue] = field(default_factory=dict)
    parts: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def key(self) -> tuple[int, int, int, str]:
        """The slot that it belongs to (evals/plan.py)."""
        return (self.seed, self.order, self.attempt, self.item_id)

    @property
    def failed(self) -> bool:
        """Whether the agent gave no answer because it failed."""
        return self.error is not None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """Read a line."""
        usage = data["usage"]
        by_depth = tuple((calls, tokens) for calls, tokens in usage.get("by_depth", ()))
        values = {**data, "usage": Usage(**{**usage, "by_depth": by_depth})}
        return cls(**{**values, "memory_ids": tuple(data["memory_ids"]), "written_ids": tuple(data["written_ids"])})


@dataclass(frozen=True, slots=True)
class Header:
    """What an evaluation is, and on what it was run. `sets`: the data sets with source, licence, split, number and SHA-256;
    `prompts`: the hash of every prompt file that was used, by its name; `settings`: every option of the
    agent, defaults too."""

    id: str
    owner: str
    created_at: str
    plan: Plan
    sets: tuple[dict[str, JsonValue], ...]
    data_sha256: str
    samples: int
    expected: int
    versions: Mapping[str, str]
    revision: Mapping[str, JsonValue] | None
    prompts: Mapping[str, str]
    agent_version: int
    suite_version: int
    built_by: str | None = None
    control_of: str | None = None
    control: str | None = None
    overlaps: tuple[dict[str, JsonValue], ...] = ()
    settings: Mapping[str, JsonValue] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The form in the file."""
        return {**asdict(self), "plan": self.plan.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Header:
        """Read what `to_json` wrote."""
        lists = {name: tuple(data[name]) for name in ("sets", "overlaps")}
        return cls(**{**data, "plan": Plan.from_json(data["plan"]), **lists})
