"""What of an import is there already, decided for each record as the transaction sees it.

A memory is there when the vault has it under its own id or under the id that an import gives it, or has a live one of
the same words. What was purged stays gone: the stub of a purged memory keeps its id. Because the ids are computed, and
every memory of an archive carries a source that names it, an import that was interrupted is known again without anything
being kept about it. Source: memos §3.11; ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, get_args

from sqlalchemy import select

from memory import rows, store
from memory.archive.incoming import Incoming, Record
from memory.lifecycle import lifetime_over
from memory.tables import MemoryRow, SourceRow, VaultRow
from memory.tx import Tx
from memory.types import LIVE, Vault

Mode = Literal["fail", "skip", "merge"]
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
How = Literal["new", "resumed", "present", "deleted", "erased", "expired"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is imported into which vault, and how. `keep_ids`: memories keep the ids they had, where those are free."""

    home: Vault
    incoming: Incoming
    mode: Mode
    keep_ids: bool = False


class Decision(NamedTuple):
    """What is to be done with a record: `id` is the memory that it becomes, or that is there for it."""

    how: How
    id: str


def resolve(tx: Tx, plan: Plan, records: Sequence[Record]) -> list[Decision]:
    """What is there already of these records, as the transaction sees it."""
    known = _known(tx, [id_ for record in records for id_ in (record.id, record.old_id) if id_ is not None])
    marked = _marked(tx, plan, known, records)
    words = _words(tx, plan, records)
    return [_decide(tx, plan, record, known, marked, words) for record in records]


def words_of(record: Record) -> str | None:
    """What no two live memories of a vault have in common; None for one that is not live."""
    return store.words_hash(record.draft, record.placed) if record.draft.state in LIVE else None


def _known(tx: Tx, ids: Sequence[str]) -> dict[str, Any]:
    """Rows of these ids, whoever's they are: vault, owner, state, and whether they were purged."""
    found: dict[str, Any] = {}
    query = select(
        MemoryRow.id,
        MemoryRow.vault_id,
        MemoryRow.state,
        VaultRow.owner_id,
        MemoryRow.digest_key.is_(None).label("purged"),
    ).join(VaultRow, VaultRow.id == MemoryRow.vault_id)
    for start in range(0, len(ids), rows.IN_ONE_QUERY):
        for row in tx.connection.execute(query.where(MemoryRow.id.in_(ids[start : start + rows.IN_ONE_QUERY]))):
            found[row.id] = row
    return found


def _marked(tx: Tx, plan: Plan, known: Mapping[str, Any], records: Sequence[Record]) -> set[str]:
    """Those of the known memories that came from this very archive."""
    if plan.incoming.archive is None:
        return set()
    mine = [id_ for id_, row in known.items() if row.vault_id == plan.home.id]
    marks = {record.mark for record in records}
    found: set[str] = set()
    for start in range(0, len(mine), rows.IN_ONE_QUERY):
        query = select(SourceRow.memory_id, SourceRow.uri).where(
            SourceRow.memory_id.in_(mine[start : start + rows.IN_ONE_QUERY]), SourceRow.kind == "document"
        )
        found |= {row.memory_id for row in tx.connection.execute(query) if row.uri in marks}
    return found


def _words(tx: Tx, plan: Plan, records: Sequence[Record]) -> dict[str, str]:
    """The live memories of the vault that say the same words, by their hash."""
    wanted = [hashed for record in records if (hashed := words_of(record)) is not None]
    found: dict[str, str] = {}
    for start in range(0, len(wanted), rows.IN_ONE_QUERY):
        query = select(MemoryRow.content_hash, MemoryRow.id).where(
            MemoryRow.vault_id == plan.home.id,
            MemoryRow.content_hash.in_(wanted[start : start + rows.IN_ONE_QUERY]),
        )
        found |= {row.content_hash: row.id for row in tx.connection.execute(query)}
    return found


def _decide(
    tx: Tx, plan: Plan, record: Record, known: Mapping[str, Any], marked: set[str], words: Mapping[str, str]
) -> Decision:
    home = plan.home
    old = None if record.old_id is None else known.get(record.old_id)
    own = old if old is not None and old.vault_id == home.id else known.get(record.id)
    # A purge in any vault of the same owner counts: an archive must not bring back what was erased.
    if (own is not None and own.purged) or (old is not None and old.purged and old.owner_id == home.owner_id):
        return Decision("erased", "")
    draft = record.draft
    if lifetime_over(draft.state, draft.expires_at, draft.sensitivity, tx.now):
        return Decision("expired", "")
    if own is not None and own.state in ("deleted", "expired"):
        return Decision("deleted", own.id)
    if own is not None:
        resumed = own.id in marked if plan.incoming.archive is not None else True
        return Decision("resumed" if resumed else "present", own.id)
    there = words.get(words_of(record) or "")
    if there is not None:
        return Decision("present", there)
    return Decision("new", record.old_id if plan.keep_ids and old is None and record.old_id else record.id)
