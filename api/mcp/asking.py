"""The tools over runs: ask an agent and wait for it; look at a run. Source: contract §4."""

from __future__ import annotations

from typing import Any, Final

import anyio

from agents.service import Service
from api.answers import json_bytes
from api.mcp import arguments
from api.mcp.calling import Call
from api.mcp.fitting import cost, cut, fitted
from api.openai.replies import ended
from api.routes.wire import memories_of, usage_of
from runtime.errors import MnemeError
from runtime.events import LlmCall, StepCompleted
from runtime.runs import RunRecord

GAVE_UP: Final = "the MCP client cancelled the call"
# Of each list of memories that a run touched; get_run shows more.
TOUCHED: Final = 100
# Quarters of the tokens that the text of an answer may take; the rest is for what is known beside it.
TEXT_SHARE: Final = 3


class RunFailedHere(MnemeError):
    """The run did not succeed; `members` are what is known of it."""

    def __init__(self, error: MnemeError, members: dict[str, Any]) -> None:
        super().__init__(error.message)
        self.code = error.code
        self.members = members


async def ask_agent(call: Call, given: arguments.AskAgent) -> dict[str, Any]:
    """Run an agent here and now and give its answer; a client that cancels the call cancels the run.

    Raises `RunFailedHere` for a run that failed or was cancelled by somebody else.
    """
    service, owner = call.caller.service, call.caller.identity.user_id
    live = await service.foreground(given.spec(call.caller.actor.context), owner=owner)
    try:
        told = 0
        async for payload in live.items():
            if isinstance(payload, LlmCall | StepCompleted):
                told += 1
                what = payload.purpose if isinstance(payload, LlmCall) else f"{payload.name} done"
                await call.report(told, f"{live.run_id}: {what}")
    except anyio.get_cancelled_exc_class():
        if live.end is None and call.caller.gave_up():
            with anyio.CancelScope(shield=True):
                await service.cancel(live.run_id, owner=owner, reason=GAVE_UP)
        raise
    assert live.end is not None
    run = await service.get(live.run_id, owner=owner)
    body = await _run(service, run, TOUCHED, arguments.MAX_TOKENS)
    try:
        ended(live.end, live.text)
    except MnemeError as error:
        raise RunFailedHere(error, {"run": body}) from error
    return body


async def get_run(call: Call, given: arguments.GetRun) -> dict[str, Any]:
    """A run of the caller."""
    service = call.caller.service
    run = await service.get(given.id, owner=call.caller.identity.user_id)
    return await _run(service, run, given.limit, given.max_tokens)


async def _run(service: Service, run: RunRecord, limit: int, max_tokens: int) -> dict[str, Any]:
    touched = memories_of(await service.store.events(run.id, limit=10_000, types=("memory.read", "memory.written")))
    kept = {name: items[:limit] for name, items in touched.items()}
    output = run.output if isinstance(run.output, dict) else {}
    text = output.get("text")
    detail = {name: value for name, value in output.items() if name != "text"}
    body: dict[str, Any] = {
        "id": run.id,
        "agent": run.agent,
        "model": run.model,
        "status": run.status,
        "text": None,
        "usage": usage_of(run.total_usage),
        "memories": {"read": [], "written": []},
        "created_at": run.created_at.isoformat(),
    }
    if run.finished_at is not None:
        body["finished_at"] = run.finished_at.isoformat()
    if run.error is not None:
        body["error"] = run.error
    left = max_tokens - cost(body)
    characters = 0
    if isinstance(text, str):
        said = cut(text, max(arguments.MIN_TOKENS // 2, left * TEXT_SHARE // 4), "ask get_run for more")
        body["text"], characters = said.text, said.left
        left -= cost(said.text)
    if detail and cost(detail) <= left // 2:
        body["detail"] = detail
        left -= cost(detail)
    elif detail:
        characters += len(json_bytes(detail))
    items = 0
    for name in ("read", "written"):
        shown = fitted(kept[name], left)
        body["memories"][name] = shown.items
        left -= cost(shown.items)
        items += len(touched[name]) - len(shown.items)
    if items or characters:
        note = f"{items} memories and {characters} characters left out by limit={limit} and max_tokens={max_tokens}"
        body["left_out"] = {"items": items, "characters": characters, "note": note}
    return body
