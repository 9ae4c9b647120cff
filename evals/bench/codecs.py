"""What smaller vectors cost, on real text: paragraphs of the documentation in the installed packages.

A question is the first line of a docstring, its answer a paragraph of the body below it, which must be found among all
paragraphs. `python -m evals.bench.codecs`. Source: embedding_storage §3, §7; ours.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import random
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import anyio

from memory.codecs.base import Vectors
from memory.codecs.tradeoff import shown, trade_off_table
from memory.encoders.registry import open_encoder
from runtime.settings import load

SHORTEST_PARAGRAPH, LONGEST_PARAGRAPH = 120, 1200
SHORTEST_QUESTION = 25
LARGEST_FILE = 400_000
AGREED_LOSS = 0.005


class Labelled(NamedTuple):
    """Paragraphs, questions, and for each question the place of its paragraph."""

    paragraphs: list[str]
    questions: list[str]
    wanted: list[int]


def documentation(folder: Path, *, paragraphs: int, questions: int, seed: int) -> Labelled:
    """Paragraphs below `folder`, in an order that the seed decides; as many as there are when there are fewer."""
    files = sorted(path for path in folder.rglob("*.py") if path.stat().st_size < LARGEST_FILE)
    random.Random(seed).shuffle(files)
    texts: dict[str, int] = {}
    asked: dict[str, int] = {}
    for path in files:
        for summary, body in _docstrings(path):
            fresh = [part for part in body if part not in texts]
            for part in fresh[: paragraphs - len(texts)]:
                texts[part] = len(texts)
            # The words of the question must not stand in the answer as they are.
            if len(asked) < questions and fresh and fresh[0] in texts and summary not in fresh[0]:
                asked.setdefault(summary, texts[fresh[0]])
        if len(texts) >= paragraphs and len(asked) >= questions:
            break
    return Labelled(list(texts), list(asked), list(asked.values()))


def _docstrings(path: Path) -> Iterator[tuple[str, list[str]]]:
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first, *rest = inspect.cleandoc(ast.get_docstring(node) or "").split("\n\n")
        body = [" ".join(part.split()) for part in rest if ">>>" not in part]
        body = [part for part in body if SHORTEST_PARAGRAPH <= len(part) <= LONGEST_PARAGRAPH]
        if len(first) >= SHORTEST_QUESTION and body:
            yield " ".join(first.split()), body


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
