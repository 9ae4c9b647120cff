"""Is the process alive, is it ready, what does it count. Open to everybody; what the checks saw in detail is for callers
who may read. Source: contract §4.
"""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.answers import json_response
from api.auth import TheService, identify
from api.routes.documented import Health, Ready
from runtime.errors import AuthError
from runtime.metrics import METRICS_CONTENT_TYPE, metrics

router = APIRouter(tags=["health"])


@router.get("/health", responses={200: {"model": Health}})
async def health() -> Response:
    """200 as long as the process answers."""
    return json_response({"status": "ok"})


@router.get("/ready", responses={200: {"model": Ready}, 503: {"model": Ready, "description": "not ready"}})
async def ready(request: Request, service: TheService) -> Response:
    """200 when runs can be executed; otherwise 503, with what is missing and what to do."""
    checks = [asdict(check) for check in await service.ready()]
    well = all(check["ok"] for check in checks)
    if not await _may_read(request):
        checks = [{**check, "detail": "", "fix": ""} for check in checks]
    return json_response({"ready": well, "checks": checks}, 200 if well else 503)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"description": "Prometheus text format", "content": {"text/plain": {}}}},
)
async def expose_metrics(service: TheService) -> Response:
    """Prometheus text format."""
    metrics.queue_depth.set(len(await service.store.queued()))
    return Response(metrics.expose(), headers={"Content-Type": METRICS_CONTENT_TYPE})


async def _may_read(request: Request) -> bool:
    try:
        return (await identify(request)).may("read")
    except AuthError:
        return False
