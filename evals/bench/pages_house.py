"""The homes whose pages are measured and pictured: the demo data, and on request three large things beside it.

Everything is made by the service's own commands in processes of their own, without a model server: a script answers, and
the encoder hashes words. Only the large search is written into the log directly, because an agent stops at 256
rollouts: it is the search of `empirical-mcts` (same rules, same events) over the simulated question of `judged_world`,
grown to as many answers as were asked for. Source: ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import anyio
import httpx

from agents import registry
from agents.empirical_mcts.tracing import payload_of
from evals.bench.gateway import free_port, process
from evals.bench.judged_world import Question, World
from evals.bench.store import sample
from runtime.db import open_database
from runtime.events import AnyPayload, NodeBackedUp, RunFinished, RunStarted
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.runs import RunSpec, RunStore
from runtime.settings import Settings
from search.base import Budget
from search.events import BackedUp
from search.mcts import mcts
from search.profile import ROBUST
from search.tree import Tree

SEED: Final = 7
LINES: Final = 2000
BINDING: Final = 60
AROUND: Final = 120
MNEME: Final = (sys.executable, "-m", "api.cli")


@dataclass(frozen=True, slots=True)
class House:
    """A home, and the ids of what the demo data put there, by the keys of its story."""

    home: Path
    vaults: Mapping[str, str]
    memories: Mapping[str, str]
    runs: Mapping[str, str]
    evals: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Place:
    """A page: its name in tables and files, its path, and whether it is one of those that the table of figures shows."""

    name: str
    path: str
    main: bool = True


def environment(home: Path) -> dict[str, str]:
    """What every process on that home is started with."""
    return {
        "MNEME_HOME": str(home),
        "MNEME_LLM__MODEL": "scripted/echo",
        "MNEME_EMBED__MODEL": "hashing-384",
        "MNEME_TELEMETRY__LOG_LEVEL": "WARNING",
    }


def mneme(home: Path, *arguments: str) -> str:
    """Do a command of `mneme` on that home; gives what it printed. Raises `SystemExit` with its complaint."""
    command = [*MNEME, *arguments]
    done = subprocess.run(command, env={**os.environ, **environment(home)}, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"mneme {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def demo(home: Path) -> House:
    """Fill the home with the demo data of the fixed seed, or read what it holds of it."""
    home.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = json.loads(mneme(home, "demo-data", "--seed", str(SEED), "--json"))
    return House(home, told["vaults"], told["memories"], told["runs"], told["evals"])


@contextmanager
def serving(home: Path) -> Iterator[str]:
    """`mneme serve` on that home until the block ends; gives its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with process([*MNEME, "serve", "--port", str(port)], environment(home), f"{url}/ready", 300):
        yield url


def places(house: House) -> list[Place]:
    """Every page of the UI on that home, in the order of its menu."""
    memory = f"/ui/memories/{house.memories['power-new']}"
    research, arc = house.vaults["research"], house.vaults["arc"]
    vault = f"/ui/vaults/{research}"
    search, threads = f"/ui/runs/{house.runs['search']}", f"/ui/runs/{house.runs['threads']}"
    one, two = house.evals["votes"], house.evals["direct"]
    return [
        Place("home", "/ui/"),
        Place("playground", "/ui/playground"),
        Place("memories", f"/ui/memories?vault={research}"),
        Place("memories-search", f"/ui/memories?vault={research}&q=how+far+apart+must+turbines+stand"),
        Place("memories-nothing", f"/ui/memories?vault={research}&state=expired&tag=none", main=False),
        Place("memory", memory),
        Place("memory-lesson", f"/ui/memories/{house.memories['helps']}", main=False),
        Place("memory-edit", f"{memory}/edit"),
        Place("memory-history", f"/ui/memories/{house.memories['gearbox-oil']}/history"),
        Place("memory-sources", f"{memory}/sources", main=False),
        Place("memory-recalls", f"/ui/memories/{house.memories['helps']}/recalls", main=False),
        Place("memory-delete", f"{memory}/delete", main=False),
        Place("memory-purged", f"/ui/memories/{house.memories['purged']}", main=False),
        Place("graph-begin", f"/ui/graph?vault={research}", main=False),
        Place("graph", f"/ui/graph?memory={house.memories['spacing']}"),
        Place("timeline", f"/ui/timeline?vault={research}"),
        Place("timeline-believed", f"/ui/timeline/believed?vault={research}", main=False),
        Place("timeline-run", f"/ui/timeline/run?vault={research}&run={house.runs['spacing']}", main=False),
        Place("vaults", "/ui/vaults"),
        Place("vaults-compare", f"/ui/vaults/compare?a={research}&b={arc}", main=False),
        Place("vault", vault),
        Place("vault-inbox", f"{vault}/inbox"),
        Place("vault-findings", f"{vault}/findings"),
        Place("vault-past", f"{vault}/past", main=False),
        Place("vault-sharing", f"{vault}/sharing", main=False),
        Place("vault-files", f"{vault}/files", main=False),
        Place("runs", "/ui/runs"),
        Place("runs-compare", f"/ui/runs/compare?run={house.runs['votes']}&run={house.runs['judged']}", main=False),
        Place("run", search),
        Place("run-failed", f"/ui/runs/{house.runs['failed']}", main=False),
        Place("tree-search", f"{search}/tree"),
        Place("tree-search-node", f"{search}/tree?node=1", main=False),
        Place("tree-thread", f"{threads}/tree"),
        Place("tree-thread-node", f"{threads}/tree?node=1", main=False),
        Place("context", f"{threads}/context"),
        Place("evals", "/ui/evals"),
        Place("eval", f"/ui/evals/{one}"),
        Place("eval-lift", f"/ui/evals/{house.evals['lesson']}", main=False),
        Place("eval-puzzles", f"/ui/evals/{house.evals['puzzles']}", main=False),
        Place("eval-compare", f"/ui/evals/compare?eval={two}&eval={one}"),
        Place("settings", "/ui/settings"),
        Place("settings-agent", "/ui/settings/agents/empirical-mcts", main=False),
        Place("settings-models", "/ui/settings/models", main=False),
        Place("settings-keys", "/ui/settings/keys", main=False),
        Place("settings-doctor", "/ui/settings/doctor", main=False),
        Place("reference", "/docs", main=False),
        Place("no-such-run", "/ui/runs/run_00000000000000000000000000000000", main=False),
    ]


# -- large things ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Large:
    """Large things of a home: the run of a search, and two vaults."""

    search: str
    documents: str
    woven: str


def large_things(house: House, *, memories: int, nodes: int) -> Large:
    """Put the large things into a home that nobody serves, or read what it holds of them."""
    told = house.home / "large.json"
    if told.is_file():
        return Large(**json.loads(told.read_text(encoding="utf-8")))
    run = large_search(house, nodes)
    with serving(house.home) as url:
        made = Large(run, _vault(url, "documents"), _vault(url, "woven"))
    many_memories(house, memories)
    woven(house)
    told.write_text(json.dumps(asdict(made)), encoding="utf-8")
    return made


def _vault(url: str, name: str) -> str:
    reply = httpx.post(f"{url}/api/vaults", json={"name": name}, timeout=60).raise_for_status()
    return str(reply.json()["id"])


def many_memories(house: House, count: int) -> None:
    """Import sentences of documentation into their vault, some more than `count`, because the store takes a few for
    duplicates of others."""
    texts = sample(count + count // 50, 0, SEED).texts
    found = [{"id": f"doc-{number}", "memory": text} for number, (text, _) in enumerate(texts)]
    _imported(house, "documents", "mem0", json.dumps(found))


def woven(house: House) -> None:
    """Import 180 memories over 121 things, all within two hops of one of them."""
    relations = [(n, "supplies", "the hub") for n in range(0, AROUND, AROUND // BINDING)]
    relations += [(n, "feeds", f"station {(n + 1) % AROUND}") for n in range(AROUND)]
    lines = [
        {"type": "relation", "from": f"station {start}", "relationType": link, "to": end}
        for start, link, end in relations
    ]
    _imported(house, "woven", "mcp", "\n".join(json.dumps(line) for line in lines))


def _imported(house: House, vault: str, shape: str, text: str) -> None:
    path = house.home / f"{vault}.{'jsonl' if shape == 'mcp' else 'json'}"
    path.write_text(text, encoding="utf-8")
    mneme(house.home, "memory", "import", str(path), "--vault", vault, "--format", shape)


def large_search(house: House, nodes: int) -> str:
    """Put a finished search of that many answers into the log of the home; gives the id of the run."""
    return anyio.run(_written, Settings(home=house.home), nodes)


async def _written(settings: Settings, nodes: int) -> str:
    db = open_database(settings)
    try:
        store, owner = RunStore(db, SYSTEM), (await KeyStore(db, SYSTEM).local()).user_id
        version = registry.get("empirical-mcts").spec.version
        spec = RunSpec(
            "empirical-mcts", "A simulated question with many answers.", config={"profile": "robust"}, seed=SEED
        )
        started = RunStarted(
            agent=spec.agent, agent_version=version, model="scripted/echo", executor="exe_bench", seed=SEED
        )
        claim = await store.create_started(
            spec, owner=owner, agent_version=version, model="scripted/echo", executor="exe_bench", started=started
        )
        items = [(payload, None) async for payload in _searched(nodes)]
        for begin in range(0, len(items), LINES):
            await store.append(claim.record.id, claim.epoch, items[begin : begin + LINES])
        output: Any = {"text": "answer 0", "finish_reason": "stop"}
        await store.finish(claim.record.id, claim.epoch, RunFinished(status="succeeded", output=output))
        return claim.record.id
    finally:
        await db.aclose()


async def _searched(nodes: int) -> AsyncIterator[AnyPayload]:
    tree = Tree(ROBUST)
    question = Question(World(), SEED)
    async for event in mcts(question, budget=Budget(nodes - 1), rng=Random(SEED), profile=tree.profile, tree=tree):
        payload: AnyPayload | None
        if isinstance(event, BackedUp):
            # The agent also names the best answer so far here, for which it ranks them all: quadratic, and not shown.
            node = tree.node(event.id)
            detail: Any = {"iteration": event.iteration, "q_global": node.q_global}
            payload = NodeBackedUp(id=str(event.id), value=node.value, visits=node.visits, detail=detail)
        else:
            payload = payload_of(event, tree)
        if payload is not None:
            yield payload
