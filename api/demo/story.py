"""The order of the demo: mathematics, a puzzle by the model of the service, two puzzles by a script, the memories.

Everything is written into one vault of the store that `mneme serve` uses, so it can be looked at afterwards. Source: ours.
"""

from __future__ import annotations

from datetime import UTC, datetime

import httpx

from agents.verifiers import open_verifiers
from api.demo.maths import short_set
from api.demo.puzzles import real_task, seed
from api.demo.replay import Stage, replay, stage
from api.demo.service import port_to_use, serving, wait_until_ready
from api.demo.telling import Told, heading, short
from runtime import telemetry
from runtime.settings import PACKAGED_MODEL, Settings

RUN_S = 900.0


async def main(settings: Settings) -> int:
    """Run the demo; returns 0 when every run ended as it should. Raises `MnemeError` otherwise."""
    settings = settings.model_copy(update={"telemetry": settings.telemetry.model_copy(update={"log_level": "WARNING"})})
    telemetry.configure(settings)
    port = port_to_use(settings.server.port)
    base = f"http://127.0.0.1:{port}"
    packaged = settings.llm.base_url is None and settings.engine.model == PACKAGED_MODEL
    async with (
        serving(port) as process,
        httpx.AsyncClient(base_url=base, timeout=RUN_S, trust_env=False) as client,
        open_verifiers() as verifiers,
    ):
        print(f"starting the service on {base}; on CPU the model server needs about a minute", flush=True)
        print(f"ready: {await wait_until_ready(client, process)}")
        print(f"watch it on {base}/ui: every run, its tree and what it remembers are there while it goes on")
        if packaged:
            print(
                "This packaged model has 135 million parameters and is weak at mathematics and at programs: expect wrong"
            )
            print("answers. What the demo shows is the work around it. For a real model set MNEME_LLM__BASE_URL.")
        told = Told()
        async with stage(settings) as local:
            vault = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}"
            await local.service.memory.vaults.create(local.actor, vault)
            print(f"Everything that is learned goes into a new vault, {vault}.")
            await short_set(client, verifiers, told, vault, packaged=packaged)
            heading(f"Concepts for puzzles are imported into {vault}")
            await seed(local.service.memory, local.actor, vault, told)
            await real_task(client, settings, told, vault, packaged=packaged)
            await replay(local, told, vault)
            await _print_memories(local, told, vault)
    print_next(f"http://127.0.0.1:{settings.server.port}")
    return 0


async def _print_memories(local: Stage, told: Told, vault: str) -> None:
    heading(f"Memories that the runs wrote into {vault}: {len(told.written)}")
    for id_ in told.written:
        cube = await local.service.memory.get(local.actor, id_)
        print(f"   {id_}  {cube.semantic_type}, version {cube.version}: {short(cube.content.splitlines()[0], 80)}")
    print(f"\n   all of the vault:       .venv/bin/mneme memory list --vault {vault}")
    if told.written:
        print(f"   one, with its history:  .venv/bin/mneme memory show {next(iter(told.written))}")


def print_next(base: str) -> None:
    """The lines to go on with."""
    print(
        f"""
To go on: start the service with `make serve`, then, for example,

curl {base}/v1/chat/completions -H 'Content-Type: application/json' \\
  -d '{{"model": "best-of-n", "messages": [{{"role": "user", "content": "What is 17 times 23?"}}]}}'

.venv/bin/python -c '
from openai import OpenAI
client = OpenAI(base_url="{base}/v1", api_key="none")
chat = client.chat.completions.create(model="direct", messages=[{{"role": "user", "content": "Say hello."}}])
print(chat.choices[0].message.content)'

and look at every run and every memory on {base}/ui (`make serve`, or `.venv/bin/mneme serve`, on the same home).

A full house to look around in, in a home of its own:

MNEME_HOME=~/mneme-demo .venv/bin/mneme demo-data
MNEME_HOME=~/mneme-demo .venv/bin/mneme serve"""
    )
