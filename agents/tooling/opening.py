"""The tools of a process, and those of one run: which there are, which the run may use, and what a call goes through.

`Tooling` knows what the settings offer and is one for a process. `RunTooling` is what one run may use; its `list` is the
output of a step, so a run that goes on has the tools that it began with, whatever the servers list by then. A server that
cannot be asked then is left out, and the log of the run says so. `RunTools` are the tools of an agent, see
agents/tooling/base.py. Source: tim §3.4, §5; ours.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio

from agents.remembering import Remembering
from agents.tooling import memory_search, python
from agents.tooling.base import SEPARATOR, Call, Offer, ToolAnswer, Tools, ToolSource
from agents.tooling.cutting import cut
from agents.tooling.mcp import McpServers
from agents.tooling.memory_search import MemorySearch
from agents.tooling.python import PythonTool
from agents.tooling.schemas import faults
from runtime.errors import InvalidInput, MnemeError, RunStopped, boundary
from runtime.sandbox.base import Sandbox
from runtime.settings import BUILT_IN_TOOLS, Settings
from runtime.telemetry import get_logger
from runtime.types import JsonObject, ToolSpec

log = get_logger(__name__)


class Tooling:
    """What the settings offer. Servers are reached while `servers.run` is going."""

    def __init__(self, settings: Settings) -> None:
        self.servers = McpServers(settings.tools)
        self._settings = settings

    def check(self, names: Sequence[str] | None) -> None:
        """Refuse what no run can have, without asking any server. Raises `InvalidInput` naming what there is."""
        enabled = self._settings.tools.enabled
        known = list(enabled) if enabled is not None else [*BUILT_IN_TOOLS, *self.servers.by_name]
        for name in names or ():
            there = name in BUILT_IN_TOOLS or _source(name) in self.servers.by_name
            if not there or not (_selects(enabled, name) or _any_of(enabled, name)):
                raise _unknown(name, known)

    def of_run(self, *, sandbox: Sandbox | None, remembering: Remembering | None, owner: str) -> RunTooling:
        """What the run of `owner` may use; its programs run in `sandbox`, its searches go through `remembering`."""
        search = MemorySearch(remembering)
        seconds = self._settings.sandbox.seconds
        sources: dict[str, ToolSource] = {
            python.NAME: PythonTool(sandbox, tenant=owner, most_seconds=seconds),
            memory_search.NAME: search,
            **self.servers.by_name,
        }
        # Nobody is offered a search that finds nothing; who asks for it by name is.
        unasked = {name for name in sources if name != memory_search.NAME or search.useful}
        return RunTooling(sources, enabled=self._settings.tools.enabled, unasked=unasked)


class RunTooling:
    """What one run may use. `unasked`: the sources that it is offered when it names no tools."""

    def __init__(
        self, sources: Mapping[str, ToolSource], *, enabled: Sequence[str] | None, unasked: Collection[str]
    ) -> None:
        self._sources = sources
        self._enabled = enabled
        self._unasked = unasked

    async def list(self, names: Sequence[str] | None) -> JsonObject:
        """The named tools, or all, as JSON for `tools`: `tools`, and why of each server that was left out (`missing`).

        Raises `InvalidInput` for a name that there is not, with those that there are.
        """
        enabled = [source for source in self._sources if _any_of(self._enabled, source)]
        wanted = [source for source in enabled if source in self._unasked or names is not None]
        wanted = [source for source in wanted if _any_of(names, source)]
        found: dict[str, Sequence[Offer]] = {}
        missing: dict[str, str] = {}

        async def ask(source: str) -> None:
            try:
                found[source] = await self._sources[source].offers()
            except MnemeError as error:
                log.warning("tools.unavailable", source=source, reason=error.message)
                missing[source] = error.message

        async with anyio.create_task_group() as asking:
            for source in wanted:
                asking.start_soon(ask, source)
        offers = [
            offer for source in wanted for offer in found.get(source, ()) if _selects(self._enabled, offer.spec.name)
        ]
        there = [offer.spec.name for offer in offers]
        for name in names or ():
            source = _source(name)
            if source not in missing and name not in there and (name != source or source not in wanted):
                raise _unknown(name, [*there, *(source for source in enabled if source not in wanted)])
        chosen = [_to_json(offer) for offer in offers if _selects(names, offer.spec.name)]
        return {"tools": [*chosen], "missing": {source: missing[source] for source in wanted if source in missing}}

    def names(self, listed: Mapping[str, Any]) -> Sequence[str]:
        """The names of the tools that `list` gave."""
        return [each["name"] for each in listed["tools"]]

    def tools(self, listed: Mapping[str, Any], *, result_tokens: int) -> Tools:
        """The tools that `list` gave, now or in an earlier execution. `result_tokens`: what a result may have."""
        return RunTools([_from_json(each) for each in listed["tools"]], self._sources, result_tokens)


class RunTools:
    """See `Tools`."""

    def __init__(
        self,
        offers: Sequence[Offer],
        sources: Mapping[str, ToolSource],
        result_tokens: int,
        *,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._offers = {offer.spec.name: offer for offer in offers}
        self._sources = sources
        self._result_tokens = result_tokens
        self._clock = clock

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """See `Tools`."""
        return tuple(offer.spec for offer in self._offers.values())

    async def call(self, name: str, parameters: JsonObject, *, timeout_s: float, step: Any) -> ToolAnswer:
        """See `Tools`."""
        began = self._clock()
        offer, source = self._offers.get(name), self._sources.get(_source(name))
        if offer is None:
            return ToolAnswer.failed("unknown_tool", known=[*self._offers])
        if source is None:
            return ToolAnswer.failed("unavailable", detail=f"{_source(name)!r} is not in the settings any more")
        wrong = faults(offer.spec.parameters, parameters)
        if wrong:
            return self._cut(ToolAnswer.failed("invalid_parameters", detail="; ".join(wrong)))
        call = Call(name, parameters, timeout_s, step)
        answer, again = await _once(source, call)
        if again and offer.idempotent:
            answer, _ = await _once(source, call)
        return self._cut(replace(answer, elapsed_s=self._clock() - began))

    async def shown(self, name: str, answer: ToolAnswer) -> ToolAnswer:
        """See `Tools`."""
        source = self._sources.get(_source(name))
        if not answer.ok or source is None or answer.truncated:
            return answer
        try:
            with boundary(f"tool {name!r}"):
                return self._cut(replace(answer, data=await source.show(answer.data)))
        except RunStopped:
            raise
        except MnemeError as error:
            return ToolAnswer.failed("exception", elapsed_s=answer.elapsed_s, detail=error.message)

    def _cut(self, answer: ToolAnswer) -> ToolAnswer:
        data, truncated = cut(answer.data, self._result_tokens)
        return replace(answer, data=data, truncated=True) if truncated else answer


async def _once(source: ToolSource, call: Call) -> tuple[ToolAnswer, bool]:
    """One try, and whether another may help: nothing was said about the call itself."""
    try:
        with anyio.move_on_after(call.seconds), boundary(f"tool {call.name!r}"):
            answer = await source.run(call)
            return answer, answer.error == "unavailable"
    except RunStopped:
        raise
    except MnemeError as error:
        return ToolAnswer.failed("exception", detail=error.message), True
    return ToolAnswer.failed("timeout", detail=f"no answer within {call.seconds:g} s"), True


def _source(name: str) -> str:
    return name.partition(SEPARATOR)[0]


def _selects(names: Collection[str] | None, name: str) -> bool:
    return names is None or name in names or _source(name) in names


def _any_of(names: Collection[str] | None, source: str) -> bool:
    """Whether the source, or some tool of it, is among the names."""
    return names is None or any(_source(name) == source for name in names)


def _unknown(name: str, known: Sequence[str]) -> InvalidInput:
    return InvalidInput(f"tool {name!r}: expected one of {', '.join(known) or 'none'}", param="config.tools")


def _to_json(offer: Offer) -> JsonObject:
    spec = offer.spec
    return {
        "name": spec.name,
        "description": spec.description,
        "parameters": spec.parameters,
        "idempotent": offer.idempotent,
    }


def _from_json(data: Mapping[str, Any]) -> Offer:
    return Offer(ToolSpec(data["name"], data["description"], data["parameters"]), data["idempotent"])
