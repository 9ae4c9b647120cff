"""Everything that must be on disk before the model server can start: the engine's environment and the model.

`mneme models pull`, the set-up and the server itself call it; it does nothing, quickly, when all is there. Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gpu.engine_env import Engine, engine_for, ensure_engine, is_complete
from gpu.packaged_models import ModelFolder, ensure_model, is_model_ready
from gpu.progress import Progress, Report, silent
from runtime.settings import Settings


class Prepared(NamedTuple):
    """What a server can be started with."""

    engine: Engine
    model: ModelFolder


async def prepare(
    settings: Settings, report: Report = silent, *, model: str | None = None, environ: Mapping[str, str] | None = None
) -> Prepared:
    """Make what is missing; `model` overrides `engine.model`. A Hugging Face name is fetched by the engine itself.

    Raises `EngineError` or `UnknownName`, naming what failed and the fix. Safe to repeat and to run twice at a time.
    """
    made = False

    def noticing(progress: Progress) -> None:
        nonlocal made
        made = True
        report(progress)

    found = await ensure_model(settings, noticing, model=model, environ=environ)
    engine = await ensure_engine(settings, noticing, environ=environ)
    if made:
        report(Progress("done", f"{found.served_name} on {engine.name} {engine.version}"))
    return Prepared(engine, found)


def is_prepared(settings: Settings) -> bool:
    """True when `prepare` has nothing to do."""
    return is_complete(engine_for(settings), settings.home) and is_model_ready(settings)
