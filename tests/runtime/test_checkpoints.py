"""Checkpoints: a graph goes on where it stood, plain values only, several processes at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph

from runtime.checkpoints import forget, open_saver
from runtime.errors import StorageError
from runtime.settings import Settings
from tests.conftest import free_port, make_settings

pytestmark = pytest.mark.anyio

CONFIG: RunnableConfig = {"configurable": {"thread_id": "run_1"}}


@dataclass
class Foreign:
    """A value that is not plain."""

    payload: str


class State(TypedDict):
    done: list[str]


class Breaks(Exception):
    """What a killed process looks like to the graph."""


async def go(saver: BaseCheckpointSaver[str], calls: list[str], *, breaks: bool) -> State:
    """A graph of two nodes; the second may break."""

    async def first(state: State) -> State:
        calls.append("first")
        return {"done": [*state["done"], "first"]}

    async def second(state: State) -> State:
        calls.append("second")
        if breaks:
            raise Breaks
        return {"done": [*state["done"], "second"]}

    graph = StateGraph(State)
    graph.add_node("first", first)
    graph.add_node("second", second)
    graph.add_edge(START, "first")
    graph.add_edge("first", "second")
    graph.add_edge("second", END)
    going_on = await saver.aget_tuple(CONFIG) is not None
    compiled = graph.compile(checkpointer=saver)
    result = await compiled.ainvoke(None if going_on else {"done": []}, CONFIG, durability="sync")
    return {"done": result["done"]}


@pytest.fixture(params=["sqlite", "postgresql"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings of an empty database of either kind."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgresql" else None
    return make_settings(tmp_path / "home", database__url=url)


async def test_a_graph_goes_on_behind_its_last_node_in_another_process(kept: Settings) -> None:
    calls: list[str] = []
    async with open_saver(kept) as saver:
        with pytest.raises(Breaks):
            await go(saver, calls, breaks=True)
    async with open_saver(kept) as saver:
        assert await go(saver, calls, breaks=False) == {"done": ["first", "second"]}
    assert calls == ["first", "second", "second"]


async def test_what_is_forgotten_begins_again(kept: Settings) -> None:
    calls: list[str] = []
    async with open_saver(kept) as saver:
        await go(saver, calls, breaks=False)
        await forget(saver, "run_1")
        assert await saver.aget_tuple(CONFIG) is None
        await go(saver, calls, breaks=False)
    assert calls == ["first", "second"] * 2


async def test_several_processes_may_make_the_tables_at_once(kept: Settings) -> None:
    async def open_one() -> None:
        async with open_saver(kept) as saver:
            assert await saver.aget_tuple(CONFIG) is None

    await asyncio.gather(*(open_one() for _ in range(4)))


async def test_values_of_other_types_are_not_revived(kept: Settings) -> None:
    async with open_saver(kept) as saver:
        back = saver.serde.loads_typed(saver.serde.dumps_typed({"plain": [1, "a\0ü"], "foreign": Foreign("x")}))
    assert back["plain"] == [1, "a\0ü"]
    assert not isinstance(back["foreign"], Foreign)


async def test_nothing_is_pickled(kept: Settings) -> None:
    async with open_saver(kept) as saver:
        with pytest.raises(TypeError):
            saver.serde.dumps_typed(lambda: None)
        with pytest.raises(NotImplementedError):
            saver.serde.loads_typed(("pickle", b"cos\nsystem\n(S'true'\ntR."))


async def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="checkpoint database"):
        async with open_saver(make_settings(tmp_path / "file" / "home")):
            pass


async def test_a_file_that_is_no_database_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "checkpoints.db").write_bytes(b"certainly no database " * 100)
    with pytest.raises(StorageError, match="checkpoint database"):
        async with open_saver(make_settings(tmp_path)):
            pass


async def test_a_server_that_is_not_there_is_a_storage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("runtime.checkpoints.CONNECT_TIMEOUT_S", 0.3)
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/mneme"
    with pytest.raises(StorageError, match="checkpoint database"):
        async with open_saver(make_settings(tmp_path, database__url=url)):
            pass
    assert caplog.records, "the pool says why in the log"
