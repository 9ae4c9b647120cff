"""What the process has open: one encoding for each space, and a question that never mixes two of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from memory.codecs.registry import make
from memory.encoders.base import Profile, Role, Vectors
from memory.encoders.hashing import Hashing
from memory.indices.base import Filter, Payload, VectorOp
from memory.indices.exact import ExactIndex
from memory.spaces import Space, Spaces
from runtime.errors import ModelUnavailable

pytestmark = pytest.mark.anyio
ANYWHERE = Filter(("v",))


class Counting:
    """Hashing that counts, fails when told to, and does something while it encodes."""

    def __init__(self, dim: int) -> None:
        self._inner = Hashing(dim)
        self.profile: Profile = self._inner.profile
        self.texts: list[str] = []
        self.broken = False
        self.meanwhile: Callable[[], None] = lambda: None
        self.closed = False

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        self.meanwhile()
        if self.broken:
            raise ModelUnavailable("the embedding server is down")
        self.texts += texts
        return await self._inner.encode(texts, role=role)

    async def aclose(self) -> None:
        self.closed = True


def space(name: str, encoder: Counting, codec: str = "f32") -> Space:
    dim = encoder.profile.dim
    return Space(name, f"{encoder.profile.slug}.{codec}", encoder, ExactIndex(dim, make(codec, dim)))


async def test_profiles_of_one_encoder_share_the_vector() -> None:
    first, second, other = Counting(16), Counting(16), Counting(32)
    spaces = Spaces(space("a", first), [space("b", second, "int8"), space("c", other)])
    made = await spaces.documents(["one", "two"])
    assert [sorted(rows) for rows in made] == [["a", "b", "c"]] * 2
    assert made[0]["a"] is not made[1]["a"]
    np.testing.assert_array_equal(made[1]["a"], made[1]["b"])
    np.testing.assert_array_equal(made[1]["c"], Hashing(32).vectors(["two"])[0])
    assert (first.texts, second.texts, other.texts) == (["one", "two"], [], ["one", "two"])


async def test_no_texts_give_nothing() -> None:
    assert await Spaces(space("a", Counting(16))).documents([]) == []


async def test_a_space_that_is_being_built_and_fails_is_left_out_and_the_active_one_is_not() -> None:
    active, building = Counting(16), Counting(32)
    spaces = Spaces(space("a", active), [space("b", building)])
    building.broken = True
    assert [sorted(rows) for rows in await spaces.documents(["one"])] == [["a"]]
    building.broken, active.broken = False, True
    with pytest.raises(ModelUnavailable):
        await spaces.documents(["one"])


async def test_a_question_that_is_being_encoded_while_the_active_space_changes_is_answered_by_the_old_one() -> None:
    before, after = space("a", Counting(16)), space("b", Counting(32))
    point = VectorOp("mem_1", 1, Hashing(16).vectors(["one"])[0], Payload("v", "activated", "plaintext", "fact"))
    await before.index.apply([point])
    spaces = Spaces(before, [after])
    encoder = before.encoder
    assert isinstance(encoder, Counting)
    encoder.meanwhile = lambda: spaces.switch(after, [before])
    assert [hit.memory_id for hit in await spaces.nearest("one", 5, ANYWHERE)] == ["mem_1"]
    assert spaces.active is after
    assert spaces.written == (after, before)
    assert await spaces.nearest("one", 5, ANYWHERE) == []


async def test_closing_closes_every_encoder() -> None:
    encoders = [Counting(16), Counting(32)]
    await Spaces(space("a", encoders[0]), [space("b", encoders[1])]).aclose()
    assert all(encoder.closed for encoder in encoders)
