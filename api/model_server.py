"""The model server that stands behind this service: the configured one, or our own, whose state is left in a file.

The file is how every process, `doctor` and `/ready` know what the one process that watches the server sees. It is
believed only as long as that process lives. Source: ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

import psutil

from agents.service import Check, Probe
from gpu.server import ModelServer
from gpu.server_state import ServerState
from runtime.settings import Settings
from runtime.telemetry import get_logger, metrics

log = get_logger(__name__)

COMING_UP: Final = frozenset({"installing", "converting", "starting", "restarting"})


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of our own model server: its phase, why, its log, how often it was restarted."""

    phase: str
    detail: str
    log: str
    restarts: int
    watcher: int


def own_url(settings: Settings) -> str:
    """Where our own model server listens."""
    host = settings.engine.host
    return f"http://{'127.0.0.1' if host in {'0.0.0.0', '::'} else host}:{settings.engine.port}/v1"


def server_url(settings: Settings) -> str:
    """Where the model server is, ours or the configured one."""
    return settings.llm.base_url or own_url(settings)


def is_own(settings: Settings) -> bool:
    """True when the model server is one that we start: none is configured, and the model is not a scripted one."""
    scripted = (settings.llm.model or "").startswith("scripted/")
    return settings.llm.base_url in {None, own_url(settings)} and not scripted


def with_base_url(settings: Settings) -> Settings:
    """The settings with the address of our own model server filled in; no key of another server is sent there."""
    if settings.llm.base_url is not None or not is_own(settings):
        return settings
    llm = settings.llm.model_copy(update={"base_url": own_url(settings), "api_key": None})
    return settings.model_copy(update={"llm": llm})


def seen(settings: Settings) -> Seen | None:
    """What a watching process saw last; None when nobody watches. One that sees it ready knows best."""
    found = []
    for path in _folder(settings).glob(f"{settings.engine.port}.*.state"):
        try:
            state = Seen(**json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            continue
        if psutil.pid_exists(state.watcher):
            found.append(state)
    return max(found, key=lambda state: state.phase == "ready", default=None)


def probe(settings: Settings) -> Probe | None:
    """What `/ready` asks about our own model server; None when there is none."""
    return partial(check, settings) if is_own(settings) else None


def check(settings: Settings) -> Check:
    """How our own model server stands, as its watcher sees it."""
    state = seen(settings)
    where = own_url(settings)
    if state is None:
        return Check("model server", False, f"{where}: nobody watches it", "start `mneme serve`")
    detail = f"{where}: {state.phase}, {state.detail} (restarts: {state.restarts}, log: {state.log})"
    fix = "wait; it is coming up" if state.phase in COMING_UP else "read the log, or set MNEME_LLM__BASE_URL"
    return Check("model server", state.phase == "ready", detail, "" if state.phase == "ready" else fix)


@asynccontextmanager
async def with_model_server(settings: Settings) -> AsyncIterator[Settings]:
    """Start and watch our own model server, unless one is configured, and give out settings that name it.

    It comes up in the background; until then model calls fail as unavailable. Stopped behind the block.
    """
    if settings.llm.base_url is not None or not is_own(settings):
        metrics.model_server("external")
        yield settings
        return

    path = _folder(settings) / f"{settings.engine.port}.{os.getpid()}.state"
    path.parent.mkdir(parents=True, exist_ok=True)
    phase = ""

    def note(state: ServerState) -> None:
        nonlocal phase
        unfinished = path.with_suffix(".partial")
        unfinished.write_text(json.dumps(asdict(_seen_of(state))), encoding="utf-8")
        unfinished.replace(path)
        if state.phase != phase:
            phase = state.phase
            metrics.model_server(phase)
            log.info("model_server", phase=phase, detail=state.detail, restarts=state.restarts)

    try:
        async with ModelServer(settings, on_state=note):
            yield with_base_url(settings)
    finally:
        path.unlink(missing_ok=True)


def _seen_of(state: ServerState) -> Seen:
    return Seen(state.phase, state.detail, state.log, state.restarts, os.getpid())


def _folder(settings: Settings) -> Path:
    return settings.home / "engines" / "run"
