"""Agents by name. An agent is one folder plus its line here, or an entry point of the group `mneme.agents`.

Modules are imported when an agent is first asked for, or all of them by `load`. Source: style sheet §5.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import cast

from agents.base import Agent
from runtime.errors import MnemeError, UnknownName, boundary
from runtime.telemetry import get_logger

log = get_logger(__name__)

AGENTS = {
    "arcmemo": "agents.arc_memo.agent:ArcMemo",
    "best-of-n": "agents.best_of_n.agent:BestOfN",
    "direct": "agents.direct.agent:Direct",
    "empirical-mcts": "agents.empirical_mcts.agent:EmpiricalMCTS",
    "self-consistency": "agents.self_consistency.agent:SelfConsistency",
    "tim": "agents.tim.agent:Tim",
}
GROUP = "mneme.agents"


@cache
def names() -> tuple[str, ...]:
    """Every agent there is, sorted."""
    return tuple(sorted({*AGENTS, *(point.name for point in entry_points(group=GROUP))}))


@cache
def get(name: str) -> Agent:
    """The agent of that name. Raises `UnknownName`, and `MnemeError` when its package is broken."""
    if name in AGENTS:
        module, _, attribute = AGENTS[name].partition(":")
        return cast(Agent, getattr(import_module(module), attribute)())
    for point in entry_points(group=GROUP):
        if point.name == name:
            with boundary(f"agent {name!r} from entry point {point.value!r}"):
                return cast(Agent, point.load()())
    near = difflib.get_close_matches(name, names(), n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UnknownName(f"agent {name!r}: no such agent; expected one of {', '.join(names())}{hint}", param="agent")


def load() -> None:
    """Import every agent; takes about a second of processor. One whose package is broken is named in the log, and whoever
    asks for it is told why."""
    for name in names():
        try:
            get(name)
        except MnemeError as error:
            log.warning("agent.broken", agent=name, error=error.message)
