"""`GET /v1/models`: the agents, under the names that a request's `model` takes. Source: OpenAI API; contract §4."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from api.auth import Reader, TheService
from api.openai.wire import split_model

router = APIRouter(prefix="/v1/models", tags=["openai"])
SINCE = 1_763_900_000


def _model(name: str, description: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": SINCE, "owned_by": "mneme", "description": description}


@router.get("")
async def list_models(service: TheService, caller: Reader) -> dict[str, Any]:
    """Every agent."""
    return {"object": "list", "data": [_model(spec.name, spec.description) for spec in service.agents()]}


@router.get("/{name:path}")
async def get_model(name: str, service: TheService, caller: Reader) -> dict[str, Any]:
    """One agent, also as `agent@model`."""
    agent, _ = split_model(name)
    return next(_model(name, spec.description) for spec in service.agents() if spec.name == agent)
