"""What agents there are, what they take, which prompts they use. Source: contract §§2, 4."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from agents import registry
from agents.base import AgentSpec
from api.answers import json_response
from api.auth import Reader, TheService
from api.route import Route
from api.routes.documented import AgentBody, AgentList, answers

router = APIRouter(prefix="/api/agents", tags=["agents"], route_class=Route)


def agent_body(spec: AgentSpec) -> dict[str, Any]:
    """An agent on the wire; `config` is the JSON schema of its options."""
    return {
        "name": spec.name,
        "version": spec.version,
        "description": spec.description,
        "kinds": sorted(spec.kinds),
        "config": spec.config.model_json_schema(),
        "prompts": {name: prompt.sha256 for name, prompt in sorted(spec.prompts.items())},
    }


@router.get("", responses=answers(AgentList))
async def list_agents(service: TheService, caller: Reader) -> Response:
    """Every agent."""
    return json_response({"items": [agent_body(spec) for spec in service.agents()], "next": None})


@router.get("/{name}", responses=answers(AgentBody, 404))
async def get_agent(name: str, caller: Reader) -> Response:
    """One agent."""
    return json_response(agent_body(registry.get(name).spec))
