"""What agents there are, what they take, which prompts they use. Source: contract §§2, 4."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from agents import registry
from agents.base import AgentSpec
from api.auth import Reader, TheService

router = APIRouter(prefix="/api/agents", tags=["agents"])


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


@router.get("")
async def list_agents(service: TheService, caller: Reader) -> dict[str, Any]:
    """Every agent."""
    return {"items": [agent_body(spec) for spec in service.agents()], "next": None}


@router.get("/{name}", responses={404: {"description": "no such agent"}})
async def get_agent(name: str, service: TheService, caller: Reader) -> dict[str, Any]:
    """One agent."""
    return agent_body(registry.get(name).spec)
