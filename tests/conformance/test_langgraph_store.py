"""The same operations on LangGraph's own store in memory and on ours give the same answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, Op, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from memory.langgraph_store import MnemeStore
from memory.opening import open_memory
from memory.service import Memory
from memory.types import Actor
from runtime.db import open_database
from runtime.ids import SYSTEM, new_id
from runtime.keys import KeyStore
from tests.conftest import make_settings
from tests.migrated import migrate

pytestmark = pytest.mark.anyio

LABELS = st.sampled_from(["a", "b", "A", "größe", " a"])
SPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["k", "K", "l", "k.l"])
WORDS = st.sampled_from(["tea", "rain", "", "two\nlines", "n: 3", "🙂"])
VALUES = st.fixed_dictionaries(
    {"n": st.integers(-2, 2)},
    optional={
        "text": WORDS,
        "deep": st.dictionaries(WORDS, st.none() | st.booleans() | WORDS, max_size=2),
        "list": st.lists(WORDS | st.integers(0, 1), max_size=2),
    },
)
COMPARED = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), st.integers(-2, 2), min_size=1, max_size=2
)
FILTERS = st.fixed_dictionaries({}, optional={"n": st.integers(-1, 1) | COMPARED, "text": WORDS, "deep": st.just({})})
PATHS = st.lists(LABELS | st.just("*"), min_size=1, max_size=2).map(tuple)
CONDITIONS = st.lists(st.builds(MatchCondition, st.sampled_from(["prefix", "suffix"]), PATHS), max_size=2).map(tuple)
OPS = st.one_of(
    st.builds(PutOp, SPACES, KEYS, st.none() | VALUES, st.none(), st.none()),
    st.builds(PutOp, SPACES, KEYS, VALUES, st.sampled_from([None, False, ["text"], ["deep.*"]]), st.none()),
    st.builds(GetOp, SPACES, KEYS, st.booleans()),
    st.builds(SearchOp, st.just(()) | SPACES, FILTERS, st.integers(0, 4), st.integers(0, 3), st.none() | WORDS),
    st.builds(ListNamespacesOp, CONDITIONS, st.none() | st.integers(1, 3), st.integers(1, 4), st.integers(0, 2)),
)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Memory, Actor]]:
    made = make_settings(tmp_path_factory.mktemp("congruent"), embed__model="hashing-384")
    migrate(made)
    db = open_database(made)
    try:
        actor = Actor(await KeyStore(db, SYSTEM).user_id("ann"))
        async with open_memory(made, db) as memory:
            yield memory, actor
    finally:
        await db.aclose()


@given(st.lists(st.lists(OPS, min_size=1, max_size=4), min_size=1, max_size=6))
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # Each example writes to a disk: making a failure smaller would take minutes.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
async def test_random_operations_agree(opened: tuple[Memory, Actor], batches: list[list[Op]]) -> None:
    memory, actor = opened
    vault = (await memory.vaults.create(actor, new_id("name"))).vault
    ours, theirs = MnemeStore(memory, actor, vault=vault.id), InMemoryStore()
    for batch in batches:
        expected = [await expectation(theirs, op) for op in batch]
        await theirs.abatch([op for op in batch if isinstance(op, PutOp)])
        results = await ours.abatch(batch)
        for op, result, wanted in zip(batch, results, expected, strict=True):
            check(op, result, wanted)
    everything = await ours.asearch((), limit=1000)
    assert spelled(everything) == spelled(await theirs.asearch((), limit=1000))
    assert await ours.alist_namespaces() == sorted({item.namespace for item in everything})


async def expectation(store: InMemoryStore, op: Op) -> Any:
    """What LangGraph's store says. It lists namespaces that were only looked at, too: so a fresh one is asked."""
    match op:
        case SearchOp():
            return await store.asearch(op.namespace_prefix, filter=op.filter, limit=1000)
        case ListNamespacesOp():
            fresh = InMemoryStore()
            for item in await store.asearch((), limit=1000):
                await fresh.aput(item.namespace, item.key, item.value)
            return (await fresh.abatch([op]))[0]
        case GetOp():
            return await store.aget(op.namespace, op.key)
    return None


def check(op: Op, result: Any, wanted: Any) -> None:
    match op:
        case GetOp():
            assert (result and result.value) == (wanted and wanted.value)
        case SearchOp():
            # The order is ours (last changed first), which of them are found and how many is not.
            assert len(result) == len(wanted[op.offset : op.offset + op.limit])
            assert spelled(result) <= spelled(wanted)
            times = [item.updated_at for item in result]
            assert op.query or times == sorted(times, reverse=True)
        case _:
            assert result == wanted


def spelled(items: Sequence[Any]) -> set[str]:
    return {repr((item.namespace, item.key, sorted(item.value.items(), key=repr))) for item in items}
