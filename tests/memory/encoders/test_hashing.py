from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.encoders.hashing import Hashing

pytestmark = pytest.mark.anyio


async def test_the_same_words_and_their_inflections_are_near() -> None:
    rows = await Hashing().encode(
        ["The engine stopped working", "engines stopping", "A recipe for lemon cake", "the ENGINE stopped working!"],
        role="doc",
    )
    assert float(rows[0] @ rows[1]) > 0.25
    assert abs(float(rows[0] @ rows[2])) < 0.15
    assert float(rows[0] @ rows[3]) == pytest.approx(1.0, abs=1e-6)


async def test_a_word_said_twice_counts_for_more_but_not_for_twice_as_much() -> None:
    once, twice, only = await Hashing().encode(["lamp river", "lamp lamp river", "lamp"], role="doc")
    assert float(once @ only) < float(twice @ only) < 0.95


def test_the_same_text_gives_the_same_vector_everywhere() -> None:
    rows = Hashing(64).vectors(["Ana lives in Porto", "Übergröße 東京", ""])
    # Recorded once; another value means that stored vectors no longer fit new ones.
    assert hashlib.sha256(np.round(rows, 5).astype("<f4").tobytes()).hexdigest()[:16] == "07ce35b53fd65599"


@given(st.lists(st.text(), max_size=4), st.sampled_from([2, 16, 384]))
def test_any_text_has_a_unit_vector(texts: list[str], dim: int) -> None:
    rows = Hashing(dim).vectors(texts)
    assert rows.shape == (len(texts), dim)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)


async def test_many_texts_are_hashed_beside_the_loop_with_the_same_result() -> None:
    texts = [f"memory number {n} of a long list" for n in range(1000)]
    rows = await Hashing().encode(texts, role="doc")
    np.testing.assert_array_equal(rows, Hashing().vectors(texts))
