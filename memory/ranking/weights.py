"""The weights of a vault in SQL: read by every search, written when the vault has learned. Source: ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyio import to_thread
from sqlalchemy import update

from memory import access, audit
from memory.core import Core
from memory.ranking import learn as learning
from memory.ranking import statements
from memory.ranking.learn import Sample
from memory.ranking.statements import listed
from memory.tables import VaultRow
from memory.tx import Tx
from memory.types import Actor

Stored = Mapping[str, float]


async def learn(core: Core, actor: Actor, vault: str, samples: Sequence[Sample]) -> Stored | None:
    """Fit weights to what was used and let the vault rank with them; None, and nothing changed, when the samples tell too
    little. Raises `UnknownName`, `Forbidden` for a vault that the actor may not write."""
    fitted = await to_thread.run_sync(learning.fit, samples)

    def work(tx: Tx) -> None:
        allowed = access.vault(tx, vault, "write")
        if fitted is None:
            return
        store(tx, allowed.vault.id, fitted)
        detail = {"samples": len(samples), "weights": dict(fitted)}
        audit.record(tx, "learn", "vault", allowed.vault.id, chain=allowed.vault.id, rule=allowed.rule, detail=detail)

    await core.write(actor, work)
    return fitted


async def forget(core: Core, actor: Actor, vault: str) -> None:
    """Let the vault rank with the defaults again. Raises as `learn` does."""

    def work(tx: Tx) -> None:
        allowed = access.vault(tx, vault, "write")
        vault_id = allowed.vault.id
        if vault_id in stored(tx, [vault_id]):
            store(tx, vault_id, None)
            audit.record(tx, "forget", "vault", vault_id, chain=vault_id, rule=allowed.rule, detail={"what": "ranking"})

    await core.write(actor, work)


def stored(tx: Tx, vault_ids: Sequence[str]) -> dict[str, Stored]:
    """What the vaults have learned; those that have not are left out."""
    found = tx.connection.execute(statements.learned(tx.dialect), {"vaults": listed(tx.dialect, vault_ids)})
    return {row.id: row.ranking for row in found}


def store(tx: Tx, vault_id: str, weights: Stored | None) -> None:
    """Let the vault rank with these; None: with the defaults."""
    kept = None if weights is None else dict(weights)
    tx.connection.execute(update(VaultRow).where(VaultRow.id == vault_id).values(ranking=kept))
