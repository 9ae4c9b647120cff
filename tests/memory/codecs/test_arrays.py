from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from memory.codecs.arrays import pack, unpack
from memory.codecs.base import Vectors

ARRAY = hnp.arrays(np.float32, hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))


@given(st.dictionaries(st.text(), ARRAY, max_size=4))
def test_what_is_packed_comes_back(named: dict[str, Vectors]) -> None:
    packed = pack(named)
    back = unpack(packed)
    assert back.keys() == named.keys()
    for name, array in named.items():
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()
    assert pack(dict(reversed(named.items()))) == packed
