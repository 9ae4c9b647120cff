"""Playground: ask an agent and watch. The page asks through the public API: `POST /api/runs`, then the stream of the run,
which carries text, reasoning, the tree and the memories, and can be taken up again. Source: design ui.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import AfterValidator
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory
from api.auth import TheService
from api.route import Route
from api.routes.agents import agent_body
from api.routes.vault_answers import vault_body
from api.routes.wire import PlainText, known_run, run_body
from api.web.pages.runs import grows_tree
from api.web.render import twin
from api.web.rows import question_of
from runtime.errors import ModelError
from runtime.runs import TERMINAL
from runtime.types import JsonObject

router = APIRouter(include_in_schema=False, route_class=Route)
VAULTS: Final = 200
Named = Annotated[PlainText, Query(max_length=200)]
RunRef = Annotated[str, Query(max_length=100), AfterValidator(lambda text: known_run(text) if text else "")]


@router.get("/ui/playground")
async def playground_page(
    request: Request,
    service: TheService,
    memory: TheMemory,
    actor: ReadsMemory,
    agent: Named = "",
    vault: Named = "",
    q: Annotated[str, Query(max_length=20_000)] = "",
    run: RunRef = "",
) -> Response:
    """A form that asks, and what came of it: a run that is named is shown as if it had been asked here."""
    asked = run_body(await service.get(run, owner=actor.user_id)) if run else None
    try:
        models = list(await service.models())
    except ModelError:
        models = []
    view: dict[str, Any] = {
        "agents": [agent_body(spec) for spec in service.agents()],
        "vaults": [vault_body(shown) for shown in await memory.vaults.list(actor, limit=VAULTS)],
        "models": models,
        "run": asked,
    }
    names = [one["name"] for one in view["agents"]]
    form = _form(asked) if asked else {**BLANK, "agent": agent, "vaults": [vault] if vault else [], "input": q}
    form["agent"] = form["agent"] or ("direct" if "direct" in names else names[0])
    trees = [name for name in names if grows_tree(name)]
    return twin(request, "playground.html", view, form=form, trees=trees, ended=asked and asked["status"] in TERMINAL)


BLANK: Final[JsonObject] = {
    "agent": "",
    "vaults": [],
    "input": "",
    "memory": "on",
    "budget": {},
    "config": {},
    "model": "",
}


def _form(run: dict[str, Any]) -> dict[str, Any]:
    """The fields with which that run was asked. A conversation shows its last question."""
    typed = isinstance(run["input"], dict)
    return {
        "agent": run["agent"],
        "vaults": run["vaults"],
        "input": run["input"] if typed else question_of(run["input"]),
        "memory": run["memory"],
        "budget": {name: value for name, value in run["budget"].items() if value is not None},
        "config": run["config"],
        "model": "",
    }
