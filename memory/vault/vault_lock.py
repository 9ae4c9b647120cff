"""The write lock of a vault: while a job changes all of it, batch by batch, nobody else does.

The lock is the id of the job in the row of the vault; memory/access.py refuses every change while it is there. A job that
is dead holds nothing any more: whoever begins something new with the whole vault takes its lock over. Functions inside a
transaction that holds the vault alone (`access.vault(…, alone=True)`). Source: memos §3.5 (2).
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import select, update

from memory.tables import JobRow, VaultRow
from memory.tx import Tx
from runtime.errors import Conflict

OVER: Final = ("done", "dead")


def refuse_held(tx: Tx, vault_id: str) -> None:
    """Raise `Conflict` when a job that is not at its end holds the vault."""
    job_id = tx.connection.execute(select(VaultRow.locked_by).where(VaultRow.id == vault_id)).scalar_one()
    if job_id is None:
        return
    state = tx.connection.execute(select(JobRow.state).where(JobRow.id == job_id)).scalar_one_or_none()
    if state is not None and state not in OVER:
        raise Conflict(
            f"vault {vault_id!r}: the job {job_id!r} changes all of it; wait for it to end, then try again",
            param="vault",
        )


def take(tx: Tx, vault_id: str, job_id: str) -> None:
    """Lock the vault for the job. Raises `Conflict` when another one holds it."""
    refuse_held(tx, vault_id)
    tx.connection.execute(update(VaultRow).where(VaultRow.id == vault_id).values(locked_by=job_id))


def release(tx: Tx, vault_id: str) -> None:
    """Nobody holds the vault any more."""
    tx.connection.execute(update(VaultRow).where(VaultRow.id == vault_id).values(locked_by=None))


def need_held(tx: Tx, vault_id: str, job_id: str) -> None:
    """Raise `Conflict` unless it is this job that holds the vault: something else may have taken it over."""
    holder = tx.connection.execute(select(VaultRow.locked_by).where(VaultRow.id == vault_id)).scalar_one_or_none()
    if holder != job_id:
        raise Conflict(f"vault {vault_id!r}: is not held by job {job_id!r} any more; begin again", param="vault")
