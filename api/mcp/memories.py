"""The tools over memories. Source: contract §4; memos §3.2, §3.4."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from api.both_versions import both_versions
from api.errors import PreconditionFailed
from api.mcp import arguments
from api.mcp.calling import Call
from api.mcp.fitting import Fitted, cost, cut, fitted
from api.mcp.results import remembered
from api.routes.measured import uplifts
from api.routes.memory_answers import iso
from memory.listing import MAX_PAGE
from memory.types import Actor, MemCube, Version
from memory.vault.vaults import Shown
from runtime.errors import Conflict, Stale

READ_ON: Final = "get_memory with offset={next} reads on"
# Of each of two versions that an overtaken edit is told.
BOTH_TOKENS: Final = 2000


async def search_memories(call: Call, given: arguments.SearchMemories) -> dict[str, Any]:
    """The hits that fit, the best first."""
    actor, memory = call.caller.actor, call.caller.memory
    found = await memory.search(actor, given.asked())
    measured = await uplifts(memory, actor, [hit.memory.id for hit in found.hits])
    hits = [
        {"memory": remembered(hit.memory, measured.get(hit.memory.id)), "score": hit.score, "why": hit.why}
        for hit in found.hits
    ]
    shown = fitted(hits, given.max_tokens, ("memory", "content"), READ_ON)
    return {"hits": shown.items, "degraded": list(found.degraded), **_left_out(shown, "memories", given.max_tokens)}


async def get_memory(call: Call, given: arguments.GetMemory) -> dict[str, Any]:
    """One memory, from a place of its text on, and its latest versions."""
    actor, memory = call.caller.actor, call.caller.memory
    cube = await memory.get(actor, given.id)
    history = (await memory.history(actor, given.id))[: given.limit] if given.limit else []
    measured = await uplifts(memory, actor, [cube.id])
    body = {**remembered(cube, measured.get(cube.id)), "content": cube.content[given.offset :]}
    read_on = "call again with offset={next}"
    first = fitted([body], given.max_tokens, ("content",), read_on, given.offset)
    if not first.items:
        # Its header alone is too long: then the text is what was asked for.
        few = {name: body[name] for name in _HEADER}
        first = fitted([few], given.max_tokens, ("content",), read_on, given.offset)
    rest = fitted([_before(version) for version in history], given.max_tokens - cost(first.items), ("content",))
    shown = Fitted([], rest.items_left, first.characters_left + rest.characters_left)
    return {"memory": first.items[0], "versions": rest.items, **_left_out(shown, "versions", given.max_tokens)}


async def add_memory(call: Call, given: arguments.AddMemory) -> dict[str, Any]:
    """Store one memory. Raises `Conflict` when admission refuses it."""
    [added] = await call.caller.memory.add(call.caller.actor, [given.draft()], vault=given.vault)
    if added.memory is None:
        why = "; ".join(added.reasons) or "admission refused it"
        raise added.error or Conflict(f"the memory was not stored: {why}", param="content")
    return {
        **_place(added.memory),
        "vault": added.memory.vault_id,
        "created": added.created,
        "admission": added.outcome,
        "reasons": list(added.reasons),
    }


async def update_memory(call: Call, given: arguments.UpdateMemory) -> dict[str, Any]:
    """Make the next version. Raises `PreconditionFailed` with both versions when the one that was seen is not current."""
    async with _both_versions(call, given.id):
        cube = await call.caller.memory.edit(call.caller.actor, given.id, given.change(), expect=given.version)
    return {**_place(cube), "vault": cube.vault_id}


async def delete_memory(call: Call, given: arguments.DeleteMemory) -> dict[str, Any]:
    """Take a memory out of sight. Raises as `update_memory` does."""
    async with _both_versions(call, given.id):
        cube = await call.caller.memory.delete(call.caller.actor, given.id, expect=given.version, reason=given.reason)
    return {**_place(cube), "purge_after": iso(cube.purge_after)}


async def list_vaults(call: Call, given: arguments.ListVaults) -> dict[str, Any]:
    """The vaults that the caller may do something in."""
    actor = call.caller.actor
    found = await call.caller.memory.vaults.list(actor, after=given.after, limit=MAX_PAGE)
    shown = fitted([_vault(item, actor) for item in found[: given.limit]], given.max_tokens)
    shown = shown._replace(items_left=len(found) - len(shown.items))
    return {"vaults": shown.items, **_left_out(shown, "vaults", given.max_tokens)}


_HEADER: Final = (
    "id",
    "vault",
    "version",
    "state",
    "semantic_type",
    "content",
    "origin",
    "confidence",
    "recorded_at",
    "updated_at",
)


def _place(cube: MemCube) -> dict[str, Any]:
    return {"id": cube.id, "version": cube.version, "state": cube.state}


def _vault(item: Shown, actor: Actor) -> dict[str, Any]:
    return {
        "id": item.vault.id,
        "name": item.vault.name,
        "kind": item.vault.kind,
        "yours": item.vault.owner_id == actor.user_id,
        "verbs": sorted(item.verbs),
        "memories": item.memories,
        "archived": item.vault.archived_at is not None,
    }


def _before(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "change": version.change,
        "reason": version.reason,
        "actor": version.actor_id,
        "at": iso(version.sys_from),
        "content": None if version.redacted else version.content,
    }


def _left_out(shown: Fitted, what: str, max_tokens: int) -> dict[str, Any]:
    """Nothing when nothing is."""
    if not shown.items_left and not shown.characters_left:
        return {}
    parts = [f"{shown.items_left} {what}"] if shown.items_left else []
    parts += [f"{shown.characters_left} characters"] if shown.characters_left else []
    note = f"{' and '.join(parts)} left out by limit and max_tokens={max_tokens}; ask for more, or more narrowly"
    return {"left_out": {"items": shown.items_left, "characters": shown.characters_left, "note": note}}


@asynccontextmanager
async def _both_versions(call: Call, memory_id: str) -> AsyncIterator[None]:
    """Let a `Stale` carry what the caller needs to edit again."""
    try:
        yield
    except Stale as stale:
        raise PreconditionFailed(stale, await _members(call, memory_id, stale)) from stale


async def _members(call: Call, memory_id: str, stale: Stale) -> dict[str, Any]:
    seen, current = await both_versions(call.caller.memory, call.caller.actor, memory_id, stale)
    return {"seen": _short(seen, stale.expected), "current": _short(current, stale.current)}


def _short(version: Version | None, number: int) -> dict[str, Any]:
    if version is None:
        return {"version": number}
    body = _before(version)
    if version.content and not version.redacted:
        body["content"] = cut(version.content, BOTH_TOKENS, "get_memory gives the rest").text
    return body
