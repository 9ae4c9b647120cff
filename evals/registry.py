"""Suites by name: a line here, or an entry point of the group `mneme.suites`. Source: style sheet §5."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Final, cast

from pydantic import BaseModel, JsonValue, ValidationError

from evals.base import Suite
from runtime.errors import InvalidInput, UnknownName, boundary

SUITES: Final = {
    "aime": "evals.suites.competition:Aime",
    "arc1": "evals.suites.arc:Arc1",
    "arc1d": "evals.suites.reasoning:Arc1d",
    "arc2": "evals.suites.arc:Arc2",
    "gsm8k": "evals.suites.competition:Gsm8k",
    "hmmt": "evals.suites.competition:Hmmt",
    "math500": "evals.suites.competition:Math500",
    "reasoning": "evals.suites.reasoning:Reasoning",
    "small": "evals.suites.small:Small",
}
GROUP: Final = "mneme.suites"


@cache
def names() -> tuple[str, ...]:
    """Every suite there is, sorted."""
    return tuple(sorted({*SUITES, *(point.name for point in entry_points(group=GROUP))}))


@cache
def get(name: str) -> Suite:
    """The suite of that name. Raises `UnknownName`, and `MnemeError` when its package is broken."""
    if name in SUITES:
        module, _, attribute = SUITES[name].partition(":")
        return cast(Suite, getattr(import_module(module), attribute)())
    for point in entry_points(group=GROUP):
        if point.name == name:
            with boundary(f"suite {name!r} from entry point {point.value!r}"):
                return cast(Suite, point.load()())
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UnknownName(f"suite {name!r}: no such suite; expected one of {', '.join(names())}{hint}", param="suite")


def known(name: str) -> Suite | None:
    """The suite of that name; None when the package that had it is gone, so that its evaluations can still be read."""
    return get(name) if name in names() else None


def options_of(suite: Suite, given: Mapping[str, JsonValue]) -> BaseModel:
    """The options of a suite. Raises `InvalidInput` naming the one that is wrong."""
    try:
        return suite.spec.options.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(suite.spec.options.model_fields) or "none"
        raise InvalidInput(
            f"option {key!r} of suite {suite.spec.name!r}: {first['msg']}; known options: {known}", param="options"
        ) from error
