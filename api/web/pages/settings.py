"""Settings: the agents with their options and prompts, the model servers, the keys, and what the doctor says.

What a part of the page shows is asked for when that part is looked at: the doctor opens files and asks servers. Keys,
settings and the doctor are for callers with the scope `admin`. Source: contract §4; design ui.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from agents import registry
from agents.base import AgentSpec
from agents.service import Service
from api.auth import Reader, TheService
from api.doctor import examine, setting_rows
from api.route import Route
from api.routes.agents import agent_body
from api.routes.wire import key_body
from api.web.render import twin
from runtime.errors import ModelError
from runtime.settings import Loaded

router = APIRouter(include_in_schema=False, route_class=Route)
# Settings that say where models come from.
MODELS: Final = ("llm.", "engine.", "embed.", "qdrant.")


@router.get("/ui/settings")
async def settings_page(request: Request, service: TheService, caller: Reader) -> Response:
    """The agents."""
    return twin(request, "settings.html", {"agents": [agent_body(spec) for spec in service.agents()]})


@router.get("/ui/settings/agents/{name}")
async def agent_page(name: str, request: Request, caller: Reader) -> Response:
    """One agent: the options it takes, and the prompts it sends with their hashes."""
    spec = registry.get(name).spec
    view = {**agent_body(spec), "texts": {key: prompt.text for key, prompt in sorted(spec.prompts.items())}}
    return twin(request, "settings_agent.html", view, options=options(spec))


@router.get("/ui/settings/models")
async def models_page(request: Request, service: TheService, caller: Reader) -> Response:
    """What the model server offers, and for an admin how models are reached."""
    view: dict[str, Any] = {"default": service.settings.llm.model, "models": [], "problem": None}
    try:
        view["models"] = list(await service.models())
    except ModelError as error:
        view["problem"] = error.message
    admin = caller.may("admin")
    view["settings"] = [row for row in _settings(service) if row["key"].startswith(MODELS)] if admin else None
    return twin(request, "settings_models.html", view)


@router.get("/ui/settings/keys")
async def keys_page(request: Request, service: TheService, caller: Reader) -> Response:
    """Every key without its secret; nothing for a caller who is no admin."""
    admin = caller.may("admin")
    keys = [key_body(key) for key in await service.keys.all()] if admin else None
    view = {"items": keys, "you": caller.user_name, "scopes": sorted(caller.scopes), "key": caller.key_id}
    return twin(request, "settings_keys.html", view, needed=service.settings.auth_required)


@router.get("/ui/settings/doctor")
async def doctor_page(request: Request, service: TheService, caller: Reader) -> Response:
    """What works and what does not, with the fix; nothing for a caller who is no admin."""
    if not caller.may("admin"):
        return twin(request, "settings_doctor.html", {"checks": None, "settings": None})
    found = await examine(Loaded(service.settings, {}))
    view = {"checks": [asdict(check) for check in found.checks], "settings": _settings(service)}
    return twin(request, "settings_doctor.html", view)


def options(spec: AgentSpec) -> list[dict[str, Any]]:
    """The options of an agent as a person reads them: name, type, default, limits, meaning."""
    schema = spec.config.model_json_schema()
    shared = schema.get("$defs", {})
    return [
        {
            "name": name,
            "type": _type(one, shared),
            "default": one.get("default"),
            "limits": _limits(one),
            "about": one.get("description", ""),
            "required": name in schema.get("required", ()),
        }
        for name, one in schema.get("properties", {}).items()
    ]


def _type(one: dict[str, Any], shared: dict[str, Any]) -> str:
    if "$ref" in one:
        name = str(one["$ref"]).rsplit("/", 1)[-1]
        return _type(shared.get(name, {"type": name}), shared)
    if "enum" in one:
        return " | ".join(str(value) for value in one["enum"])
    if "const" in one:
        return str(one["const"])
    if "anyOf" in one:
        return " | ".join(_type(each, shared) for each in one["anyOf"])
    if one.get("type") == "array":
        return f"list of {_type(one.get('items', {}), shared)}"
    return str(one.get("type", "anything"))


def _limits(one: dict[str, Any]) -> str:
    signs = (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
    parts = [one, *one.get("anyOf", ())]
    return ", ".join(f"{sign} {part[name]}" for part in parts for name, sign in signs if name in part)


def _settings(service: Service) -> list[dict[str, Any]]:
    """Every setting with its value, secrets masked. Where it came from is known at the command line alone."""
    return [{"key": row.key, "value": row.value} for row in setting_rows(Loaded(service.settings, {}))]
