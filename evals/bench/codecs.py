"""What smaller vectors cost, on real text: paragraphs of the documentation in the installed packages.

The task is to find the paragraph that follows the first line of its docstring among all of them (evals/bench/corpora.py).
`python -m evals.bench.codecs`. Source: embedding_storage §3, §7; ours.
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

import anyio

from evals.bench.corpora import Labelled, documentation
from memory.codecs.base import Vectors
from memory.codecs.tradeoff import shown, trade_off_table
from memory.encoders.registry import open_encoder
from runtime.settings import load

AGREED_LOSS = 0.005


async def _encoded(encoder: str, labelled: Labelled) -> tuple[Vectors, Vectors]:
    opened = await open_encoder(load({"embed.model": encoder}).settings)
    try:
        paragraphs = await opened.encode(labelled.paragraphs, role="doc")
        return paragraphs, await opened.encode(labelled.questions, role="query")
    finally:
        await opened.aclose()


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 when eight times smaller vectors with rescoring lose more than half a point of the task."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(sysconfig.get_paths()["purelib"]))
    parser.add_argument("--paragraphs", type=int, default=3000)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--encoder", default="minilm-l6")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    labelled = documentation(given.folder, paragraphs=given.paragraphs, questions=given.questions, seed=given.seed)
    print(f"{len(labelled.paragraphs)} paragraphs, {len(labelled.questions)} questions, {given.encoder}\n", flush=True)
    paragraphs, questions = anyio.run(_encoded, given.encoder, labelled)
    measured = trade_off_table(paragraphs, questions, wanted=labelled.wanted)
    print(shown(measured, dim=paragraphs.shape[1]))
    task = {(item.codec, item.rescored): item.task_recall or 0.0 for item in measured}
    loss = task["f32", False] - task["pca50_f8", True]
    print(f"\npca50_f8 with rescoring: {100 * loss:+.2f} points of task recall lost against float32")
    return 1 if loss > AGREED_LOSS else 0


if __name__ == "__main__":
    sys.exit(main())
