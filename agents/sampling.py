"""The sampling fields and tools of a chat request, as the values a model call takes. Source: OpenAI chat protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from runtime.errors import InvalidInput
from runtime.runs import RunSpec
from runtime.types import JsonObject, Sampling, ToolSpec

KNOWN = frozenset(field.name for field in fields(Sampling)) - {"extra", "stop"}


def sampling_of(spec: RunSpec, *, seed: int | None = None, temperature: float | None = None) -> Sampling:
    """What the request asked for; what Mneme has no name for goes through as it is.

    `seed` takes the place of the run's; `temperature` counts when the request names none.
    """
    wanted = dict(spec.sampling)
    stop = wanted.pop("stop", None)
    known: dict[str, Any] = {name: wanted.pop(name) for name in list(wanted) if name in KNOWN}
    if isinstance(stop, str):
        stops: tuple[str, ...] = (stop,)
    else:
        stops = tuple(str(text) for text in stop) if isinstance(stop, list) else ()
    known = {"seed": spec.seed, **known}
    if seed is not None:
        known["seed"] = seed
    if known.get("temperature") is None:
        known["temperature"] = temperature
    return Sampling(**known, stop=stops, extra=tuple(sorted(wanted.items())))


def tools_of(tools: Sequence[JsonObject]) -> tuple[ToolSpec, ...]:
    """The tools of the request. Raises `InvalidInput` for anything but functions."""
    specs: list[ToolSpec] = []
    for number, tool in enumerate(tools):
        function = tool.get("function")
        if tool.get("type") != "function" or not isinstance(function, dict) or not function.get("name"):
            raise InvalidInput(
                f"tools.{number}: expected {{'type': 'function', 'function': {{'name': …}}}}", param=f"tools.{number}"
            )
        parameters = function.get("parameters")
        strict = function.get("strict")
        specs.append(
            ToolSpec(
                name=str(function["name"]),
                description=str(function.get("description") or ""),
                parameters=parameters if isinstance(parameters, dict) else {"type": "object", "properties": {}},
                strict=strict if isinstance(strict, bool) else None,
            )
        )
    return tuple(specs)
