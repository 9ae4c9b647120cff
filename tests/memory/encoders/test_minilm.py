from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from memory.encoders.base import EncoderUnavailable
from memory.encoders.bert import HEADS
from memory.encoders.minilm import LONGEST, MiniLM
from memory.encoders.packaged import weights_folder
from memory.encoders.weights import read_safetensors

pytestmark = pytest.mark.anyio

# Cosines that the authors of the model publish for it (sentence-transformers documentation).
PUBLISHED = [
    ("The weather is lovely today.", "It's so sunny outside!", 0.6660),
    ("The weather is lovely today.", "He drove to the stadium.", 0.1046),
    ("It's so sunny outside!", "He drove to the stadium.", 0.1411),
    ("The new movie is awesome", "The new movie is so great", 0.8939),
    ("The cat sits outside", "The dog plays in the garden", 0.2838),
    ("A man is playing guitar", "A woman watches TV", -0.0327),
]
TEXTS = [
    "",
    " ",
    "a",
    "Übergrößenträger 東京 🎉",
    "one two three",
    "The quick brown fox jumps over the lazy dog. " * 6,
]


async def test_it_gives_the_published_cosines(minilm: MiniLM) -> None:
    for one, other, published in PUBLISHED:
        a, b = await minilm.encode([one, other], role="doc")
        assert float(a @ b) == pytest.approx(published, abs=6e-5)


async def test_it_is_the_plain_forward_pass(minilm: MiniLM, fetched_home: Path) -> None:
    folder = weights_folder(fetched_home, "minilm-l6")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    tensors = read_safetensors(folder / "model.safetensors")
    for text in TEXTS:
        plain = plain_bert(tensors, tokenizer.encode(text).ids)
        (made,) = await minilm.encode([text], role="doc")
        assert float(made @ plain) > 0.999999


async def test_a_batch_gives_what_each_text_gives_alone(minilm: MiniLM) -> None:
    together = await minilm.encode(TEXTS, role="doc")
    alone = [(await minilm.encode([text], role="doc"))[0] for text in TEXTS]
    np.testing.assert_allclose(together, alone, atol=2e-6)
    # Longer neighbours in a batch change nothing either: nothing is padded.
    beside = await minilm.encode([TEXTS[2], TEXTS[5] * 3], role="doc")
    np.testing.assert_allclose(beside[0], alone[2], atol=2e-6)


async def test_rows_are_unit_vectors_in_the_order_of_the_texts(minilm: MiniLM) -> None:
    texts = [f"{'word ' * (40 - n)}{n}" for n in range(40)]
    rows = await minilm.encode(texts, role="doc")
    assert rows.shape == (40, 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    backwards = await minilm.encode(texts[::-1], role="doc")
    np.testing.assert_allclose(rows, backwards[::-1], atol=2e-6)


async def test_no_texts_give_no_rows(minilm: MiniLM) -> None:
    assert (await minilm.encode([], role="query")).shape == (0, 384)


async def test_a_question_is_encoded_as_a_document(minilm: MiniLM) -> None:
    doc = await minilm.encode(["where is the key?"], role="doc")
    query = await minilm.encode(["where is the key?"], role="query")
    np.testing.assert_array_equal(doc, query)


async def test_what_comes_after_the_256th_token_is_not_read(minilm: MiniLM) -> None:
    words = ["river", "stone", "lamp", "paper", "cloud", "train", "garden"]  # one token each
    long = [words[n % 7] for n in range(400)]
    whole, cut, shorter = await minilm.encode(
        [" ".join(long), " ".join(long[: LONGEST - 2]), " ".join(long[: LONGEST - 3])], role="doc"
    )
    np.testing.assert_allclose(whole, cut, atol=2e-6)
    assert float(whole @ shorter) < 0.999999
    (endless,) = await minilm.encode([" ".join(long) + " lamp" * 200_000], role="doc")
    np.testing.assert_allclose(endless, cut, atol=2e-6)


async def test_any_text_has_a_vector(minilm: MiniLM) -> None:
    texts = ["", "\x00", "\ud800 half of a pair", "🎉" * 50, "x" * 50_000, "\n\t", "नमस्ते दुनिया", "שלום עולם"]
    rows = await minilm.encode(texts, role="query")
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)


async def test_case_and_accents_do_not_count(minilm: MiniLM) -> None:
    one, other = await minilm.encode(["Café in Zürich", "cafe in zurich"], role="doc")
    np.testing.assert_allclose(one, other, atol=2e-6)


async def test_a_file_without_the_tensors_is_named_with_the_fix(fetched_home: Path, tmp_path: Path) -> None:
    good = weights_folder(fetched_home, "minilm-l6")
    (tmp_path / "tokenizer.json").symlink_to(good / "tokenizer.json")
    other = weights_folder(fetched_home, "wordllama-256")
    (tmp_path / "model.safetensors").symlink_to(other / "model.safetensors")
    with pytest.raises(EncoderUnavailable, match=r"no tensor .* fetch them again"):
        MiniLM(tmp_path, revision="r")


def plain_bert(tensors: Mapping[str, NDArray[Any]], ids: list[int]) -> NDArray[np.float64]:
    """Devlin et al. 2019 as it is written down, in float64, one text at a time."""

    def get(name: str) -> NDArray[np.float64]:
        return tensors[name].astype(np.float64)

    def linear(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        return x @ get(f"{name}.weight").T + get(f"{name}.bias")

    def norm(x: NDArray[np.float64], name: str) -> NDArray[np.float64]:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        made: NDArray[np.float64] = scaled * get(f"{name}.LayerNorm.weight") + get(f"{name}.LayerNorm.bias")
        return made

    gelu = np.vectorize(lambda value: value * 0.5 * (1 + math.erf(value / math.sqrt(2))))
    x = get("embeddings.word_embeddings.weight")[ids]
    x = x + get("embeddings.position_embeddings.weight")[: len(ids)]
    x = norm(x + get("embeddings.token_type_embeddings.weight")[0], "embeddings")
    for n in range(6):
        layer = f"encoder.layer.{n}"
        heads = []
        projected = [linear(x, f"{layer}.attention.self.{part}") for part in ("query", "key", "value")]
        for q, k, v in zip(*(np.split(part, HEADS, axis=1) for part in projected), strict=True):
            scores = np.exp(q @ k.T / math.sqrt(q.shape[1]))
            heads.append(scores / scores.sum(axis=1, keepdims=True) @ v)
        x = norm(
            x + linear(np.concatenate(heads, axis=1), f"{layer}.attention.output.dense"), f"{layer}.attention.output"
        )
        inner = gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(x + linear(inner, f"{layer}.output.dense"), f"{layer}.output")
    mean: NDArray[np.float64] = x.mean(axis=0)
    return mean / np.linalg.norm(mean)
