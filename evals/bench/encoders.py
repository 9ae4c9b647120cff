"""What each encoder costs and finds: MiniLM in NumPy, the static table, hashing; and MiniLM in a runtime beside them.

    python -m evals.bench.encoders            # ours
    python -m evals.bench.encoders --onnx     # onnxruntime too, in an environment of its own, with a graph that is made
                                              # from the same weights, because no package carries the model as ONNX

Every measurement has a process of its own: load and memory are those of the encoder. Paragraphs and questions are those
of evals/bench/codecs.py; R@1 and R@10 count the questions whose paragraph is found among all. `cosine` is the smallest one
between the vectors of MiniLM in NumPy and in the runtime. Source: design storage §3; ours.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import anyio
import numpy as np
import psutil

from evals.bench.corpora import documentation
from evals.bench.environment import environment
from memory.codecs.base import Vectors
from memory.encoders.packaged import weights_folder
from memory.encoders.registry import open_encoder
from runtime.settings import load

ENCODERS = ("minilm-l6", "wordllama-256", "hashing-384")
THREADS = (1, 2)
PEER = Path(__file__).parent / "peers" / "minilm_onnx.py"
PEER_PACKAGES = ("onnx==1.23.2", "onnxruntime==1.32.0", "tokenizers", "safetensors", "numpy", "psutil")
ONNX = {"minilm-l6 onnxruntime": "float32", "minilm-l6 onnxruntime int8": "int8"}
MEGABYTE = 1 << 20


class Cost(NamedTuple):
    """What one process measured: seconds to load, megabytes it grew by, texts a second, median milliseconds a question;
    and milliseconds of the processor for a text and for a question, which other load changes least."""

    load_s: float
    grown_mb: float
    texts_per_s: float
    query_ms: float
    text_cpu_ms: float
    query_cpu_ms: float


class Quality(NamedTuple):
    """Share of the questions whose paragraph is first, and among the first ten."""

    first: float
    ten: float


async def measured(name: str, folder: Path, threads: int) -> Cost:
    """Load the encoder in this process and encode what lies in `folder`; vectors are left there."""
    paragraphs, questions = (json.loads((folder / f"{part}.json").read_text()) for part in ("paragraphs", "questions"))
    before, began = psutil.Process().memory_info().rss, time.perf_counter()
    encoder = await open_encoder(load({"embed.model": name, "embed.threads": threads}).settings)
    loaded = time.perf_counter()
    await encoder.encode(questions[:5], role="query")
    began_encoding, cpu = time.perf_counter(), time.process_time()
    rows = await encoder.encode(paragraphs, role="doc")
    encoded, cpu_encoded = time.perf_counter(), time.process_time()
    asked, times = [], []
    for question in questions:
        start = time.perf_counter()
        asked.append(await encoder.encode([question], role="query"))
        times.append(time.perf_counter() - start)
    cpu_asked = time.process_time()
    grown = psutil.Process().memory_info().rss - before
    await encoder.aclose()
    np.savez(folder / f"{name}.npz", paragraphs=rows, questions=np.concatenate(asked))
    return Cost(
        loaded - began,
        grown / MEGABYTE,
        len(paragraphs) / (encoded - began_encoding),
        float(np.median(times)) * 1000,
        (cpu_encoded - cpu) / len(paragraphs) * 1000,
        (cpu_asked - cpu_encoded) / len(questions) * 1000,
    )


def quality(paragraphs: Vectors, questions: Vectors, wanted: Sequence[int]) -> Quality:
    """Exact search of every question over all paragraphs."""
    scores = questions @ paragraphs.T
    own = scores[np.arange(len(wanted)), list(wanted)]
    ranks = (scores > own[:, None]).sum(axis=1)
    return Quality(float((ranks < 1).mean()), float((ranks < 10).mean()))


def _in_own_process(command: Sequence[str]) -> Cost:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Cost(*json.loads(done.stdout.splitlines()[-1]))


def _ours(name: str, folder: Path, threads: int) -> Cost:
    command = [sys.executable, "-m", "evals.bench.encoders", "--one", name]
    return _in_own_process([*command, "--threads", str(threads), "--work", str(folder)])


def _peer(name: str, folder: Path, threads: int) -> Cost:
    home = load().settings.home
    python = environment(home, "onnx", PEER_PACKAGES)
    weights = weights_folder(home, "minilm-l6")
    return _in_own_process([str(python), str(PEER), str(weights), str(folder), name, ONNX[name], str(threads)])


def _table(folder: Path, names: Sequence[str], wanted: Sequence[int], costs: dict[tuple[str, int], Cost]) -> str:
    lines = [
        "| encoder | load s | MB | texts/s, 1 thread | 2 threads | CPU ms per text | ms per question | CPU ms | R@1 | R@10 "
        "| cosine |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    reference = np.load(folder / "minilm-l6.npz")["paragraphs"]
    for name in names:
        kept = np.load(folder / f"{name}.npz")
        one, two = (costs[name, threads] for threads in THREADS)
        found = quality(kept["paragraphs"], kept["questions"], wanted)
        same = "" if name not in ONNX else f"{float((kept['paragraphs'] * reference).sum(axis=1).min()):.7f}"
        lines.append(
            f"| {name} | {one.load_s:.2f} | {one.grown_mb:.0f} | {one.texts_per_s:.0f} | {two.texts_per_s:.0f} "
            f"| {one.text_cpu_ms:.2f} | {one.query_ms:.2f} | {one.query_cpu_ms:.2f} | {found.first:.3f} | {found.ten:.3f} "
            f"| {same} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(sysconfig.get_paths()["purelib"]), help="of the sources")
    parser.add_argument("--paragraphs", type=int, default=1500)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--onnx", action="store_true", help="onnxruntime too; installs about 100 MB below MNEME_HOME")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.one is not None:
        print(json.dumps(anyio.run(measured, given.one, given.work, given.threads)))
        return 0
    labelled = documentation(given.folder, paragraphs=given.paragraphs, questions=given.questions, seed=given.seed)
    print(f"{len(labelled.paragraphs)} paragraphs, {len(labelled.questions)} questions\n", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "paragraphs.json").write_text(json.dumps(labelled.paragraphs))
        (folder / "questions.json").write_text(json.dumps(labelled.questions))
        names = [*ENCODERS, *(ONNX if given.onnx else ())]
        costs = {
            (name, threads): (_peer if name in ONNX else _ours)(name, folder, threads)
            for name in names
            for threads in THREADS
        }
        print(_table(folder, names, labelled.wanted, costs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
