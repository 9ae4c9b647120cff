"""The bench of the codecs, small: real paragraphs, real vectors, and the agreed loss."""

from __future__ import annotations

import random
from pathlib import Path

import anyio
import numpy as np
import pytest

from evals.bench import codecs
from evals.bench.corpora import documentation
from memory.codecs.measure import measure
from memory.codecs.registry import make
from memory.encoders.registry import open_encoder
from runtime.settings import load

WORDS = [
    first + second for first in ("ka", "lo", "mi", "ter", "su", "ven") for second in ("dor", "pi", "ras", "ulm", "gex")
]


def docstrings(folder: Path, count: int) -> None:
    """A module whose functions are documented: each body repeats words of its own first line."""
    rng = random.Random(0)
    lines = []
    for n in range(count):
        own = rng.sample(WORDS, 5)
        body = [rng.choice(own) if rng.random() < 0.5 else rng.choice(WORDS) for _ in range(25)]
        lines += [f"def f{n}():", f'    """Say {" ".join(own)}.', "", f"    {' '.join(body)}", '    """', ""]
    (folder / "module.py").write_text("\n".join(lines))


def test_the_bench_prints_every_codec_and_fails_when_too_much_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    docstrings(tmp_path, 300)
    command = ["--folder", str(tmp_path), "--paragraphs", "300", "--questions", "200", "--encoder", "hashing-32"]
    monkeypatch.setattr(codecs, "AGREED_LOSS", 1.0)
    assert codecs.main(command) == 0
    printed = capsys.readouterr().out
    assert "300 paragraphs, 200 questions, hashing-32" in printed
    assert "| f32 | 128 | 1.0× | 1.0000 | 1.0000 |" in printed
    assert "| pca50_f8 + rescoring | 16 | 8.0× |" in printed
    assert "points of task recall lost against float32" in printed
    monkeypatch.setattr(codecs, "AGREED_LOSS", -1.0)
    assert codecs.main(command) == 1


def test_on_real_vectors_eight_times_smaller_ones_with_rescoring_lose_nothing_that_counts() -> None:
    labelled = documentation(Path(np.__file__).parent, paragraphs=1300, questions=200, seed=0)

    async def encoded() -> tuple[np.ndarray, np.ndarray]:
        encoder = await open_encoder(load({"embed.model": "wordllama-256"}).settings)
        rows = await encoder.encode(labelled.paragraphs, role="doc")
        return rows, await encoder.encode(labelled.questions, role="query")

    paragraphs, questions = anyio.run(encoded)
    exact = measure(make("f32", 256), paragraphs, questions, wanted=labelled.wanted)
    for name, smaller in (("int8", 4), ("f8_e4m3", 4), ("pca50_int8", 8), ("pca50_f8", 8)):
        codec = make(name, 256, paragraphs)
        assert 1024 / codec.bytes_per_vector == smaller
        found = measure(codec, paragraphs, questions, wanted=labelled.wanted, rescore=True)
        assert found.recall >= 0.98
        assert found.task_recall is not None
        assert exact.task_recall is not None
        assert found.task_recall >= exact.task_recall - 0.005
