"""Is the process alive, is it ready, what does it count. Open to everybody: they tell nothing about anyone's data.

Source: contract §4.
"""

from __future__ import annotations

from dataclasses import asdict

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.auth import TheService
from api.idempotency import json_response
from runtime.metrics import METRICS_CONTENT_TYPE, metrics

router = APIRouter(tags=["health"])


@router.get("/health")
async def health() -> dict[str, str]:
    """200 as long as the process answers."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"description": "not ready; the checks say why"}})
async def ready(request: Request, service: TheService) -> Response:
    """200 when runs can be executed; otherwise 503, with what is missing and what to do."""
    checks = await service.ready()
    well = all(check.ok for check in checks)
    body = {"ready": well, "checks": [asdict(check) for check in checks]}
    return json_response(body, 200 if well else 503)


@router.get("/metrics", responses={200: {"content": {"text/plain": {}}}})
async def expose_metrics(service: TheService) -> Response:
    """Prometheus text format."""
    metrics.queue_depth.set(len(await service.store.queued()))
    return Response(metrics.expose(), media_type=METRICS_CONTENT_TYPE)
