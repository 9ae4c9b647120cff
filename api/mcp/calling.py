"""Who calls a tool, and what a tool is. Source: MCP, tools; contract §4."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from agents.service import Service
from memory.service import Memory
from memory.types import Actor
from runtime.keys import Identity, Scope

Report = Callable[[float, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: known from the credential of the request, or as the user of this machine; never from arguments.

    `gave_up` says, once the call is being cancelled, whether the client wants that, rather than the service that stops.
    """

    service: Service
    identity: Identity
    actor: Actor
    gave_up: Callable[[], bool]

    @property
    def memory(self) -> Memory:
        return self.service.memory


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool. `report` tells a client that wants to hear it how far the call is."""

    caller: Caller
    report: Report


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: what a model is told about it, what it takes and gives, the scope that its caller needs.

    `run` gives the fields of `gives` as JSON. It raises `MnemeError`s, which the model is told.
    """

    name: str
    title: str
    description: str
    takes: type[BaseModel]
    gives: type[BaseModel]
    scope: Scope
    run: Callable[[Call, Any], Awaitable[dict[str, Any]]]
    reads: bool = False
    destroys: bool = False
    repeatable: bool = False
    open_world: bool = False
