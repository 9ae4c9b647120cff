"""What the store costs: adding and searching memories, beside other memory stores, in one run with the same vectors.

    python -m evals.bench.store                          # 10,000 memories, embedded, through the service
    python -m evals.bench.store --count 100000           # and after `reindex`
    python -m evals.bench.store --http --peers           # over HTTP too; mem0, LangGraph, Chroma beside it

Ten vaults (namespaces); texts are sentences of the documentation in the installed packages, made distinct by a number. The
static encoder encodes them; the peers look the same vectors up, so for them encoding costs nothing. `add`: one memory
a call, durable when it returns. `search`: the ten best of one vault; Mneme searches words and vectors and looks at every hit
again in SQL, the peers search vectors. Source: design storage §7; ours.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Final

import anyio
import httpx
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from evals.bench.corpora import documentation
from evals.bench.environment import environment
from evals.bench.gateway import free_port, process
from memory.encoders.registry import open_encoder
from memory.indices.base import Filter
from memory.opening import open_memory
from memory.service import Memory
from memory.text import normalise
from memory.types import Actor, Draft, Query
from memory.upkeep.outbox import pending
from runtime.db import open_database
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.migrate import upgrade
from runtime.settings import Settings, load

NAMESPACES: Final = 10
ENCODER: Final = "wordllama-256"
PEERS: Final = {
    "mem0": ("mem0ai==2.2.1", "qdrant-client==1.20.0"),
    "langgraph-sqlite": ("langgraph==1.2.24", "langgraph-checkpoint-sqlite==3.1.2", "pysqlite3-binary", "numpy"),
    "langgraph-memory": ("langgraph==1.2.24", "numpy"),
    "chroma": ("chromadb==1.5.9",),
}
PEER_LIMIT_S: Final = 90
SINGLE_ADDS: Final = 500
BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """Texts with their namespaces, and questions with theirs."""

    texts: list[tuple[str, str]]
    questions: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of the table; times in seconds."""

    name: str
    stored: int
    adds: Sequence[float]
    searches: Sequence[float]
    note: str = ""


def sample(count: int, questions: int, seed: int) -> Sample:
    """`count` distinct sentences over the namespaces, and questions made of the words of some of them."""
    labelled = documentation(Path(sysconfig.get_paths()["purelib"]), paragraphs=6000, questions=500, seed=seed)
    parts = (part.strip() for text in labelled.paragraphs for part in text.split(". "))
    # The same words are one memory in Mneme, and would be several in the others.
    sentences = list({normalise(part): part for part in parts if 40 <= len(part) <= 300}.values())
    rng = random.Random(seed)
    texts = [
        (f"{sentences[n % len(sentences)]} ({n})" if n >= len(sentences) else sentences[n], f"vault{n % NAMESPACES}")
        for n in range(count)
    ]
    asked = []
    for number in range(questions):
        text, namespace = texts[rng.randrange(count)]
        words = text.split()
        start = rng.randrange(max(1, len(words) - 6))
        asked.append((f"{' '.join(words[start : start + 6])} #{number}", namespace))
    return Sample(texts, asked)


async def measure_service(settings: Settings, given: Sample, console: Console, *, reindex: bool) -> list[Measured]:
    """Add and search through the service; the bulk goes in by batches, the last `SINGLE_ADDS` one at a time."""
    rows: list[Measured] = []
    db = open_database(settings)
    try:
        actor = Actor((await KeyStore(db, SYSTEM).local()).user_id, None, admin=True)
        async with open_memory(settings, db, SYSTEM) as memory:
            before = psutil.Process().memory_info().rss
            for n in range(NAMESPACES):
                await memory.vaults.create(actor, f"vault{n}")
            bulk, single = given.texts[:-SINGLE_ADDS], given.texts[-SINGLE_ADDS:]
            begun = time.perf_counter()
            for namespace in (f"vault{n}" for n in range(NAMESPACES)):
                mine = iter([text for text, of in bulk if of == namespace])
                while batch := list(islice(mine, BATCH)):
                    await memory.add(actor, [Draft(text) for text in batch], vault=namespace)
            seconds = time.perf_counter() - begun
            console.print(
                f"bulk: {len(bulk)} memories in {seconds:.1f} s, {len(bulk) / seconds:.0f}/s, batches of {BATCH}"
            )
            await _indexed(memory)
            console.print(f"indexed after {time.perf_counter() - begun:.1f} s")
            adds = []
            for text, namespace in single:
                begin = time.perf_counter()
                await memory.add(actor, [Draft(text)], vault=namespace)
                adds.append(time.perf_counter() - begin)
            await _indexed(memory)
            note = f"synchronous={settings.database.synchronous}"
            rows.append(Measured("mneme hybrid", len(given.texts), adds, await _asked(memory, actor, given), note))
            rows.append(Measured("mneme dense", len(given.texts), [], await _asked(memory, actor, given, "dense")))
            console.print(f"recall@10 of the index against an exact scan: {await _recall(memory, given, actor):.4f}")
            if reindex:
                made = await memory.reindex(actor)
                console.print(f"reindex: {made.points} points in {made.seconds:.1f} s, in a process of its own")
                rows.append(Measured("mneme hybrid, reindexed", made.points, [], await _asked(memory, actor, given)))
                console.print(f"recall@10 after it: {await _recall(memory, given, actor):.4f}")
            grown = (psutil.Process().memory_info().rss - before) / 1e6
            disk = sum(file.stat().st_blocks * 512 for file in settings.home.rglob("*") if file.is_file()) / 1e6
            console.print(f"resident memory grew by {grown:.0f} MB, disk {disk:.0f} MB for {len(given.texts)} memories")
    finally:
        await db.aclose()
    return rows


async def _indexed(memory: Memory) -> None:
    while True:
        if not await memory.core.db.read(pending):
            return
        await anyio.sleep(0.05)


async def _asked(memory: Memory, actor: Actor, given: Sample, mode: str = "hybrid") -> list[float]:
    times = []
    for text, namespace in given.questions:
        begin = time.perf_counter()
        await memory.search(actor, Query(text, vaults=(namespace,), mode=mode))  # type: ignore[arg-type]
        times.append(time.perf_counter() - begin)
    return times


async def _recall(memory: Memory, given: Sample, actor: Actor, count: int = 100) -> float:
    """Share of the true ten nearest that the index gives."""
    space = memory.spaces.active
    vaults = {shown.vault.name: shown.vault.id for shown in await memory.vaults.list(actor)}
    texts = await space.encoder.encode([text for text, _ in given.texts], role="doc")
    of = np.array([namespace for _, namespace in given.texts])
    hits = total = 0
    for text, namespace in given.questions[:count]:
        (vector,) = await space.encoder.encode([text], role="query")
        rows = np.flatnonzero(of == namespace)
        scores = texts[rows] @ vector
        kth = np.sort(scores)[-10]
        found = await space.index.search(vector, 10, Filter((vaults[namespace],)))
        hits += sum(hit.score >= kth - 2e-3 for hit in found)
        total += 10
    return hits / total


def measure_http(given: Sample, home: Path) -> Measured:
    """One client, one request at a time."""
    port = free_port()
    env = {
        "MNEME_HOME": str(home),
        "MNEME_LLM__MODEL": "scripted/echo",
        "MNEME_EMBED__MODEL": ENCODER,
        "MNEME_DATABASE__SYNCHRONOUS": "NORMAL",
        "MNEME_TELEMETRY__LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "api.cli", "serve", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with process(command, env, f"{url}/ready", 60), httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        adds, searches = [], []
        for number, (text, namespace) in enumerate(given.texts[:SINGLE_ADDS]):
            body = {"content": f"{text} over HTTP {number}", "vault": namespace}
            begin = time.perf_counter()
            client.post("/api/memories", json=body).raise_for_status()
            adds.append(time.perf_counter() - begin)
        for text, namespace in given.questions:
            asked = {"query": text, "vaults": [namespace]}
            begin = time.perf_counter()
            client.post("/api/memories/search", json=asked).raise_for_status()
            searches.append(time.perf_counter() - begin)
    return Measured("mneme over HTTP", len(given.texts), adds, searches, "synchronous=NORMAL")


def measure_peers(given: Sample, names: Sequence[str], home: Path, console: Console) -> list[Measured]:
    """Each peer in an environment and a process of its own; one that cannot be installed or run is named."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        anyio.run(partial(_write, base, given))
        for name in names:
            try:
                python = environment(home, f"store-{name}", PEERS[name])
                command = [str(python), str(Path(__file__).parent / "peers" / "store_peer.py"), name, folder]
                command += [str(len(given.texts)), str(len(given.questions)), str(PEER_LIMIT_S)]
                done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20 * PEER_LIMIT_S)
            except (subprocess.SubprocessError, OSError) as error:
                told = getattr(error, "stderr", None) or str(error)
                console.print(f"[yellow]{name}: not measured: {told.strip()[-400:]}")
                continue
            said = json.loads(done.stdout.strip().splitlines()[-1])
            cut = said["stored"] < len(given.texts)
            note = f"stopped after {PEER_LIMIT_S} s" if cut else ""
            rows.append(Measured(name, said["stored"], said["adds"], said["searches"], note))
    return rows


async def _write(folder: Path, given: Sample) -> None:
    encoder = await open_encoder(load({"embed.model": ENCODER}).settings)
    try:
        np.save(folder / "vectors.npy", await encoder.encode([text for text, _ in given.texts], role="doc"))
        np.save(folder / "query_vectors.npy", await encoder.encode([text for text, _ in given.questions], role="query"))
    finally:
        await encoder.aclose()
    (folder / "texts.json").write_text(json.dumps(given.texts))
    (folder / "queries.json").write_text(json.dumps(given.questions))


def _ms(seconds: Sequence[float], quantile: float = 0.5) -> float | None:
    if len(seconds) < 2:
        return None
    return 1000 * statistics.quantiles(seconds, n=100, method="inclusive")[int(quantile * 100) - 1]


def shown(rows: Sequence[Measured]) -> Table:
    """The table; ratios are of the first line."""
    table = Table(title="ten namespaces, top 10, one caller; times in ms")
    for column in ("store", "memories", "add p50", "add p95", "search p50", "search p95", "add ×", "search ×", "note"):
        table.add_column(column, justify="left" if column in ("store", "note") else "right")
    first = rows[0]
    for row in rows:
        cells = [_ms(row.adds), _ms(row.adds, 0.95), _ms(row.searches), _ms(row.searches, 0.95)]
        ratios = [
            None if row is first or mine is None or theirs is None else theirs / mine
            for mine, theirs in ((_ms(first.adds), cells[0]), (_ms(first.searches), cells[2]))
        ]
        table.add_row(
            row.name,
            str(row.stored),
            *("" if cell is None else f"{cell:.2f}" for cell in cells),
            *("" if ratio is None else f"{ratio:.1f}" for ratio in ratios),
            row.note,
        )
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--synchronous", choices=("NORMAL", "FULL"), default="NORMAL")
    parser.add_argument("--no-reindex", action="store_true")
    parser.add_argument("--http", action="store_true", help="over HTTP too, on the store that was made")
    parser.add_argument("--peers", nargs="*", choices=tuple(PEERS), help="without names: all of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--home", type=Path, default=Path("~/.mneme").expanduser(), help="where weights and peers are kept"
    )
    options = parser.parse_args()
    console = Console(width=150)
    given = sample(options.count, options.queries, options.seed)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (home / "models").symlink_to(options.home / "models")
        flags = {
            "home": str(home),
            "embed.model": ENCODER,
            "database.synchronous": options.synchronous,
            "telemetry.log_level": "WARNING",
        }
        settings = load(flags, env={}).settings
        upgrade(settings)
        rows = anyio.run(partial(measure_service, settings, given, console, reindex=not options.no_reindex))
        if options.http:
            rows.append(measure_http(given, home))
        if options.peers is not None:
            rows += measure_peers(given, options.peers or tuple(PEERS), options.home, console)
    console.print(shown(rows))


if __name__ == "__main__":
    main()
