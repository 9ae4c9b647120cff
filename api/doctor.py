"""What `mneme doctor` says: every setting with its origin, and every dependency, reached or not, why, and the fix.

It looks and changes nothing: no file is made, no schema upgraded, no server started. Each examination stands alone, so
one broken part does not hide the others. Secrets are masked. Source: contract §2; ours.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import psutil
from pydantic import BaseModel, SecretStr

from agents.service import Check
from agents.tooling.mcp import McpServers
from api import doctor_store
from api.model_server import check, is_own, own_url, seen, with_base_url
from gpu.engine_env import engine_for, is_complete
from gpu.packaged_models import is_model_ready
from runtime import migrate
from runtime.db import open_database
from runtime.errors import MnemeError, ModelError, SandboxUnavailable, boundary
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.llm.registry import resolve
from runtime.sandbox.pool import choose
from runtime.sandbox.probe import offered
from runtime.settings import Loaded, Settings, known_keys

OURS: Final = ("agents", "memory", "search", "runtime", "gpu", "api", "evals")
LOW_DISK_BYTES: Final = 2_000_000_000
MASK: Final = "••••"
CONFIGURE: Final = "set MNEME_LLM__BASE_URL to a model server"

Examination = tuple[str, Callable[[Settings], Awaitable[Check]]]


@dataclass(frozen=True, slots=True)
class SettingRow:
    """One setting: its value as it may be shown, and where it came from."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was seen."""

    settings: Sequence[SettingRow]
    checks: Sequence[Check]

    @property
    def ok(self) -> bool:
        return all(line.ok for line in self.checks)

    def to_json(self) -> dict[str, Any]:
        """The form of `mneme doctor --json`."""
        return {
            "ok": self.ok,
            "settings": [asdict(row) for row in self.settings],
            "checks": [asdict(line) for line in self.checks],
        }


async def examine(loaded: Loaded) -> Diagnosis:
    """Look at everything. Raises nothing: what fails is a line of the result."""
    settings = loaded.settings
    examinations: list[Examination] = [
        ("python", _python),
        ("names", _names),
        ("disk", _disk),
        ("database", _database),
        ("keys", _keys),
        ("traces", _traces),
        ("encoder", doctor_store.encoder),
        ("index", doctor_store.index),
        ("memories", doctor_store.backlog),
        ("sandbox", _sandbox),
        *((f"tools {name}", partial(_tool_server, name=name)) for name in settings.tools.mcp),
        *_model_checks(settings),
    ]
    checks = []
    for name, look in examinations:
        try:
            with boundary(name):
                checks.append(await look(settings))
        except MnemeError as error:
            checks.append(Check(name, False, mask_urls(error.message), "the text above names the cause"))
    return Diagnosis(list(setting_rows(loaded)), checks)


def setting_rows(loaded: Loaded) -> Iterator[SettingRow]:
    """Every setting in the order of its definition, secrets masked."""
    for key in known_keys():
        value: Any = loaded.settings
        for part in key.split("."):
            value = getattr(value, part)
        yield SettingRow(key, _shown(value), loaded.origins.get(key, "default"))


def mask_urls(text: str) -> str:
    """Hide the credentials of every URL in a text."""
    return re.sub(r"(//[^:@/\s]*):[^@/\s]*@", rf"\1:{MASK}@", text)


def other_owners(installed: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Which of our top-level names another distribution provides as well; `installed` maps names to distributions."""
    found = {name: sorted({d for d in installed.get(name, ()) if d.lower() != "mneme"}) for name in OURS}
    return {name: others for name, others in found.items() if others}


def _shown(value: Any) -> Any:
    match value:
        case SecretStr():
            return MASK
        case Path():
            return str(value)
        case str():
            return mask_urls(value)
        case BaseModel():
            return {name: _shown(getattr(value, name)) for name in type(value).model_fields if getattr(value, name)}
        case dict():
            return {name: _shown(each) for name, each in value.items()}
        case _:
            return value


async def _python(settings: Settings) -> Check:
    number = ".".join(map(str, sys.version_info[:3]))
    return Check("python", sys.version_info >= (3, 11), f"{number} at {sys.executable}", "use Python 3.11 or later")


async def _names(settings: Settings) -> Check:
    others = other_owners(packages_distributions())
    if not others:
        return Check("names", True, f"{', '.join(OURS)}: provided by mneme alone")
    detail = "; ".join(f"{name!r} is also provided by {', '.join(who)}" for name, who in others.items())
    return Check("names", False, detail, "give Mneme an environment of its own, or uninstall the other package")


async def _disk(settings: Settings) -> Check:
    place = settings.home
    while not place.exists():
        place = place.parent
    free = psutil.disk_usage(str(place)).free
    detail = f"{free / 1e9:.1f} GB free at {settings.home}"
    return Check("disk", free >= LOW_DISK_BYTES, detail, "free space there, or set MNEME_HOME to a larger disk")


async def _database(settings: Settings) -> Check:
    where = mask_urls(settings.database_url)
    found = await anyio.to_thread.run_sync(migrate.current, settings)
    wanted = migrate.head()
    if found == wanted:
        return Check("database", True, f"{where}, schema {found}")
    return Check("database", False, f"{where}: schema {found or 'missing'}, needed {wanted}", "mneme db upgrade")


async def _keys(settings: Settings) -> Check:
    if settings.loopback and not settings.auth_required:
        return Check("keys", True, f"not needed on {settings.server.host}")
    fix = "mneme keys create NAME"
    if await anyio.to_thread.run_sync(migrate.current, settings) is None:
        return Check("keys", False, "there is no database yet, so there is no API key", fix)
    database = open_database(settings)
    try:
        some = await KeyStore(database, SYSTEM).any_active()
    finally:
        await database.aclose()
    return Check("keys", some, "an API key exists" if some else "there is no API key, and one is required", fix)


async def _traces(settings: Settings) -> Check:
    endpoint = settings.telemetry.otlp_endpoint
    if endpoint is None:
        return Check("traces", True, "off; nothing is sent")
    there = find_spec("opentelemetry.exporter") is not None
    return Check("traces", there, f"sent to {mask_urls(endpoint)}", "pip install 'mneme[otlp]'")


async def _sandbox(settings: Settings) -> Check:
    offer = await anyio.to_thread.run_sync(offered)
    try:
        level = choose(offer, settings.sandbox)
    except SandboxUnavailable as error:
        return Check("sandbox", False, error.message, "what is missing stands above; docs/operations.md, Sandbox")
    return Check("sandbox", True, f"{offer}; a server runs no code at this level" if level == "reduced" else str(offer))


async def _tool_server(settings: Settings, name: str) -> Check:
    servers = McpServers(settings.tools)
    async with anyio.create_task_group() as tasks:
        await tasks.start(servers.run)
        try:
            offers = await servers.by_name[name].offers()
            check = Check(f"tools {name}", True, ", ".join(offer.spec.name for offer in offers) or "lists no tools")
        except MnemeError as error:
            check = Check(f"tools {name}", False, mask_urls(error.message), f"correct or start `tools.mcp.{name}`")
        tasks.cancel_scope.cancel()
    return check


def _model_checks(settings: Settings) -> list[Examination]:
    if settings.llm.base_url is None and is_own(settings):
        return [("engine", _engine), ("model", _model), ("model server", _own_server)]
    return [("model server", _configured_server)]


async def _engine(settings: Settings) -> Check:
    engine = engine_for(settings)
    where = f"{engine.name} {engine.version} at {engine.folder(settings.home)}"
    if is_complete(engine, settings.home):
        return Check("engine", True, where)
    return Check("engine", False, f"{where}: not installed", f"mneme models pull, or {CONFIGURE}")


async def _model(settings: Settings) -> Check:
    name = settings.engine.model
    if is_model_ready(settings):
        return Check("model", True, f"{name!r} is there")
    return Check("model", False, f"{name!r} is not there, or not whole", "mneme models pull")


async def _own_server(settings: Settings) -> Check:
    if seen(settings) is not None:
        return check(settings)
    where = own_url(settings)
    names = await _names_at(with_base_url(settings))
    if isinstance(names, str):
        return Check("model server", True, f"{where}: not running; `mneme serve` starts it")
    return Check("model server", True, f"{where}: answers, and nobody of ours watches it: {', '.join(names)}")


async def _configured_server(settings: Settings) -> Check:
    where = mask_urls(settings.llm.base_url or settings.llm.model or "")
    names = await _names_at(settings)
    if isinstance(names, str):
        fix = "start it, or correct MNEME_LLM__BASE_URL and MNEME_LLM__API_KEY"
        return Check("model server", False, mask_urls(names), fix)
    model = settings.llm.model
    if model is not None and model not in names and not model.startswith("scripted/"):
        detail = f"{where} does not offer {model!r}; it offers {', '.join(names)}"
        return Check("model server", False, detail, "correct MNEME_LLM__MODEL")
    return Check("model server", True, f"{where}: {', '.join(names)}")


async def _names_at(settings: Settings) -> Sequence[str] | str:
    """The models that the server offers, or why it cannot be asked."""
    client = resolve(None, settings)
    try:
        return await client.models()
    except ModelError as error:
        return error.message
    finally:
        await client.aclose()
