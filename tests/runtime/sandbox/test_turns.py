"""Places go to the tenants in turn; none waits for all that another asks for, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from runtime.sandbox.turns import Turns

pytestmark = pytest.mark.anyio


async def order(turns: Turns[int], asked: Sequence[str]) -> list[str]:
    """The tenants in the order in which they get a place that each gives back at once."""
    got: list[str] = []

    async def one(tenant: str) -> None:
        async with turns.place(tenant):
            got.append(tenant)
            await asyncio.sleep(0)

    await asyncio.gather(*map(one, asked))
    return got


async def test_one_place_goes_to_the_tenants_in_turn() -> None:
    assert await order(Turns([1]), ["eve"] * 5 + ["ann", "bob", "ann"]) == [
        "eve", "eve", "ann", "bob", "eve", "ann", "eve", "eve",
    ]  # fmt: skip


async def test_one_place_is_left_for_others() -> None:
    turns = Turns([1, 2, 3])
    async with turns.place("eve") as first, turns.place("eve") as second:
        third = asyncio.create_task(hold(turns, "eve"))
        await asyncio.sleep(0)
        async with asyncio.timeout(1), turns.place("ann") as other:
            assert sorted((first, second, other)) == [1, 2, 3]
        assert not third.done()
    assert await third in {1, 2}


async def test_the_last_place_that_came_back_goes_first() -> None:
    turns = Turns([1, 2, 3])
    assert [await hold(turns, "ann") for _ in range(3)] == [1, 1, 1]


async def test_whoever_is_cancelled_leaves_the_place_to_the_next() -> None:
    turns = Turns([1])
    async with turns.place("ann"):
        waits = [asyncio.create_task(hold(turns, "eve")) for _ in range(3)]
        await asyncio.sleep(0)
        waits[1].cancel()
        await asyncio.sleep(0)
    # Its place is handed out already, but it does not know yet.
    waits[0].cancel()
    assert await waits[2] == 1
    assert [task.cancelled() for task in waits] == [True, True, False]
    assert await order(turns, ["eve", "ann"]) == ["eve", "ann"]
    assert (turns._held, turns._waiting) == ({}, {})


async def hold(turns: Turns[int], tenant: str) -> int:
    async with turns.place(tenant) as place:
        return place
