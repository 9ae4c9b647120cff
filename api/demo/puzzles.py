"""A task of ARC by the model of the service: concepts are selected, a program runs in the sandbox, is told what came of it,
and is written once more.

The task is the smallest training task of ARC-AGI-1 that none of the built-in concepts was found in. Source: ours.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import anyio.to_thread
import httpx

from api.cli.arc_task import ArcRun
from api.demo.telling import Told, asked, heading, indented
from memory.listing import MAX_PAGE, Where
from memory.service import Memory
from memory.types import Actor
from runtime.errors import SandboxUnavailable
from runtime.sandbox.pool import accepted
from runtime.settings import Settings

TASK: Final = "arc1:6150a2bd"
COLLECTION: Final = "builtin:arc-concepts"
CONFIG: Final = {"samples": 1, "retries": 1}
# The packaged model reads 4096 tokens: concepts of fewer problems than this are shown by name only.
THRESHOLD_PACKAGED: Final = 10
# Enough for a list of names; such a small model may go on for ever.
SELECT_TOKENS_PACKAGED: Final = 96
# So much that a retry which never comes to an end is cut.
PACKAGED: Final = {"tokens": 8000, "seconds": 150}
BUDGET: Final = {"seconds": 600}
SEED: Final = 7


async def sandbox_is_there(settings: Settings, *, serving: bool) -> bool:
    """Whether programs can be run; says why not."""
    try:
        level = await anyio.to_thread.run_sync(lambda: accepted(settings.sandbox, serving=serving))
    except SandboxUnavailable as error:
        print(f"   NO SANDBOX: {error.message}")
        print(
            "   Programs that a model wrote are not run without one, so this part is left out; `mneme doctor` says more."
        )
        return False
    print(f"   sandbox: {level}", flush=True)
    return True


async def seed(memory: Memory, actor: Actor, vault: str, told: Told) -> None:
    """Import the built-in concepts into the vault."""
    imported = await memory.transfer.import_(actor, vault, COLLECTION)
    print(f"   {COLLECTION}: {imported.total} concepts of other training tasks, which were solved by hand")
    await learn_names(memory, actor, vault, told)


async def learn_names(memory: Memory, actor: Actor, vault: str, told: Told) -> None:
    """Take in the names of the concepts of the vault."""
    page = await memory.list(actor, Where(vault, semantic_types=("concept",)), limit=MAX_PAGE)
    told.names.update({cube.id: str(cube.subject) for cube in page.items})


async def real_task(client: httpx.AsyncClient, settings: Settings, told: Told, vault: str, *, packaged: bool) -> None:
    """Ask for the task and show what became of it."""
    config: dict[str, Any] = dict(CONFIG)
    if packaged:
        config |= {"usage_threshold": THRESHOLD_PACKAGED, "select_tokens": SELECT_TOKENS_PACKAGED}
    heading(f"2. A training task of ARC-AGI-1 by arcmemo: {TASK}, one program and one retry")
    if packaged:
        print(
            "   A model of 135 million parameters is not expected to solve it, and mostly names no concept that there is."
        )
        print("   What can be seen is the way: selection, program, sandbox, what came of it, retry.")
    if not await sandbox_is_there(settings, serving=True):
        return
    task = ArcRun.of(TASK)
    run = await asked(
        client,
        told,
        agent="arcmemo",
        input=task.sample.task,
        config=config,
        vaults=[vault],
        seed=SEED,
        explore=0.0,
        budget=PACKAGED if packaged else BUDGET,
    )
    if show_grids(task, run):
        print("   Solved.")
    else:
        print("   Not solved, and nothing is learned from a program that fails an example.")
    detail = (run["output"] or {}).get("detail") or {}
    print(f"   concepts shown: {', '.join(told.names.get(id_, id_) for id_ in detail.get('selected', ())) or 'none'}")
    print(f"   log: /ui/runs/{run['id']}")


def show_grids(task: ArcRun, run: dict[str, Any]) -> bool:
    """Print what was submitted beside what is right; True when every test input is solved."""
    graded = task.graded(run, colour=sys.stdout.isatty(), say=lambda text: print(indented(text, "      ")))
    return all(graded["arc"]["solved"])
