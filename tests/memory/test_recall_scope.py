"""Recall: what is shown of what was found: at which time, to whom, and when something is down."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from memory import store
from memory.adding import Adding
from memory.changes import applied
from memory.core import Core
from memory.encoders.base import Role, Vectors
from memory.indices.base import Filter, Vector, VectorHit
from memory.ranking.related import Neighbour
from memory.recall import Recaller
from memory.spaces import Spaces
from memory.store import NewMemory
from memory.tables import AuditRow
from memory.types import Change, Draft, MemCube, RecallHit
from memory.vault.grants import Grants, Terms
from runtime.errors import ModelUnavailable, StorageError, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, vault_id
from tests.memory.shelves import NoGraph, Shelf, open_shelf
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def shelf(core: Core, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with open_shelf(core, tmp_path) as made:
        yield made


class NotAsked:
    async def wait_for(self, ids: Sequence[str]) -> bool:
        raise AssertionError("nothing waits for the index here")


async def add(shelf: Shelf, draft: Draft) -> MemCube:
    """As the service does, with the rules that close what a new fact supersedes."""
    lab = shelf.lab
    adding = Adding(lab.core, lab.spaces, lab.gate, NotAsked())
    (added,) = await adding.add(ANN, [draft], vault=None, wait="committed", force=False, reason="")
    await lab.indexed()
    assert added.memory is not None
    return added.memory


JUNE_2024 = datetime(2024, 6, 1, tzinfo=UTC)


async def test_ana_moves_to_lisbon(shelf: Shelf, clock: SetClock) -> None:
    """memos §7.5"""
    home = {"subject": "Ana", "attribute": "residence"}
    porto = await add(shelf, Draft("Ana lives in Porto", **home, valid_from=datetime(2024, 1, 1, tzinfo=UTC)))  # type: ignore[arg-type]
    clock.pass_by(60)
    before = clock.now()
    clock.pass_by(60)
    lisbon = await add(
        shelf,
        Draft("Ana moved to Lisbon on 2025-03-10", **home, valid_from=datetime(2025, 3, 10, tzinfo=UTC)),  # type: ignore[arg-type]
    )
    sister = {"subject": "Ana's sister", "attribute": "residence"}
    faro = await add(shelf, Draft("Ana's sister lives in Faro", **sister, valid_from=JUNE_2024))  # type: ignore[arg-type]
    ours = {porto.id, lisbon.id}

    async def shown(**query: Any) -> list[RecallHit]:
        found = await shelf.find("Where does Ana live? Porto Lisbon Faro", **query)
        assert (faro.id in {hit.memory.id for hit in found.hits}) == (query.get("as_of") is None)
        return [hit for hit in found.hits if hit.memory.id in ours]

    assert [hit.memory.id for hit in await shown()] == [lisbon.id]
    assert [hit.memory.id for hit in await shown(at=JUNE_2024)] == [porto.id]
    (then,) = await shown(as_of=before)
    assert (then.memory.id, then.memory.valid_to, then.memory.version) == (porto.id, None, 1)
    assert [hit.memory.id for hit in await shown(at=datetime(2025, 3, 10, tzinfo=UTC))] == [lisbon.id]
    assert await shelf.lab.links(lisbon) == {(lisbon.id, "SUPERSEDES", porto.id)}
    assert (await shelf.lab.now(porto)).valid_to == lisbon.valid_from
    assert (await shelf.lab.now(faro)).version == 1


async def test_a_text_that_was_edited_is_found_as_it_was(shelf: Shelf, clock: SetClock) -> None:
    cube = await shelf.lab.put("The password hint is heron")
    other = await shelf.lab.put("A heron flew by")
    before = clock.now()
    clock.pass_by(5)
    new = applied(cube, Change({"content": "The hint is osprey"}))
    await shelf.lab.core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", **new))
    await shelf.lab.indexed()
    for mode in ("hybrid", "lexical"):
        assert cube.content not in await shelf.texts("heron hint", mode=mode)
        (then,) = (await shelf.find("heron hint", mode=mode, k=1, as_of=before)).hits
        assert (then.memory.content, then.memory.version) == (cube.content, 1)
    assert await shelf.texts("heron", as_of=before - timedelta(days=1)) == []
    # What was deleted since is out of sight at every moment.
    await shelf.lab.core.write(ANN, lambda tx: store.move(tx, other, "delete"))
    assert other.content not in await shelf.texts("heron", as_of=before)


async def test_a_lifetime_ends_without_a_sweep(shelf: Shelf, clock: SetClock) -> None:
    """memos §7.9"""
    await shelf.lab.put("the heron is here", expires_at=clock.now() + timedelta(seconds=2))
    clock.pass_by(1)
    assert await shelf.texts("heron") == ["the heron is here"]
    clock.pass_by(2)
    found = await shelf.find("heron")
    assert (found.hits, found.dropped) == ((), 1)


async def test_freezing_suspends_a_lifetime_but_not_that_of_a_sensitive_text(shelf: Shelf, clock: SetClock) -> None:
    soon = clock.now() + timedelta(seconds=2)
    await shelf.lab.put("heron kept", state="frozen", expires_at=soon)
    await shelf.lab.put("heron secret", state="frozen", expires_at=soon, sensitivity=("health",))
    clock.pass_by(3)
    assert await shelf.texts("heron") == ["heron kept"]


async def test_a_foreign_vault_is_not_there_and_the_refusal_is_audited(shelf: Shelf, core: Core) -> None:
    await shelf.lab.put("the heron is mine")
    home = await vault_id(core)
    for mode in ("hybrid", "dense", "lexical", "graph"):
        with pytest.raises(UnknownName, match="not found"):
            await shelf.find("heron", BOB, vaults=(home,), mode=mode)
    denied = select(AuditRow.actor_id).where(AuditRow.decision == "deny")
    assert await core.read(ANN, lambda tx: list(tx.connection.execute(denied).scalars())) == [BOB.user_id] * 4


async def test_masked_memories_are_left_out_and_influence_nothing(shelf: Shelf, core: Core) -> None:
    home = await vault_id(core)
    await shelf.lab.put("heron in the garden")
    await Grants(core).give(ANN, home, Terms(frozenset({"read"}), "bob", masked_tags=("health",)))
    without = await shelf.find("heron doctor", BOB, vaults=(home,))
    await shelf.lab.put("heron seen from the doctor's window", sensitivity=("health",))
    found = await shelf.find("heron doctor", BOB, vaults=(home,))
    assert found == without
    assert len(await shelf.texts("heron doctor", vaults=(home,))) == 2


class Lying:
    """An index that answers what it was not asked for: points of every vault, and one that there is not."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids

    async def search(self, vector: Vector, limit: int, where: Filter) -> list[VectorHit]:
        return [VectorHit(memory_id, 0.99, 1) for memory_id in [*self._ids, f"mem_{0:032x}"]]


def with_index(shelf: Shelf, core: Core, index: object) -> Recaller:
    return Recaller(core, Spaces(replace(shelf.lab.spaces.active, index=index)), NoGraph())  # type: ignore[arg-type]


async def test_an_index_that_lies_discloses_nothing(shelf: Shelf, core: Core) -> None:
    await core.default_vault(BOB)
    secret = await shelf.lab.put("the heron of Bob", BOB)
    mine = await shelf.lab.put("my own heron")
    gone = await shelf.lab.put("a heron that left")
    await core.write(ANN, lambda tx: store.move(tx, gone, "delete"))
    shelf.recaller = with_index(shelf, core, Lying([secret.id, gone.id, mine.id]))
    found = await shelf.find("heron", mode="dense")
    assert [hit.memory.id for hit in found.hits] == [mine.id]
    assert found.dropped == 1  # of what is not hers, not even the number is told


class Down:
    """Neither encodes nor searches."""

    def __init__(self, profile: object) -> None:
        self.profile = profile

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        raise ModelUnavailable("the embedding server is down; start it")

    async def search(self, vector: Vector, limit: int, where: Filter) -> list[VectorHit]:
        raise StorageError("the index is down; start it")

    async def related(
        self, seeds: Mapping[int, float], *, entities: Mapping[int, float] = {}, limit: int
    ) -> Sequence[Neighbour]:
        raise StorageError("the graph cannot be read")


@pytest.mark.parametrize("mode", ["hybrid", "dense", "graph"])
async def test_full_text_answers_for_what_is_down(shelf: Shelf, core: Core, mode: str) -> None:
    await shelf.lab.put("the heron is here", entities=("heron",))
    active = shelf.lab.spaces.active
    down = Down(active.encoder.profile)
    for broken, missing in ((replace(active, encoder=down), "dense"), (replace(active, index=down), "dense")):  # type: ignore[arg-type]
        shelf.recaller = Recaller(core, Spaces(broken), NoGraph())
        found = await shelf.find("heron", mode=mode)
        assert [hit.memory.content for hit in found.hits] == ["the heron is here"]
        assert found.degraded == (missing,)
    shelf.recaller = Recaller(core, shelf.lab.spaces, down)
    found = await shelf.find("heron", mode=mode)
    assert len(found.hits) == 1
    assert found.degraded == (() if mode == "dense" else ("graph",))


async def test_a_memory_without_a_vector_yet_is_found_by_its_words(shelf: Shelf, core: Core) -> None:
    home = await vault_id(core)
    items = [NewMemory(new_id("mem"), home, Draft("a new heron"), new_id("prv"))]
    await core.write(ANN, lambda tx: store.insert_all(tx, items))
    (hit,) = (await shelf.find("heron")).hits
    assert "dense" not in hit.ranks
    assert "cosine" not in hit.scores
