from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memory.encoders.base import Vectors, unit_rows, well_formed

ROWS = hnp.arrays(np.float32, (4, 5), elements=st.floats(width=32, allow_nan=False, allow_infinity=False))


@given(ROWS)
def test_every_row_has_length_one_and_its_direction(rows: Vectors) -> None:
    before = rows.astype(np.float64)
    made = unit_rows(rows)
    assert made.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(made.astype(np.float64), axis=1), 1.0, atol=1e-5)
    for old, new in zip(before, made, strict=True):
        length = np.linalg.norm(old)
        expected = old / length if length > 0 else np.eye(5)[0]
        np.testing.assert_allclose(new, expected, atol=1e-5)


@given(st.text(st.characters(codec=None)))
def test_a_text_becomes_one_that_every_program_takes(text: str) -> None:
    made = well_formed(text)
    made.encode()
    assert len(made) == len(text)
    assert all(a == b for a, b in zip(text, made, strict=True) if not "\ud800" <= a <= "\udfff")
