"""Full text in SQLite: FTS5 with the Porter stemmer, and the vault as one more word of the row.

A join behind the match costs many times the search itself; a word that only the rows of a vault have lets the index cut
them out. It is a hash, so no text of a memory can pass for it in its own column. Source: design storage §4; ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, text

from memory.indices.lexical_base import LexicalHit, LexicalRow
from memory.indices.words import Term, prepared

DDL: Final = (
    "CREATE VIRTUAL TABLE memory_fts USING fts5(text, fields, ns, tokenize = 'porter unicode61')",
    "INSERT INTO memory_fts(memory_fts, rank) VALUES('rank', 'bm25(1.0, 1.0, 0.0)')",
)
DROP = text("DELETE FROM memory_fts WHERE rowid IN :seqs").bindparams(bindparam("seqs", expanding=True))
SEARCH = text(
    "SELECT rowid, -bm25(memory_fts, 1.0, 0.0, 0.0), -bm25(memory_fts, 0.0, 1.0, 0.0) FROM memory_fts "
    "WHERE memory_fts MATCH :match ORDER BY rank LIMIT :limit"
)
# A short key can come back when the newest memory of all is removed; what full text may have kept of that one gives way.
PUT = text("INSERT OR REPLACE INTO memory_fts(rowid, text, fields, ns) VALUES (:seq, :text, :fields, :ns)")
IN_ONE_QUERY = 500


class Fts5:
    """The functions of `memory.indices.lexical` for this database."""

    @staticmethod
    def put(connection: Connection, rows: Sequence[LexicalRow]) -> None:
        connection.execute(PUT, [_row(row) for row in rows])

    @staticmethod
    def differing(connection: Connection, rows: Sequence[LexicalRow]) -> list[int]:
        statement = text("SELECT rowid, text, fields, ns FROM memory_fts WHERE rowid IN :seqs")
        statement = statement.bindparams(bindparam("seqs", expanding=True))
        there: dict[int, tuple[str, ...]] = {}
        for start in range(0, len(rows), IN_ONE_QUERY):
            found = connection.execute(statement, {"seqs": [row.seq for row in rows[start : start + IN_ONE_QUERY]]})
            there |= {seq: tuple(columns) for seq, *columns in found}
        return [row.seq for row in rows if there.get(row.seq) != tuple(_row(row).values())[1:]]

    @staticmethod
    def drop(connection: Connection, seqs: Sequence[int]) -> None:
        for start in range(0, len(seqs), IN_ONE_QUERY):
            connection.execute(DROP, {"seqs": seqs[start : start + IN_ONE_QUERY]})

    @staticmethod
    def scrub(connection: Connection) -> None:
        # A delete only adds a mark to the newest segment; the words stay in the old ones until all are merged.
        connection.execute(text("INSERT INTO memory_fts(memory_fts) VALUES('optimize')"))

    @staticmethod
    def search(connection: Connection, terms: Sequence[Term], vault_ids: Sequence[str], limit: int) -> list[LexicalHit]:
        phrases = " OR ".join(f'"{" ".join(term.words)}"' for term in terms)
        spaces = " OR ".join(f'"{namespace(vault_id)}"' for vault_id in vault_ids)
        match = f"{{text fields}} : ({phrases}) AND ns : ({spaces})"
        found = connection.execute(SEARCH, {"match": match, "limit": limit})
        return [LexicalHit(seq, max(in_text, 0.0), max(in_fields, 0.0)) for seq, in_text, in_fields in found]

    @staticmethod
    def present(connection: Connection, seqs: Sequence[int]) -> list[int]:
        statement = text("SELECT rowid FROM memory_fts WHERE rowid IN :seqs")
        return list(
            connection.execute(statement.bindparams(bindparam("seqs", expanding=True)), {"seqs": seqs}).scalars()
        )

    @staticmethod
    def seqs(connection: Connection) -> list[int]:
        return list(connection.execute(text("SELECT rowid FROM memory_fts")).scalars())


def _row(row: LexicalRow) -> dict[str, int | str]:
    return {
        "seq": row.seq,
        "text": prepared(row.text),
        "fields": prepared(row.fields),
        "ns": namespace(row.vault_id),
    }


def namespace(vault_id: str) -> str:
    """One word for a vault; digits at the end keep the stemmer away."""
    digest = hashlib.blake2b(vault_id.encode(), digest_size=8).digest()
    return f"v{int.from_bytes(digest, 'big')}"
