"""The table that a user decides by: every codec on the user's own vectors, smallest first. Source: embedding_storage §3;
ours."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from memory.codecs import choose, registry
from memory.codecs.base import Vectors
from memory.codecs.measure import Measured, measure

# Name and whether the shortlist is scored again with the full vectors.
TABLE: tuple[tuple[str, bool], ...] = (
    ("f32", False),
    ("f16", False),
    ("bf16", False),
    ("int8", False),
    ("int8_range", False),
    ("f8_e4m3", False),
    ("f8_e5m2", False),
    ("pca50_f32", False),
    ("pca75_int8", False),
    ("pca50_int8", False),
    ("pca50_int8", True),
    ("pca50_f8", False),
    ("pca50_f8", True),
    ("pca25_f8", False),
    ("pca25_f8", True),
    ("binary", False),
    ("binary", True),
    ("pca50_binary", True),
)


def trade_off_table(
    vectors: Vectors,
    queries: Vectors,
    *,
    wanted: Sequence[int] | None = None,
    codecs: Sequence[tuple[str, bool]] = TABLE,
) -> list[Measured]:
    """Measure the codecs on unit rows, float32 (n, dim), with at least 200 unit queries; see `measure`.

    Codecs that have to be fitted are fitted on the vectors. Raises `InvalidInput` when there are too few for that.
    """
    made = {name: registry.make(name, vectors.shape[1], vectors) for name in dict.fromkeys(name for name, _ in codecs)}
    return [measure(made[name], vectors, queries, wanted=wanted, rescore=again) for name, again in codecs]


def shown(measured: Sequence[Measured], *, dim: int) -> str:
    """The measurements as a Markdown table; `front` marks what no smaller one beats in recall.

    Not in the task: there the codecs differ by less than the questions do by chance.
    """
    options = [choose.Option(label(item), item.bytes_per_vector, item.recall) for item in measured]
    best = {option.name for option in choose.front(options)}
    lines = [
        "| codec | bytes | smaller | recall@10 | nDCG@10 | task R@10 | ms/query | front |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for item in sorted(measured, key=lambda item: (-item.bytes_per_vector, item.codec, item.rescored)):
        task = "–" if item.task_recall is None else f"{item.task_recall:.4f}"
        smaller = dim * np.dtype(np.float32).itemsize / item.bytes_per_vector
        lines.append(
            f"| {label(item)} | {item.bytes_per_vector} | {smaller:.1f}× | {item.recall:.4f} | {item.ndcg:.4f} | {task} "
            f"| {item.ms:.2f} | {'yes' if label(item) in best else ''} |"
        )
    return "\n".join(lines)


def label(item: Measured) -> str:
    """What the table calls it."""
    return f"{item.codec} + rescoring" if item.rescored else item.codec
