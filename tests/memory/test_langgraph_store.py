"""What LangGraph expects of a store, and what people may do to its items meanwhile."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread
import psycopg
import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
    TTLConfig,
)
from sqlalchemy import select
from typing_extensions import TypedDict

from memory.audit import verify
from memory.langgraph_filter import BadFilter
from memory.langgraph_store import MnemeStore
from memory.listing import Where
from memory.opening import open_memory
from memory.service import Memory
from memory.tables import AuditRow
from memory.types import Actor, Change, Draft, MemCube, Query, Vault
from memory.vault.grants import Terms
from runtime.db import open_database
from runtime.errors import Conflict, Forbidden, InvalidInput, UnknownName
from runtime.ids import new_id
from tests.conftest import make_settings
from tests.memory.conftest import ANN, BOB, add_users
from tests.migrated import migrate
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
HERE = ("users", "ann")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def clock() -> SetClock:
    return SetClock()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
async def memory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, clock: SetClock
) -> AsyncIterator[Memory]:
    """The store on both databases, opened once; each test has a vault of its own in it."""
    given = {} if request.param == "sqlite" else {"database__url": new_database(request)}
    settings = make_settings(tmp_path_factory.mktemp("store"), embed__model="hashing-384", **given)
    migrate(settings)
    db = open_database(settings)
    try:
        await add_users(db, clock)
        async with open_memory(settings, db, clock) as opened:
            yield opened
    finally:
        await db.aclose()


@pytest.fixture
async def vault(memory: Memory) -> Vault:
    return (await memory.vaults.create(ANN, new_id("name"))).vault


@pytest.fixture
async def store(memory: Memory, vault: Vault) -> MnemeStore:
    return MnemeStore(memory, ANN, vault=vault.id, ttl=TTLConfig(refresh_on_read=True))


def new_database(request: pytest.FixtureRequest) -> str:
    server: str = request.getfixturevalue("postgres_server")
    name = f"t{os.urandom(6).hex()}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.rsplit("/", 1)[0] + f"/{name}"


async def live(memory: Memory, vault: Vault) -> list[MemCube]:
    """The live memories of the vault, the newest first."""
    return list((await memory.list(ANN, Where(vault.id, states=("activated",)))).items)


async def cube(memory: Memory, vault: Vault, key: str) -> MemCube:
    [found] = [item for item in await live(memory, vault) if item.attribute == key]
    return found


async def keys(store: MnemeStore, prefix: tuple[str, ...] = HERE, **asked: Any) -> list[str]:
    return [item.key for item in await store.asearch(prefix, **asked)]


# -- put, get, delete ----------------------------------------------------------------------------------------------------


async def test_what_was_put_is_got(store: MnemeStore, clock: SetClock) -> None:
    value = {"text": "Likes tea", "n": 1, "deep": {"list": [1, "two", None], "yes": True}, "größe": "groß 🙂 שלום"}
    await store.aput(HERE, "likes", value)
    item = await store.aget(HERE, "likes")
    assert item is not None
    assert (item.value, item.key, item.namespace) == (value, "likes", HERE)
    assert item.created_at == item.updated_at == clock.now()
    assert await store.aget(HERE, "other") is None
    assert await store.aget(("users",), "likes") is None
    assert await store.aget(("users", "ann", "deeper"), "likes") is None


async def test_put_again_is_the_next_version_and_keeps_the_birth(
    memory: Memory, vault: Vault, store: MnemeStore, clock: SetClock
) -> None:
    await store.aput(HERE, "likes", {"text": "tea"})
    born = clock.now()
    clock.pass_by(60)
    await store.aput(HERE, "likes", {"text": "coffee"})
    item = await store.aget(HERE, "likes")
    assert item is not None
    assert (item.value, item.created_at, item.updated_at) == ({"text": "coffee"}, born, clock.now())
    kept = await cube(memory, vault, "likes")
    assert kept.version == 2
    assert [version.content for version in await memory.history(ANN, kept.id)] == ["coffee", "tea"]


async def test_a_deleted_item_is_gone_and_can_be_put_anew(store: MnemeStore) -> None:
    await store.aput(HERE, "likes", {"text": "tea"})
    await store.adelete(HERE, "likes")
    await store.adelete(HERE, "likes")
    assert await store.aget(HERE, "likes") is None
    assert await keys(store) == []
    assert await store.alist_namespaces() == []
    await store.aput(HERE, "likes", {"text": "tea"})
    assert await keys(store) == ["likes"]


async def test_the_same_text_under_two_keys_is_two_items(store: MnemeStore) -> None:
    for key in ("a", "b"):
        await store.aput(HERE, key, {"text": "the same"})
    await store.aput(("users", "bob"), "a", {"text": "the same"})
    assert sorted(await keys(store)) == ["a", "b"]
    assert len(await store.asearch(("users",))) == 3


@pytest.mark.parametrize("value", [{}, {"nothing": None}, {"empty": ""}, {"blank": "  \n"}, {"list": []}])
async def test_a_value_without_words_is_kept_too(store: MnemeStore, value: dict[str, Any]) -> None:
    await store.aput(HERE, "odd", value)
    item = await store.aget(HERE, "odd")
    assert item is not None
    assert item.value == value


async def test_a_value_that_admission_would_refuse_is_kept(store: MnemeStore) -> None:
    for key, text in (("secret", "api_key = sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"), ("vague", "it")):
        await store.aput(HERE, key, {"text": text})
        item = await store.aget(HERE, key)
        assert item is not None
        assert item.value == {"text": text}


@pytest.mark.parametrize(
    "value", [{1: "x"}, {"x": object()}, {"x": 2**70}, {"x": "nul \0"}, {"$langgraph": 1}, {"x": "y" * 1_100_000}]
)
async def test_a_value_that_cannot_be_kept_is_refused_before_anything_is_done(
    store: MnemeStore, value: dict[str, Any]
) -> None:
    with pytest.raises(InvalidInput):
        await store.abatch([PutOp(HERE, "good", {"text": "good"}), PutOp(HERE, "bad", value)])
    assert await keys(store) == []


@pytest.mark.parametrize("key", ["", " lead", "trail ", '"quoted"', "a.b", "new\nline", "ключ", "%_*", "x" * 300])
async def test_any_key_and_label_names_its_own_item(store: MnemeStore, key: str) -> None:
    label = key.replace(".", "-")[:80] or "-"
    await store.aput(("root", label), key, {"key": key})
    await store.aput(("root", label.strip() + "'"), key.strip(), {"key": "other"})
    item = await store.aget(("root", label), key)
    assert item is not None
    assert (item.key, item.namespace, item.value) == (key, ("root", label), {"key": key})
    assert await keys(store, ("root", label)) == [key]
    assert ("root", label) in await store.alist_namespaces()


async def test_a_name_that_cannot_be_stored_is_refused_and_never_found(store: MnemeStore) -> None:
    for key in ("x" * 301, "nul\0", "half \ud800"):
        with pytest.raises(InvalidInput, match="key"):
            await store.aput(HERE, key, {})
        assert await store.aget(HERE, key) is None
    with pytest.raises(InvalidInput, match="namespace"):
        await store.aput(("y" * 200, "z" * 200), "k", {})


# -- namespaces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "namespace", [(), ("a.b",), ("",), ("a", ""), ("langgraph",), ("langgraph", "x"), (1,), ("a", "nul\0")]
)
async def test_a_namespace_that_is_none_is_refused(store: MnemeStore, namespace: Any) -> None:
    with pytest.raises(InvalidNamespaceError):
        await store.aput(namespace, "k", {"a": 1})
    if namespace and namespace[0] != "langgraph":
        for call in (
            store.aget(namespace, "k"),
            store.adelete(namespace, "k"),
            store.asearch(namespace),
            store.abatch([PutOp(namespace, "k", {})]),
        ):
            with pytest.raises(InvalidNamespaceError):
                await call


async def test_namespaces_are_listed_cut_and_filtered(store: MnemeStore) -> None:
    spaces = [
        ("a", "b", "c"),
        ("a", "b", "d", "e"),
        ("a", "b", "d", "i"),
        ("a", "b", "f"),
        ("a", "c", "f"),
        ("b", "a", "f"),
        ("users", "123"),
        ("users", "456", "settings"),
        ("users2", "789"),
    ]
    await store.abatch([PutOp(space, "k", {"n": n}) for n, space in enumerate(spaces)])
    listed = store.alist_namespaces
    assert await listed() == sorted(spaces)
    assert await listed(prefix=("a", "b")) == [space for space in spaces if space[:2] == ("a", "b")]
    assert await listed(prefix=("users",)) == [("users", "123"), ("users", "456", "settings")]
    assert await listed(suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f"), ("b", "a", "f")]
    assert await listed(prefix=("a",), suffix=("f",)) == [("a", "b", "f"), ("a", "c", "f")]
    assert await listed(prefix=("a", "*", "f")) == [("a", "b", "f"), ("a", "c", "f")]
    assert await listed(suffix=("d", "*")) == [("a", "b", "d", "e"), ("a", "b", "d", "i")]
    assert await listed(prefix=("*", "*", "settings")) == [("users", "456", "settings")]
    assert await listed(prefix=("a", "b"), max_depth=3) == [("a", "b", "c"), ("a", "b", "d"), ("a", "b", "f")]
    assert await listed(max_depth=1) == [("a",), ("b",), ("users",), ("users2",)]
    assert await listed(limit=2, offset=1) == sorted(spaces)[1:3]
    assert await listed(prefix=("a", "b", "c", "d", "e", "f")) == []
    with pytest.raises(BadFilter):
        await store.abatch([ListNamespacesOp((MatchCondition("inside", ("a",)),))])  # type: ignore[arg-type]


async def test_a_prefix_is_one_of_labels_and_not_of_letters(store: MnemeStore) -> None:
    for space in (("foo",), ("foo", "bar"), ("foobar",), ("FOO",), ("fo_",)):
        await store.aput(space, "k", {"in": space[0]})
    assert {item.namespace for item in await store.asearch(("foo",))} == {("foo",), ("foo", "bar")}
    assert {item.namespace for item in await store.asearch(("fo_",))} == {("fo_",)}
    assert len(await store.asearch(())) == 5


# -- search --------------------------------------------------------------------------------------------------------------


async def test_without_a_question_the_last_changed_come_first(store: MnemeStore, clock: SetClock) -> None:
    for key in "abcd":
        clock.pass_by(1)
        await store.aput(HERE, key, {"key": key})
    clock.pass_by(1)
    await store.aput(HERE, "b", {"key": "b", "again": True})
    assert await keys(store) == ["b", "d", "c", "a"]
    assert await keys(store, limit=2) == ["b", "d"]
    assert await keys(store, limit=2, offset=2) == ["c", "a"]
    assert await keys(store, offset=4) == []
    assert await keys(store, limit=0) == []
    with pytest.raises(InvalidInput, match="limit"):
        await store.asearch(HERE, limit=-1)
    with pytest.raises(InvalidInput, match="limit"):
        await store.asearch(HERE, offset=-1)


async def test_filters_compare_fields(store: MnemeStore) -> None:
    for n, colour in enumerate(["red", "blue", "red", "green"]):
        await store.aput(HERE, f"k{n}", {"n": n, "colour": colour, "meta": {"even": n % 2 == 0}})
    found = {
        "equal": {"colour": "red"},
        "both": {"colour": "red", "n": {"$gt": 0}},
        "not": {"colour": {"$ne": "red"}},
        "between": {"n": {"$gte": 1, "$lt": 3}},
        "least": {"n": {"$lte": 1}},
        "nested": {"meta": {"even": False}},
        "nothing": {"colour": {"$eq": "black"}},
    }
    got = {name: sorted(await keys(store, filter=wanted)) for name, wanted in found.items()}
    assert got == {
        "equal": ["k0", "k2"],
        "both": ["k2"],
        "not": ["k1", "k3"],
        "between": ["k1", "k2"],
        "least": ["k0", "k1"],
        "nested": ["k1", "k3"],
        "nothing": [],
    }
    assert len(await keys(store, filter={"colour": "red"}, limit=1, offset=1)) == 1
    with pytest.raises(ValueError, match="operator"):
        await store.asearch(HERE, filter={"n": {"$near": 1}})


async def test_more_items_than_a_page_are_all_found(store: MnemeStore) -> None:
    ops = [PutOp(HERE, f"k{n:04}", {"n": n}) for n in range(450)]
    await store.abatch(ops)
    assert await keys(store, filter={"n": 0}) == ["k0000"]
    assert len(set(await keys(store, limit=1000))) == 450
    assert set(await keys(store, limit=50, offset=400)) == set(await keys(store, limit=1000)) - set(
        await keys(store, limit=400)
    )


async def test_a_question_ranks_what_it_fits_and_lists_the_rest_behind(store: MnemeStore) -> None:
    texts = {"tea": "Ann drinks green tea in the morning", "dog": "The dog is called Rex", "rain": "It rains in Oslo"}
    for key, text in texts.items():
        await store.aput(HERE, key, {"text": text})
    await store.aput(("users", "bob"), "tea", {"text": "Bob drinks green tea"})
    found = await store.asearch(HERE, query="who drinks green tea?")
    assert found[0].key == "tea"
    assert found[0].score is not None
    assert {item.key for item in found} == set(texts)
    assert {item.namespace for item in found} == {HERE}
    assert await keys(store, query="who drinks green tea?", filter={"text": texts["dog"]}) == ["dog"]
    assert await keys(store, query="who drinks green tea?", limit=1) == ["tea"]
    assert len(await keys(store, query="who drinks green tea?", offset=1)) == 2
    assert len(await store.asearch(("users",), query="green tea")) == 4


@pytest.mark.parametrize("query", ["", " ", "!?*\"'()", "AND OR NOT", "🙂 שלום", "x" * 20_000, 'text:"tea" -rain'])
async def test_any_question_is_answered(store: MnemeStore, query: str) -> None:
    await store.aput(HERE, "tea", {"text": "tea"})
    assert await keys(store, query=query) == ["tea"]


async def test_fields_choose_the_text_and_false_keeps_it_out_of_the_ranking(memory: Memory, vault: Vault) -> None:
    store = MnemeStore(memory, ANN, vault=vault.id, fields=["summary"])
    await store.aput(HERE, "a", {"summary": "about whales", "body": "zebras"})
    await store.aput(HERE, "b", {"summary": "about whales", "body": "zebras"}, index=["body"])
    await store.aput(HERE, "c", {"summary": "zebras and whales"}, index=False)
    assert (await cube(memory, vault, "a")).content == "about whales"
    assert (await cube(memory, vault, "b")).content == "zebras"
    found = {item.key: item.score for item in await store.asearch(HERE, query="zebras")}
    assert found["b"] is not None
    assert found["c"] is None
    assert (await keys(store, query="zebras"))[0] == "b"
    # Another store over the same vault, with other fields, reads the same values.
    for key in "abc":
        mine, theirs = await store.aget(HERE, key), await MnemeStore(memory, ANN, vault=vault.id).aget(HERE, key)
        assert mine is not None
        assert theirs is not None
        assert mine.value == theirs.value
    with pytest.raises(InvalidInput, match="fields"):
        MnemeStore(memory, ANN, fields="text")
    with pytest.raises(InvalidInput, match="fields"):
        MnemeStore(memory, ANN, fields=[])


# -- batches -------------------------------------------------------------------------------------------------------------


async def test_a_batch_answers_in_order_and_reads_what_was_there_before(store: MnemeStore) -> None:
    await store.aput(HERE, "old", {"text": "old"})
    results: list[Any] = await store.abatch(
        [
            PutOp(HERE, "new", {"text": "new"}),
            GetOp(HERE, "old"),
            GetOp(HERE, "new"),
            SearchOp(("users",)),
            PutOp(HERE, "old", None),
            ListNamespacesOp(),
            GetOp(HERE, "old"),
        ]
    )
    assert [results[place] for place in (0, 2, 4)] == [None, None, None]
    assert results[1].value == results[6].value == {"text": "old"}
    assert [item.key for item in results[3]] == ["old"]
    assert results[5] == [HERE]
    assert await keys(store) == ["new"]
    assert await store.abatch([]) == []


async def test_of_several_puts_of_one_key_the_last_counts(memory: Memory, vault: Vault, store: MnemeStore) -> None:
    await store.abatch([PutOp(HERE, "k", {"n": n}) for n in range(5)])
    item = await store.aget(HERE, "k")
    assert item is not None
    assert item.value == {"n": 4}
    assert (await cube(memory, vault, "k")).version == 1
    await store.abatch([PutOp(HERE, "k", {"n": 9}), PutOp(HERE, "k", None)])
    assert await store.aget(HERE, "k") is None
    await store.abatch([PutOp(HERE, "k", None), PutOp(HERE, "k", {"n": 10})])
    assert await keys(store) == ["k"]


async def test_what_is_no_operation_is_refused(store: MnemeStore) -> None:
    with pytest.raises(InvalidInput, match="operation"):
        await store.abatch(["get"])  # type: ignore[list-item]


async def test_puts_of_one_key_at_once_make_one_item(memory: Memory, vault: Vault, store: MnemeStore) -> None:
    other = MnemeStore(memory, ANN, vault=vault.id)

    async def put(mine: MnemeStore, n: int) -> None:
        await mine.aput(HERE, "k", {"n": n})

    async with anyio.create_task_group() as tasks:
        for n in range(8):
            tasks.start_soon(put, (store, other)[n % 2], n)
    assert len(await live(memory, vault)) == 1
    item = await store.aget(HERE, "k")
    assert item is not None
    assert item.value["n"] in range(8)


# -- time ----------------------------------------------------------------------------------------------------------------


async def test_an_item_ends_with_its_time_and_can_be_put_again(store: MnemeStore, clock: SetClock) -> None:
    await store.aput(HERE, "k", {"text": "short"}, ttl=1)
    await store.aput(HERE, "stays", {"text": "long"})
    clock.pass_by(59)
    assert sorted(await keys(store, refresh_ttl=False)) == ["k", "stays"]
    clock.pass_by(2)
    assert await store.aget(HERE, "k") is None
    assert await keys(store) == ["stays"]
    assert await keys(store, query="short") == ["stays"]
    await store.aput(HERE, "k", {"text": "short"})
    clock.pass_by(10_000)
    assert sorted(await keys(store)) == ["k", "stays"]


async def test_a_namespace_ends_with_its_last_item(store: MnemeStore, clock: SetClock) -> None:
    await store.aput(HERE, "k", {"n": 1}, ttl=1)
    assert await store.alist_namespaces() == [HERE]
    clock.pass_by(61)
    assert await store.alist_namespaces() == []


@pytest.mark.parametrize("how", ["get", "search"])
async def test_reading_puts_the_end_off_but_is_no_change(
    memory: Memory, vault: Vault, store: MnemeStore, clock: SetClock, how: str
) -> None:
    await store.aput(HERE, "k", {"text": "x"}, ttl=10)
    put_at = clock.now()

    async def read(refresh: bool | None) -> Any:
        if how == "get":
            return await store.aget(HERE, "k", refresh_ttl=refresh)
        found = await store.asearch(HERE, refresh_ttl=refresh)
        return found[0] if found else None

    for _ in range(4):
        clock.pass_by(400)
        item = await read(None)
        assert item is not None
        assert item.updated_at == put_at
    clock.pass_by(400)
    assert await read(False) is not None
    clock.pass_by(400)
    assert await read(None) is None
    [ended] = (await memory.list(ANN, Where(vault.id, states=("activated", "expired")))).items
    assert ended.version == 5


async def test_many_reads_are_few_versions(memory: Memory, vault: Vault, store: MnemeStore, clock: SetClock) -> None:
    await store.aput(HERE, "k", {"text": "x"}, ttl=60)
    for _ in range(60):
        clock.pass_by(30)
        assert await store.aget(HERE, "k") is not None
    assert (await cube(memory, vault, "k")).version <= 1 + 10


async def test_the_store_and_the_vault_may_say_how_long_items_live(
    memory: Memory, vault: Vault, clock: SetClock
) -> None:
    mortal = (await memory.vaults.create(ANN, new_id("name"), default_ttl_s=300)).vault
    of_store = MnemeStore(memory, ANN, vault=vault.id, ttl=TTLConfig(default_ttl=5, refresh_on_read=False))
    of_vault = MnemeStore(memory, ANN, vault=mortal.id)
    for store in (of_store, of_vault):
        for _ in range(2):
            await store.aput(HERE, "k", {"n": 1})
        await store.aput(HERE, "long", {"n": 1}, ttl=60)
        clock.pass_by(200)
        assert await store.aget(HERE, "k", refresh_ttl=False) is not None
        clock.pass_by(101)
        assert await keys(store) == ["long"]
    await of_store.aput(HERE, "forever", {"n": 1}, ttl=None)
    clock.pass_by(1_000_000)
    assert await keys(of_store) == ["forever"]
    for ttl in (float("nan"), 1e300):
        with pytest.raises(InvalidInput, match="ttl"):
            await of_store.aput(HERE, "k", {"n": 1}, ttl=ttl)


# -- from a thread, and in a graph ---------------------------------------------------------------------------------------


async def test_other_threads_use_it_without_await(store: MnemeStore) -> None:
    def work() -> list[str]:
        store.put(HERE, "k", {"text": "from a thread"})
        item = store.get(HERE, "k")
        assert item is not None
        store.put(HERE, "gone", {"n": 1})
        store.delete(HERE, "gone")
        assert store.list_namespaces() == [HERE]
        with pytest.raises(InvalidNamespaceError):
            store.put(("a.b",), "k", {})
        return [found.key for found in store.search(HERE, query="thread")]

    assert await anyio.to_thread.run_sync(work) == ["k"]


async def test_its_own_loop_is_told_to_await(store: MnemeStore) -> None:
    with pytest.raises(asyncio.InvalidStateError, match="aget"):
        store.get(HERE, "k")


def test_without_a_loop_there_is_no_store() -> None:
    with pytest.raises(InvalidInput, match="coroutine"):
        MnemeStore(object(), ANN)  # type: ignore[arg-type]


class State(TypedDict):
    said: str


async def test_a_graph_remembers_with_it(store: MnemeStore) -> None:
    async def remember(state: State, runtime: Runtime[None]) -> State:
        assert runtime.store is not None
        before = await runtime.store.aget(HERE, "said")
        await runtime.store.aput(HERE, "said", {"text": state["said"]})
        return {"said": before.value["text"] if before is not None else ""}

    builder: StateGraph[State, None, State, State] = StateGraph(State)
    builder.add_node("remember", remember)
    builder.add_edge(START, "remember")
    builder.add_edge("remember", END)
    graph = builder.compile(store=store)
    assert await graph.ainvoke({"said": "first"}) == {"said": ""}
    assert await graph.ainvoke({"said": "second"}) == {"said": "first"}


# -- people and their rights ---------------------------------------------------------------------------------------------


async def test_a_person_corrects_an_item_and_the_graph_reads_it(
    memory: Memory, vault: Vault, store: MnemeStore, clock: SetClock
) -> None:
    await store.aput(HERE, "one", {"text": "Likes tea", "n": 1}, index=["text"])
    await store.aput(HERE, "two", {"name": "Ann", "city": "Porto"})
    one, two = await cube(memory, vault, "one"), await cube(memory, vault, "two")
    assert (one.content, two.content) == ("Likes tea", "name: Ann\ncity: Porto")
    clock.pass_by(5)
    await memory.edit(ANN, one.id, Change({"content": "Likes coffee"}), expect=1)
    await memory.edit(ANN, two.id, Change({"content": "name: Ann\ncity: Lisbon", "title": "Ann"}), expect=1)
    item = await store.aget(HERE, "one")
    assert item is not None
    assert (item.value, item.updated_at) == ({"text": "Likes coffee", "n": 1}, clock.now())
    assert await keys(store, filter={"city": "Lisbon"}) == ["two"]
    # The next put starts from the corrected version, and what people added beside the text stays.
    await store.aput(HERE, "two", {"name": "Ann", "city": "Faro"})
    after = await memory.get(ANN, two.id)
    assert (after.version, after.title, after.content) == (3, "Ann", "name: Ann\ncity: Faro")


async def test_a_person_edits_the_data_and_the_graph_reads_it(memory: Memory, vault: Vault, store: MnemeStore) -> None:
    await store.aput(HERE, "k", {"text": "Likes tea", "n": 1})
    kept = await cube(memory, vault, "k")
    await memory.edit(ANN, kept.id, Change({"data": {**kept.data, "n": 2}}), expect=1)
    item = await store.aget(HERE, "k")
    assert item is not None
    assert item.value == {"text": "Likes tea", "n": 2}
    await memory.edit(ANN, kept.id, Change({"data": {"mine": "all of it"}, "content": "all of it"}), expect=2)
    item = await store.aget(HERE, "k")
    assert item is not None
    assert item.value == {"mine": "all of it"}


async def test_what_a_person_takes_away_the_graph_loses(memory: Memory, vault: Vault, store: MnemeStore) -> None:
    for key in ("deleted", "archived", "held", "frozen"):
        await store.aput(HERE, key, {"text": key})
    ids = {key: (await cube(memory, vault, key)).id for key in ("deleted", "archived", "held", "frozen")}
    await memory.delete(ANN, ids["deleted"], expect=1)
    await memory.move(ANN, ids["archived"], "archive")
    await memory.move(ANN, ids["held"], "quarantine")
    await memory.move(ANN, ids["frozen"], "freeze")
    assert await keys(store) == ["frozen"]
    for key in ("held", "frozen"):
        with pytest.raises(Conflict):
            await store.aput(HERE, key, {"text": "new"})
    await store.aput(HERE, "archived", {"text": "new"})
    assert sorted(await keys(store)) == ["archived", "frozen"]
    await memory.move(ANN, ids["archived"], "restore")
    assert sorted(await keys(store)) == ["archived", "frozen"]
    await store.aput(HERE, "archived", {"text": "newer"})
    assert len(await live(memory, vault)) == 1


async def test_other_memories_of_the_vault_are_no_items(memory: Memory, vault: Vault, store: MnemeStore) -> None:
    await memory.add(
        ANN, [Draft("Ann lives in Porto", subject="users.ann", attribute="k", tags=("langgraph",))], vault=vault.id
    )
    assert await store.asearch(()) == []
    assert await store.asearch((), query="Porto") == []
    assert await store.aget(HERE, "k") is None
    await store.aput(HERE, "k", {"text": "Ann lives in Porto"})
    assert await keys(store) == ["k"]
    assert len((await memory.search(ANN, Query("Porto", vaults=(vault.id,)))).hits) == 2


async def test_whoever_may_not_see_the_vault_gets_nothing(memory: Memory, vault: Vault, store: MnemeStore) -> None:
    await store.aput(HERE, "k", {"text": "Ann's"})
    his = MnemeStore(memory, BOB, vault=vault.id)
    for call in (
        his.aget(HERE, "k"),
        his.asearch(HERE),
        his.asearch(HERE, query="Ann"),
        his.aput(HERE, "k", {"text": "Bob's"}),
        his.adelete(HERE, "k"),
        his.alist_namespaces(),
    ):
        with pytest.raises(UnknownName, match="not found"):
            await call
    assert await keys(MnemeStore(memory, BOB)) == []
    with pytest.raises(UnknownName):
        await MnemeStore(memory, ANN, vault="no such vault").aget(HERE, "k")


async def test_a_grant_is_kept_to(memory: Memory, vault: Vault, store: MnemeStore, clock: SetClock) -> None:
    await store.aput(HERE, "k", {"text": "for all"}, ttl=10)
    await store.aput(("users", "ann", "ill"), "k", {"text": "for few"})
    [ill] = [item for item in await live(memory, vault) if item.content == "for few"]
    await memory.edit(ANN, ill.id, Change({"sensitivity": ("health",)}), expect=1)
    terms = Terms(user="bob", verbs=frozenset({"read"}), masked_tags=("health",), context="graph", max_reads=4)
    await memory.vaults.grants.give(ANN, vault.id, terms)
    his = MnemeStore(memory, Actor(BOB.user_id, "graph"), vault=vault.id)
    assert [item.value for item in await his.asearch(())] == [{"text": "for all"}]
    assert await his.alist_namespaces() == [HERE]
    with pytest.raises(Forbidden):
        await his.aput(HERE, "k", {"text": "mine"})
    # He may not write, so his reading does not put the end off either, and that is no offence.
    clock.pass_by(400)
    item = await his.aget(HERE, "k")
    assert item is not None
    clock.pass_by(100)
    assert len(await his.asearch((), query="for all")) == 1
    with pytest.raises(UnknownName):
        await his.aget(HERE, "k")
    clock.pass_by(101)
    assert await keys(store) == ["k"]
    assert [item.namespace for item in await store.asearch(HERE)] == [("users", "ann", "ill")]
    told = select(AuditRow.action).where(AuditRow.chain == vault.id, AuditRow.decision == "deny")
    query = told.order_by(AuditRow.n)
    denied = await memory.core.read(ANN, lambda tx: tx.connection.execute(query).scalars().all())
    assert denied == ["write", "read"]


async def test_writes_are_audited_and_refusals_too(memory: Memory, vault: Vault, store: MnemeStore) -> None:
    await store.aput(HERE, "k", {"n": 1})
    await store.aput(HERE, "k", {"n": 2})
    await store.adelete(HERE, "k")
    with pytest.raises(UnknownName):
        await MnemeStore(memory, Actor(BOB.user_id, "a graph"), vault=vault.id).aget(HERE, "k")
    told = select(AuditRow.action, AuditRow.decision, AuditRow.context).where(AuditRow.chain == vault.id)
    query = told.order_by(AuditRow.n)
    lines = await memory.core.read(ANN, lambda tx: [tuple(row) for row in tx.connection.execute(query)])
    assert lines[1:] == [  # the first is that the vault was made
        ("add", "allow", None),
        ("overwrite", "allow", None),
        ("delete", "allow", None),
        ("read", "deny", "a graph"),
    ]
    assert await memory.core.read(ANN, lambda tx: verify(tx, vault.id)) is None
