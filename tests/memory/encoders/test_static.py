from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from memory.encoders.base import EncoderUnavailable
from memory.encoders.packaged import weights_folder
from memory.encoders.static import StaticTable

pytestmark = pytest.mark.anyio


async def test_related_texts_are_nearer_than_others(static: StaticTable) -> None:
    near = await static.encode(["The new movie is awesome", "The new movie is so great"], role="doc")
    far = await static.encode(["A man is playing guitar", "Stock prices fell on Monday"], role="doc")
    assert float(near[0] @ near[1]) > 0.85
    assert float(far[0] @ far[1]) < 0.3


async def test_a_text_is_the_mean_of_its_tokens_whatever_their_order(static: StaticTable) -> None:
    one, other = await static.encode(["river stone lamp", "lamp stone river"], role="doc")
    # The first word of a text is another token than the same word behind a space.
    assert float(one @ other) > 0.8
    (twice,) = await static.encode([" ".join(["river stone lamp"] * 2)], role="doc")
    assert float(one @ twice) > 0.95


async def test_a_batch_gives_what_each_text_gives_alone_in_its_order(static: StaticTable) -> None:
    texts = ["", "a", "Übergröße 東京 🎉", "one two three " * 50, "\ud800 half of a pair", " "]
    rows = await static.encode(texts, role="doc")
    assert rows.shape == (6, 256)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-6)
    alone = [(await static.encode([text], role="query"))[0] for text in texts]
    np.testing.assert_allclose(rows, alone, atol=1e-6)
    assert (await static.encode([], role="doc")).shape == (0, 256)


async def test_a_long_text_is_read_to_its_end(static: StaticTable) -> None:
    long, longer = await static.encode(["river " * 5000, "river " * 5000 + "violin " * 5000], role="doc")
    assert float(long @ longer) < 0.9


async def test_a_file_without_the_table_is_named_with_the_fix(fetched_home: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").symlink_to(weights_folder(fetched_home, "wordllama-256") / "tokenizer.json")
    (tmp_path / "model.safetensors").symlink_to(weights_folder(fetched_home, "minilm-l6") / "model.safetensors")
    with pytest.raises(EncoderUnavailable, match=r"no tensor 'embedding.weight'; fetch them again"):
        StaticTable(tmp_path, revision="r")
