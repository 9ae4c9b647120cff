"""Evals: the evaluations of this machine, one with its plots and samples, one sample with its attempts, two side by side.

An evaluation of somebody else is as unknown as one that never was (api/routes/evals.py). Source: contract §4; design ui.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal, get_args

import anyio.to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, Response

from agents.service import Service
from api.auth import Reader, TheService
from api.route import Route
from api.routes.evals import Cursor, EvalId, EvalRef, log_of, page_of, prices_of
from api.routes.wire import PlainText
from api.web import evaluations
from api.web.render import HEADERS, twin
from evals import report
from evals.samples import VERDICTS
from runtime.keys import Identity

router = APIRouter(include_in_schema=False, route_class=Route)
PAGE: Final = 50
SAMPLES: Final = 200
Wanted = Literal["all", "wrong", "right", "failed"]
TwoEvals = Annotated[list[EvalRef], Query(alias="eval", min_length=2, max_length=2)]
From = Annotated[int, Query(ge=0, le=10**7, alias="from")]
Item = Annotated[PlainText, Query(max_length=1000)]


@router.get("/ui/evals")
async def evals_page(request: Request, service: TheService, caller: Reader, cursor: Cursor = None) -> Response:
    """The caller's evaluations, newest first, and what accuracy costs in tokens."""
    items, following = await page_of(service, caller, limit=PAGE, cursor=cursor)
    controls: dict[str, list[dict[str, Any]]] = {}
    for row in items:
        if row["control_of"]:
            controls.setdefault(row["control_of"], []).append(row)
    return twin(
        request,
        "evals.html",
        {"items": items, "next": following},
        cursor=cursor,
        controls=controls,
        arms=evaluations.ARMS,
        linked=True,
        plots=evaluations.across(items),
    )


@router.get("/ui/evals/compare")
async def compare_page(
    request: Request,
    service: TheService,
    caller: Reader,
    pair: TwoEvals,
    show: Annotated[Literal["", "fixed", "broken", "same"], Query()] = "",
    start: From = 0,
) -> Response:
    """Two evaluations sample by sample: what the first fixed, what it broke, and whether chance explains it."""
    a, b = pair
    view = await anyio.to_thread.run_sync(partial(_compared, service, caller, a, b))
    chosen = [line for line in view["samples"] if show in ("", line["verdict"])]
    return twin(request, "eval_compare.html", view, linked=True, show=show, verdicts=VERDICTS, **_part(chosen, start))


@router.get("/ui/evals/{eval_id}")
async def eval_page(
    eval_id: EvalId,
    request: Request,
    service: TheService,
    caller: Reader,
    show: Annotated[Wanted, Query()] = "all",
    start: From = 0,
) -> Response:
    """One evaluation: what it says, what it cost, and its samples."""
    view = await anyio.to_thread.run_sync(partial(_told, service, caller, eval_id))
    counts = {wanted: sum(_is(line, wanted) for line in view["samples"]) for wanted in get_args(Wanted)}
    chosen = [line for line in view["samples"] if _is(line, show)]
    words = await anyio.to_thread.run_sync(evaluations.drawn, view)
    return twin(request, "eval.html", view, linked=True, show=show, counts=counts, **_part(chosen, start), **words)


@router.get("/ui/evals/{eval_id}/sample")
async def sample_page(
    eval_id: EvalId,
    request: Request,
    service: TheService,
    caller: Reader,
    item: Item,
    against: Annotated[EvalRef | None, Query()] = None,
) -> Response:
    """One problem and the attempts at it, beside those of another evaluation."""
    wanted = [eval_id] if against is None else [eval_id, against]
    view = await anyio.to_thread.run_sync(partial(_sample, service, caller, wanted, item))
    puzzles = [evaluations.puzzle(side["asked"], side["attempts"]) for side in view["sides"]]
    return twin(request, "eval_sample.html", view, linked=True, puzzles=puzzles, arms=evaluations.ARMS)


@router.get("/ui/evals/{eval_id}/report")
async def report_file(eval_id: EvalId, service: TheService, caller: Reader) -> Response:
    """The evaluation as one HTML file for sharing. It is saved and not shown: its styles stand inside."""

    def work() -> str:
        home = service.settings.home
        return evaluations.html(home, log_of(home, eval_id, caller), prices_of(service.settings))

    text = await anyio.to_thread.run_sync(work)
    named = {"Content-Disposition": f'attachment; filename="{eval_id}.html"'}
    return HTMLResponse(text.encode("utf-8", "replace"), headers={**HEADERS, **named})


def _compared(service: Service, caller: Identity, a: str, b: str) -> dict[str, Any]:
    home = service.settings.home
    first, _ = [log_of(home, id_, caller) for id_ in (a, b)]
    return evaluations.compared(report.compared(home, a, b), prices_of(service.settings), first.samples())


def _told(service: Service, caller: Identity, id_: str) -> dict[str, Any]:
    home = service.settings.home
    return evaluations.told(home, log_of(home, id_, caller), prices_of(service.settings))


def _sample(service: Service, caller: Identity, ids: list[str], item: str) -> dict[str, Any]:
    home = service.settings.home
    return {"item": item, "sides": [evaluations.sample(log_of(home, id_, caller), item) for id_ in ids]}


def _is(line: dict[str, Any], wanted: str) -> bool:
    kinds: dict[str, bool] = {
        "all": True,
        "right": line["score"] == 1,
        "wrong": line["score"] < 1,
        "failed": line["failed"] > 0,
    }
    return kinds[wanted]


def _part(lines: list[dict[str, Any]], start: int) -> dict[str, Any]:
    following = start + SAMPLES if len(lines) > start + SAMPLES else None
    return {"lines": lines[start : start + SAMPLES], "start": start, "following": following, "matching": len(lines)}
