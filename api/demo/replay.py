"""Two training tasks of ARC-AGI-1, where a script speaks for the model, so that the way to a memory and back is seen whole.

The first task is solved at the second try, and a concept that is new is learned from it. The second one selects this
concept and is solved with it in the prompt. What the model says stands in replay.toml; the service, the sandbox, the
memory and what the prompts hold are as they always are. Source: arcmemo §3.3, §3.6; ours.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agents.build import open_service
from agents.service import Service
from api.cli.arc_task import ArcRun
from api.demo.puzzles import learn_names, sandbox_is_there, show_grids
from api.demo.telling import Told, heading, indented
from api.routes.wire import run_body
from memory.listing import Where
from memory.types import Actor, MemCube
from runtime.errors import MnemeError
from runtime.events import data_of
from runtime.llm.base import Chunk
from runtime.llm.scripted_process import ScriptedProcess, scripted_process
from runtime.run_types import RunSpec
from runtime.settings import LLMSettings, Settings

SCRIPT: Final = Path(__file__).with_name("replay.toml")
CONCEPT: Final = "lay out turned copies"
FIRST: Final = "arc1:46442a0e"
SECOND: Final = "arc1:8d5021e8"


@dataclass(frozen=True, slots=True)
class Stage:
    """A service in this process over the store of the demo, and the model server that it asks: the script."""

    service: Service
    actor: Actor
    model: ScriptedProcess

    def prompts(self, run_id: str, purpose: str) -> list[str]:
        """The last message of each request of a run for a purpose, as it came in at the model server."""
        asked = [each for each in self.model.requests() if (each["run"], each["purpose"]) == (run_id, purpose)]
        return [str(each["body"]["messages"][-1]["content"]) for each in asked]


@asynccontextmanager
async def stage(settings: Settings) -> AsyncIterator[Stage]:
    """Open it; runs that wait in the queue of the store are left to others."""
    with scripted_process(SCRIPT.read_text(encoding="utf-8")) as model:
        scripted = settings.model_copy(update={"llm": LLMSettings(base_url=model.url, model="scripted")})
        async with open_service(scripted, take_queued=False, serving=False) as service:
            yield Stage(service, Actor((await service.keys.local()).user_id), model)


async def replay(stage: Stage, told: Told, vault: str) -> None:
    """Play both tasks. Raises `MnemeError` when one is not solved, or the second prompt lacks what the first taught."""
    heading("3. Two more training tasks, with a script in the place of the model")
    print("   The words of the model come from api/demo/replay.toml. Everything else is real: the tasks, the programs,")
    print("   the sandbox that runs them and what comes of it, the memory, and what the prompts hold.")
    if not await sandbox_is_there(stage.service.settings, serving=False):
        return
    if await _concept(stage, vault) is not None:
        raise MnemeError(f"vault {vault!r} holds the concept {CONCEPT!r} already; expected a vault without it")
    first = await _played(stage, told, vault, FIRST)
    for prompt in stage.prompts(first["id"], "arcmemo.retry"):
        print("   what the model was told before its second program:")
        print(indented(prompt))
    learned = await _concept(stage, vault)
    if learned is None:
        raise MnemeError(f"the run {first['id']!r} stored no concept {CONCEPT!r}; its log says why")
    await _show(stage, learned)

    second = await _played(stage, told, vault, SECOND)
    selected = second["output"]["detail"]["selected"]
    if selected != [learned.id]:
        raise MnemeError(
            f"the run {second['id']!r} selected {selected}; expected {[learned.id]}, which was just learned"
        )
    print(f"   what the model was told of it, in the prompt of {SECOND}:")
    print(indented(_shown(stage.prompts(second["id"], "arcmemo.solve")[0])))
    grown = await _concept(stage, vault)
    if grown is not None:
        print(f"   {grown.id} is at version {grown.version} now: {', '.join(map(str, _used_in(grown)))} used it.")


async def _played(stage: Stage, told: Told, vault: str, reference: str) -> dict[str, Any]:
    task = ArcRun.of(reference)
    print(f"\n   {reference} by arcmemo, the model is {SCRIPT.name}", flush=True)
    spec = RunSpec(
        agent="arcmemo",
        input=task.sample.task,
        vaults=(vault,),
        config={"samples": 1, "retries": 1},
        seed=7,
        explore=0.0,
        suite=task.suite,
    )
    begun = time.monotonic()
    live = await stage.service.foreground(spec, owner=stage.actor.user_id)
    async for payload in live.items():
        if not isinstance(payload, Chunk):
            told.event(payload.type, data_of(payload), since=begun)
    run = run_body(await stage.service.get(live.run_id, owner=stage.actor.user_id))
    await learn_names(stage.service.memory, stage.actor, vault, told)
    if not show_grids(task, run):
        raise MnemeError(f"run {live.run_id!r} did not solve {reference}: {run.get('error') or 'see its log'}")
    print(f"   Solved. log: /ui/runs/{live.run_id}")
    return run


async def _concept(stage: Stage, vault: str) -> MemCube | None:
    where = Where(vault, semantic_types=("concept",), subject=CONCEPT)
    return next(iter((await stage.service.memory.list(stage.actor, where)).items), None)


async def _show(stage: Stage, cube: MemCube) -> None:
    known = await stage.service.memory.provenance(stage.actor, cube.id)
    print(f"   a new concept, as it is stored: {cube.id}, version {cube.version}")
    print(indented(cube.content))
    for each in known.sources:
        source, lines = each.source, len((each.source.quote or "").splitlines())
        told = f"{known.origin}, {source.kind} {source.uri}, step {source.message_id}, program of {lines} lines"
        print(f"   provenance: {told}")


def _used_in(cube: MemCube) -> list[object]:
    used: object = cube.data.get("used_in")
    return [*used] if isinstance(used, list) else []


def _shown(prompt: str) -> str:
    """The block of the concept in a prompt. Raises `MnemeError` when it is not there."""
    head = f"- concept: {CONCEPT}"
    if head not in prompt:
        raise MnemeError(f"the prompt of {SECOND} does not hold {head!r}, though the concept was selected")
    lines = prompt[prompt.index(head) :].splitlines()
    end = next((n for n, line in enumerate(lines[1:], 1) if not line.startswith("  ")), len(lines))
    return "\n".join(lines[:end])
