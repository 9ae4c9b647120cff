"""Runs, events and keys as JSON: one conversion each, used by the API and by the pages. Source: contract §4."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import AfterValidator, AwareDatetime, Field, JsonValue

from api.openai.wire import MAX_SEED, BudgetBody, Explore, Strict
from runtime.errors import InvalidInput, UnknownName
from runtime.events import Event, data_of
from runtime.keys import KeyRecord
from runtime.runs import RunRecord, RunSpec
from runtime.types import Usage

_RUN_ID = re.compile(r"run_[0-9a-f]{32}")


def known_run(run_id: str) -> str:
    """An id that has the form of one. Raises `UnknownName`."""
    # What cannot be an id is as unknown as one that never was, and never reaches the database.
    if not _RUN_ID.fullmatch(run_id):
        raise UnknownName(f"run {run_id!r}: no such run", param="run_id")
    return run_id


def _known_cursor(cursor: str | None) -> str | None:
    if cursor is not None and not _RUN_ID.fullmatch(cursor):
        raise InvalidInput(f"cursor {cursor!r}: expected the `next` of the page before", param="cursor")
    return cursor


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected text without control characters")
    return text


RunId = Annotated[str, Path(max_length=100), AfterValidator(known_run)]
Cursor = Annotated[str | None, Query(max_length=100), AfterValidator(_known_cursor)]
PlainText = Annotated[str, AfterValidator(_printable)]


class RunRequest(Strict):
    """`POST /api/runs`."""

    agent: str = Field(min_length=1, max_length=100)
    input: JsonValue = Field(description="text, a list of chat messages, or a typed task with a `kind`")
    model: Annotated[PlainText, Field(min_length=1, max_length=300)] | None = None
    vaults: list[str] = Field([], max_length=64)
    memory: Literal["on", "read", "off"] = "on"
    budget: BudgetBody = Field(default_factory=BudgetBody)
    config: dict[str, JsonValue] = Field(default_factory=dict)
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    explore: Explore | None = None

    def spec(self, context: str | None) -> RunSpec:
        return RunSpec(
            agent=self.agent,
            input=self.input,
            model=self.model,
            vaults=tuple(self.vaults),
            memory=self.memory,
            budget=self.budget.budget(),
            config=self.config,
            seed=-1 if self.seed is None else self.seed,
            explore=self.explore,
            context=context,
        )


class ResumeRequest(Strict):
    """`POST /api/runs/{id}/resume`; a budget given here replaces the run's."""

    budget: BudgetBody | None = None


class ForkRequest(Strict):
    """`POST /api/runs/{id}/fork`."""

    from_event: int = Field(ge=1, le=2**62)


class WaitRequest(Strict):
    """`POST /api/runs/{id}/wait`."""

    timeout_s: float = Field(60.0, ge=0, le=3600)


class KeyRequest(Strict):
    """`POST /api/keys`."""

    name: PlainText = Field(min_length=1, max_length=200)
    user: PlainText = Field("local", min_length=1, max_length=200)
    scopes: list[Literal["read", "run", "admin"]] = Field(["read", "run"], min_length=1)
    expires_at: Annotated[AwareDatetime, Field(strict=False)] | None = None


def run_body(run: RunRecord) -> dict[str, Any]:
    """A run on the wire; the memories it touched are in its log (`memories_of`)."""
    spec = run.spec.to_json()
    return {
        "id": run.id,
        "agent": run.agent,
        "agent_version": run.agent_version,
        "model": run.model,
        "status": run.status,
        "input": spec["input"],
        "vaults": spec["vaults"],
        "memory": spec["memory"],
        "budget": spec["budget"],
        "config": spec["config"],
        "seed": spec["seed"],
        "output": run.output,
        "error": run.error,
        "usage": {
            "total": usage_of(run.total_usage),
            "by_purpose": {k: asdict(v) for k, v in run.usage.items()},
            "working_memory": _working_memory(run.output),
        },
        "memories": {"read": [], "written": []},
        "attempt": run.attempt,
        "executor": run.executor,
        "last_event": run.last_seq,
        "parent": None if run.parent_id is None else {"run": run.parent_id, "event": run.parent_seq},
        "created_at": run.created_at.isoformat(),
        "started_at": None if run.started_at is None else run.started_at.isoformat(),
        "finished_at": None if run.finished_at is None else run.finished_at.isoformat(),
    }


def _working_memory(output: JsonValue) -> JsonValue:
    """What an agent that prunes its working memory says of it in the detail of its answer; None for any other."""
    detail = output.get("detail") if isinstance(output, dict) else None
    return detail.get("working_memory") if isinstance(detail, dict) else None


def memories_of(events: Iterable[Event]) -> dict[str, list[dict[str, Any]]]:
    """The memories a run read and wrote, from its log."""
    touched: dict[str, list[dict[str, Any]]] = {"read": [], "written": []}
    for event in events:
        touched[event.type.removeprefix("memory.")].append(data_of(event.payload))
    return touched


def usage_of(usage: Usage) -> dict[str, int]:
    """Token counts on the wire."""
    return {**asdict(usage), "total_tokens": usage.total_tokens}


def key_body(key: KeyRecord) -> dict[str, Any]:
    """A key on the wire, without its secret."""
    return {
        "id": key.id,
        "name": key.name,
        "user": key.user,
        "prefix": key.prefix,
        "scopes": sorted(key.scopes),
        "created_at": key.created_at.isoformat(),
        "expires_at": None if key.expires_at is None else key.expires_at.isoformat(),
        "revoked_at": None if key.revoked_at is None else key.revoked_at.isoformat(),
        "last_used_at": None if key.last_used_at is None else key.last_used_at.isoformat(),
    }
