"""Candidates read from SQL: what the clauses let through is never less than what is shown, on both databases."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import get_args

import numpy as np
import pytest
from sqlalchemy import insert, update

from memory import access, rows, store
from memory.core import Core
from memory.ranking import pool
from memory.ranking.checked import dropped, visible
from memory.ranking.scope import Scope
from memory.store import NewMemory
from memory.tables import MemoryRow, ProfileRow
from memory.tx import Tx
from memory.types import Draft, MemCube, Query, State
from runtime.ids import new_id
from tests.memory.conftest import ANN, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


def scope(tx: Tx, query: Query) -> Scope:
    allowed = access.vaults(tx, query.vaults, "read")
    return Scope({item.vault.id: item for item in allowed}, query, tx.now)


async def test_the_clauses_let_through_whatever_is_shown(core: Core, clock: SetClock) -> None:
    home = await vault_id(core)
    now, day = clock.now(), timedelta(days=1)
    made = product(
        get_args(State),
        (None, now - day, now + day),  # expires_at
        (None, now - day),  # superseded_at
        ((None, None), (now - 3 * day, None), (None, now - 2 * day), (now - 2 * day, now + day)),  # valid
    )
    items, later = [], {}
    for number, (state, expires, superseded, (begun, ended)) in enumerate(made):
        sensitivity = ("health",) if number % 5 == 0 else ()
        draft = Draft(f"heron {number}", state=state, expires_at=expires, valid_from=begun, valid_to=ended)
        items.append(NewMemory(new_id("mem"), home, draft, new_id("prv")))
        later[items[-1].id] = {"superseded_at": superseded, "sensitivity": list(sensitivity)}

    def write(tx: Tx) -> list[int]:
        seqs = [item.cube.seq for item in store.insert_all(tx, items)]
        for memory_id, values in later.items():
            tx.connection.execute(update(MemoryRow).where(MemoryRow.id == memory_id).values(**values))
        return seqs

    seqs = await core.write(ANN, write)
    clock.pass_by(5)
    looks = (
        Query("x"),
        Query("x", at=now),
        Query("x", at=now - 2 * day),
        Query("x", as_of=clock.now()),
        Query("x", as_of=clock.now(), at=now),
        Query("x", states=("archived", "quarantined")),
        Query("x", states=("archived",), at=now),
        Query("x", states=("deleted",)),
        Query("x", kinds=("note",)),
        Query("x", session_id="s"),
    )
    for query in looks:

        def read(tx: Tx, query: Query = query) -> tuple[set[int], list[MemCube], int]:
            seen = scope(tx, query)
            cubes = rows.cubes_by_seq(tx, seqs)
            shown = {cube.seq for cube in pool.as_they_were(tx, seen, cubes)}
            candidates = {each.seq for each in pool.by_seq(tx, seen, seqs)}
            assert shown <= candidates
            left = {each.seq: each.id for each in pool.by_seq(tx, seen, seqs)}
            return shown, visible(tx, seen, seqs, len(seqs)).cubes, dropped(tx, seen, seqs, (), left)

        shown, cubes, left_out = await core.read(ANN, read)
        assert [cube.seq for cube in cubes] == [seq for seq in seqs if seq in shown]
        assert bool(shown) == (query not in looks[-3:])
        assert left_out <= len(seqs) - len(shown)


async def test_what_stands_around_is_of_the_same_session_and_vault(core: Core) -> None:
    made = {
        (session, place): await put(core, f"{session} {place}", session_id=session, position=place)
        for session in ("a", "b")
        for place in range(8)
    }
    alone = await put(core, "without a session")

    def read(tx: Tx) -> list[set[str]]:
        seen = scope(tx, Query("x"))
        seeds = pool.by_id(tx, seen, [made["a", 3].id, made["b", 0].id, alone.id])
        assert [each.id for each in seeds] == [made["a", 3].id, made["b", 0].id, alone.id]
        past = scope(tx, Query("x", as_of=tx.now))
        return [{each.text for each in pool.around(tx, at, seeds)} for at in (seen, past)]

    for found in await core.read(ANN, read):
        assert found == {f"a {n}" for n in range(1, 6)} | {f"b {n}" for n in range(3)}


async def test_cosines_are_those_of_the_stored_vectors(core: Core) -> None:
    home = await vault_id(core)
    rng = np.random.default_rng(1)
    vectors = [vector / np.linalg.norm(vector) for vector in rng.normal(size=(3, 8)).astype(np.float32)]
    given = [{"emb_a": vectors[0]}, {"emb_a": vectors[1], "emb_b": vectors[2]}, {}]
    items = [NewMemory(new_id("mem"), home, Draft(f"n{n}"), new_id("prv"), each) for n, each in enumerate(given)]

    def work(tx: Tx) -> np.ndarray:
        for name in ("emb_a", "emb_b"):
            tx.connection.execute(
                insert(ProfileRow).values(
                    id=name, slug=name, provider="test", model="m", revision="1", dim=8, metric="cosine", normalise=True,
                    prefix_doc="", prefix_query="", codec="f32", state="active", cursor=0, created_at=tx.now,
                )
            )  # fmt: skip
        seqs = [item.cube.seq for item in store.insert_all(tx, items)]
        candidates = pool.by_seq(tx, scope(tx, Query("x")), seqs)
        return pool.cosines(tx, "emb_a", candidates, vectors[1])

    found = await core.write(ANN, work)
    assert found[:2] == pytest.approx([vectors[0] @ vectors[1], 1.0], abs=2e-3)
    assert np.isnan(found[2])
