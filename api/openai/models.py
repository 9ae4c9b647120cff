"""`GET /v1/models`: the agents, under the names that a request's `model` takes. Source: OpenAI API; contract §4."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from api.answers import json_response
from api.auth import Reader, TheService
from api.openai.documented import MODEL, MODELS
from api.openai.wire import split_model
from api.route import Route

router = APIRouter(prefix="/v1/models", tags=["openai"], route_class=Route)
SINCE = 1_763_900_000


def _model(name: str, description: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": SINCE, "owned_by": "mneme", "description": description}


@router.get("", responses=MODELS)
async def list_models(service: TheService, caller: Reader) -> Response:
    """Every agent."""
    agents = [_model(spec.name, spec.description) for spec in service.agents()]
    return json_response({"object": "list", "data": agents})


@router.get("/{name:path}", responses=MODEL)
async def get_model(name: str, service: TheService, caller: Reader) -> Response:
    """One agent, also as `agent@model` with a model that the model server offers."""
    agent, model = split_model(name)
    if model is not None:
        await service.check_offered(model)
    return json_response(next(_model(name, spec.description) for spec in service.agents() if spec.name == agent))
