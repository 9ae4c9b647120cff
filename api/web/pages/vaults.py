"""Vaults: which there are. Source: design ui."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.route import Route
from api.routes.vault_answers import vault_body
from api.web.render import twin

router = APIRouter(include_in_schema=False, route_class=Route)


@router.get("/ui/vaults")
async def vaults_page(request: Request, memory: TheMemory, actor: ReadsMemory) -> Response:
    """The caller's vaults and those that were granted."""
    return twin(request, "vaults.html", {"items": [vault_body(shown) for shown in await memory.vaults.list(actor)]})
