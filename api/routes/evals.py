"""Evaluations: listed, read, compared. They are run at the command line, on the machine that keeps their files.

An evaluation of somebody else is as unknown as one that never was; an admin sees all. Source: contract §4.
"""

from __future__ import annotations

import itertools
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query
from fastapi import Path as InPath
from pydantic import AfterValidator, JsonValue
from starlette.responses import Response

from agents.service import Service
from api.answers import json_response
from api.auth import Reader, TheService
from api.route import Route
from api.routes.documented import Documented, answers
from evals import log as logs
from evals import report
from evals.cost import Prices, read_prices
from evals.log import ID, Log
from runtime.errors import InvalidInput, UnknownName
from runtime.keys import Identity
from runtime.settings import Settings

router = APIRouter(prefix="/api/evals", tags=["evals"], route_class=Route)


def _known_shape(id_: str) -> str:
    # What cannot be an id never reaches the disk.
    if not ID.fullmatch(id_):
        raise _not_found(id_)
    return id_


def _known_cursor(cursor: str | None) -> str | None:
    if cursor is not None and not ID.fullmatch(cursor):
        raise InvalidInput(f"cursor {cursor!r}: expected the `next` of the page before", param="cursor")
    return cursor


EvalId = Annotated[str, InPath(max_length=100), AfterValidator(_known_shape)]
EvalRef = Annotated[str, Query(max_length=100), AfterValidator(_known_shape)]
Cursor = Annotated[
    str | None, Query(max_length=100, description="`next` of the page before"), AfterValidator(_known_cursor)
]


class EvalRow(Documented):
    """One line of the list. `accuracy` with its 95 % interval, `tokens` and `seconds` of an attempt; null before the
    first summary."""

    id: str
    created_at: datetime
    suite: str
    agent: str
    models: list[str]
    memory: str
    control_of: str | None
    control: str | None
    status: str
    done: int
    expected: int
    problems: int
    accuracy: float | None
    low: float | None
    high: float | None
    tokens: float | None
    seconds: float | None


class EvalList(Documented):
    items: list[EvalRow]
    next: str | None


class EvalBody(Documented):
    """The report of an evaluation: `scores` with intervals, `cost`, and where there are such `building`, `learning`, `lift`
    and `figures`, the suite's own."""

    id: str
    suite: str
    suite_version: int
    agent: str
    agent_version: int
    models: list[str]
    created_at: datetime
    status: str
    done: int
    expected: int
    config: dict[str, JsonValue]
    settings: dict[str, JsonValue]
    sets: list[dict[str, JsonValue]]
    data_sha256: str
    versions: dict[str, str]
    revision: dict[str, JsonValue] | None
    prompts: dict[str, str]
    memory: dict[str, JsonValue]
    overlaps: list[dict[str, JsonValue]]
    notes: list[str]
    scores: dict[str, JsonValue]
    runs: dict[str, JsonValue]
    cost: dict[str, JsonValue]
    curve: list[dict[str, JsonValue]]
    learning: list[JsonValue] | None = None
    figures: dict[str, JsonValue] | None = None
    building: dict[str, JsonValue] | None = None
    control_of: str | None = None
    control: str | None = None
    lift: dict[str, JsonValue] | None = None


class EvalComparison(Documented):
    """Two evaluations on the problems that both have asked. `sentence` is what may be said of it."""

    a: dict[str, JsonValue]
    b: dict[str, JsonValue]
    problems: int
    difference: dict[str, float]
    mcnemar: dict[str, float]
    same_data: bool
    sentence: str


@router.get("", responses=answers(EvalList))
async def list_evals(
    service: TheService,
    caller: Reader,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    cursor: Cursor = None,
) -> Response:
    """The caller's evaluations, newest first."""
    items, following = await page_of(service, caller, limit=limit, cursor=cursor)
    return json_response({"items": items, "next": following})


async def page_of(
    service: Service, caller: Identity, *, limit: int, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of the list, and the cursor of the next one."""

    def work() -> tuple[list[dict[str, Any]], str | None]:
        home = service.settings.home
        mine = (log for log in logs.every(home) if (cursor is None or log.id < cursor) and _may_see(log, caller))
        rows = [report.row_of(log) for log in itertools.islice(mine, limit + 1)]
        return rows[:limit], rows[limit - 1]["id"] if len(rows) > limit else None

    return await anyio.to_thread.run_sync(work)


@router.get("/compare", responses=answers(EvalComparison, 404))
async def compare_evals(service: TheService, caller: Reader, a: EvalRef, b: EvalRef) -> Response:
    """Compare two: paired bootstrap over problems and McNemar's exact test."""

    def work() -> dict[str, JsonValue]:
        home = service.settings.home
        for id_ in (a, b):
            log_of(home, id_, caller)
        return report.compared(home, a, b).to_json(prices_of(service.settings))

    return json_response(await anyio.to_thread.run_sync(work))


@router.get("/{eval_id}", responses=answers(EvalBody, 404))
async def get_eval(eval_id: EvalId, service: TheService, caller: Reader) -> Response:
    """One evaluation, as it is now."""

    def work() -> dict[str, Any]:
        home = service.settings.home
        return report.full(home, log_of(home, eval_id, caller), prices_of(service.settings))

    return json_response(await anyio.to_thread.run_sync(work))


def log_of(home: Path, id_: str, caller: Identity) -> Log:
    """An evaluation that the caller may see. Raises `UnknownName`, also for one of somebody else."""
    log = logs.find(home, id_)
    if not _may_see(log, caller):
        raise _not_found(id_)
    return log


def _may_see(log: Log, caller: Identity) -> bool:
    return caller.may("admin") or log.header().owner == caller.user_id


def _not_found(id_: str) -> UnknownName:
    return UnknownName(f"evaluation {id_!r}: not found; `mneme eval list` shows what there is", param="id")


def prices_of(settings: Settings) -> Prices:
    """The table of prices of this service."""
    return read_prices(settings.evals.prices)
