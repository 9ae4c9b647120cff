"""Finds the backend for a model reference; a backend is imported when it is first asked for.

`backend/model` names both; any other text is a model of the configured server. A backend of another package is an entry
point of the group `mneme.llms`: a callable `(model | None, settings) -> LLM`. Source: style sheet §5.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, cast

from runtime.llm.base import LLM
from runtime.settings import Settings

BACKENDS = {
    "openai": "runtime.llm.openai:from_settings",
    "vllm": "gpu.sessions:from_settings",
    "scripted": "runtime.llm.scripted:from_settings",
}
# Our own engine is vLLM; its models are named like those of any configured server.
OWN_ENGINE = "gpu.sessions:own_engine"
GROUP = "mneme.llms"


class Maker(Protocol):
    """Builds a backend."""

    def __call__(self, model: str | None, settings: Settings) -> LLM: ...


def resolve(ref: str | None, settings: Settings) -> LLM:
    """The client for `ref`; None is the configured model."""
    ref = ref if ref is not None else settings.llm.model
    backend, _, model = (ref or "").partition("/")
    if backend in BACKENDS and model:
        return _load(BACKENDS[backend])(model, settings)
    for point in entry_points(group=GROUP):
        if point.name == backend:
            return cast(Maker, point.load())(model or None, settings)
    return _load(OWN_ENGINE if settings.llm.base_url is None else BACKENDS["openai"])(ref, settings)


def _load(path: str) -> Maker:
    module, _, name = path.partition(":")
    return cast(Maker, getattr(import_module(module), name))
