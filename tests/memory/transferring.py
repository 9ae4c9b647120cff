"""A store that exports and imports, over an encoder without weights; and short ways to look into a vault."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select

from memory import profiles, rows, store, versions
from memory.admitting.gate import Gate
from memory.archive.transfer import Transfer
from memory.codecs import registry as codecs
from memory.core import Core
from memory.encoders.hashing import Hashing
from memory.indices.exact import ExactIndex
from memory.spaces import Space, Spaces
from memory.tables import GrantRow, MemoryRow, VaultRow, VersionRow
from memory.tx import Tx
from memory.types import Actor, MemCube
from runtime.ids import new_id
from runtime.tables import Base
from tests.memory.conftest import ANN, BOB, vault_id

DIM = 64
ROOT = Actor(ANN.user_id, admin=True)


def transfer_of(core: Core, spaces: Spaces) -> Transfer:
    """Export and import, with an index in memory that nothing is carried into."""
    return Transfer(core, spaces, Gate(core, spaces))


@asynccontextmanager
async def spaces_of(core: Core, dim: int = DIM) -> AsyncIterator[Spaces]:
    encoder = Hashing(dim)
    profile_id, now = new_id("emb"), core.clock.now()
    profile = await core.db.write(lambda c: profiles.ensure(c, profile_id, encoder.profile, "f32", now))
    spaces = Spaces(Space(profile.id, profile.slug, encoder, ExactIndex(dim, codecs.make("f32", dim))))
    yield spaces
    await spaces.aclose()


async def make_vault(core: Core, name: str, actor: Actor = ANN, **fields: Any) -> str:
    """A vault beside `default`, made as that one is."""
    await core.default_vault(actor)
    made = new_id("vlt")

    def work(tx: Tx) -> None:
        row = tx.connection.execute(
            select(VaultRow.__table__).where(VaultRow.owner_id == actor.user_id, VaultRow.name == "default")
        ).one()
        values = {**row._mapping, "id": made, "name": name, **fields}
        tx.connection.execute(insert(VaultRow).values(**values))

    await core.write(actor, work)
    return made


async def grant(core: Core, **fields: Any) -> None:
    """Bob may read Ann's vault; `fields` say what else."""
    told: dict[str, Any] = {"id": new_id("grt"), "grantee_id": BOB.user_id, "context": None, "masked_tags": []}
    told |= {"can_read": True, "can_write": False, "can_share": False, "can_delete": False, "expires_at": None}
    told |= {"max_reads": None, "reads_used": 0, "created_at": core.clock.now(), "created_by": ANN.user_id, **fields}
    told["vault_id"] = await vault_id(core)
    await core.db.write(lambda c: c.execute(insert(GrantRow).values(**told)))


async def edited(core: Core, cube: MemCube, **new: Any) -> MemCube:
    return await core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", reason="better", **new))


async def moved(core: Core, cube: MemCube, event: str) -> MemCube:
    return await core.write(ANN, lambda tx: store.move(tx, cube, event))


async def cubes(core: Core, vault: str | None = None, actor: Actor = ANN) -> list[MemCube]:
    """Every memory of the vault, in whatever state, the oldest first."""
    home = vault or await vault_id(core, actor)
    query = rows.SELECT.where(MemoryRow.vault_id == home).order_by(MemoryRow.seq)
    return await core.read(actor, lambda tx: [rows.cube(row, tx.now) for row in tx.connection.execute(query)])


async def contents(core: Core, vault: str | None = None) -> list[str]:
    return [cube.content for cube in await cubes(core, vault)]


async def table_counts(core: Core) -> dict[str, int]:
    """How many rows every table has, but the audit of the refusals."""

    def work(tx: Tx) -> dict[str, int]:
        tables = (table for name, table in Base.metadata.tables.items() if not name.startswith("audit"))
        return {t.name: tx.connection.execute(select(func.count()).select_from(t)).scalar_one() for t in tables}

    return await core.read(ANN, work)


async def whole(core: Core, vault: str | None = None) -> bool:
    """Whether every history of the vault verifies, and ends with what the memory is."""
    found = await cubes(core, vault)

    def work(tx: Tx) -> bool:
        ids = [cube.id for cube in found]
        query = select(VersionRow).where(VersionRow.memory_id.in_(ids), VersionRow.sys_to.is_(None))
        last = {row.memory_id: row for row in tx.connection.execute(query)}
        agree = all(
            (last[c.id].version, last[c.id].content, last[c.id].header) == (c.version, c.content, rows.header(c))
            for c in found
            if c.content
        )
        return agree and not versions.broken_chains(tx, ids)

    return await core.read(ANN, work)


def names_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
