"""Full text over the memories: written in the memory's own transaction, so it is never behind.

Each row has two columns, the text and what names it (title, speaker, subject, entities, tags), and a search gives the
BM25 score of both. SQLite keeps it in FTS5 (lexical_sqlite.py), PostgreSQL in a table of words (lexical_postgres.py);
both get the same words (words.py) and stem alike. An answer is a list of candidates: who may read them is decided again
on the rows. Source: memos §2.2, §3.2; design storage §4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, text

from memory.indices import lexical_postgres, lexical_sqlite, words
from memory.indices.lexical_base import LexicalHit, LexicalRow

__all__ = [
    "TABLES",
    "LexicalHit",
    "LexicalRow",
    "add_many",
    "create",
    "ddl",
    "differing",
    "drop",
    "present",
    "put",
    "put_many",
    "scrub",
    "search",
    "seqs",
]
# By dialect, in the order in which they are dropped.
TABLES: Final = {"sqlite": ("memory_fts",), "postgresql": ("memory_words", "memory_text")}


def ddl(dialect: str) -> tuple[str, ...]:
    """The statements that make the tables, for a migration."""
    return lexical_postgres.DDL if dialect == "postgresql" else lexical_sqlite.DDL


def create(connection: Connection) -> None:
    """Make the tables."""
    for statement in ddl(connection.dialect.name):
        connection.execute(text(statement))


def put(connection: Connection, seq: int, vault_id: str, text: str, fields: str) -> None:
    """Write the row of one memory, in place of the one that was there."""
    put_many(connection, [LexicalRow(seq, vault_id, text, fields)])


def add_many(connection: Connection, rows: Sequence[LexicalRow]) -> None:
    """Write the rows of memories that have none yet."""
    _of(connection).put(connection, rows)


def put_many(connection: Connection, rows: Sequence[LexicalRow]) -> None:
    """Write the rows of several memories; of two with one `seq` the last counts. Any text will do."""
    last = list({row.seq: row for row in rows}.values())
    if last:
        _of(connection).drop(connection, [row.seq for row in last])
        _of(connection).put(connection, last)


def drop(connection: Connection, seqs: Sequence[int]) -> None:
    """Take the rows away; unknown ones are passed over. The words leave the file with `scrub`."""
    if seqs:
        _of(connection).drop(connection, list(seqs))


def scrub(connection: Connection) -> None:
    """Make sure that dropped words are in no segment of the index any more. Takes as long as the index is large (about
    a second for 100 000 short texts), so once after many drops. On PostgreSQL the next vacuum does it.
    """
    _of(connection).scrub(connection)


def search(connection: Connection, query: str, vault_ids: Sequence[str], limit: int) -> list[LexicalHit]:
    """The rows of these vaults that hold any term of the query, best first by the sum of both scores.

    Any text is a query; one without a word finds nothing, as does an empty list of vaults.
    """
    asked = words.terms(query)
    if not asked or not vault_ids or limit < 1:
        return []
    return _of(connection).search(connection, asked, list(dict.fromkeys(vault_ids)), limit)


def seqs(connection: Connection) -> list[int]:
    """The short keys of every row there is, for comparing with the memories."""
    return _of(connection).seqs(connection)


def present(connection: Connection, seqs: Sequence[int]) -> list[int]:
    """Those of the short keys that have a row."""
    return _of(connection).present(connection, seqs) if seqs else []


def differing(connection: Connection, rows: Sequence[LexicalRow]) -> list[int]:
    """The short keys of those rows that are not there as `put_many` would write them."""
    return _of(connection).differing(connection, rows) if rows else []


def _of(connection: Connection) -> type[lexical_sqlite.Fts5] | type[lexical_postgres.WordTable]:
    return lexical_postgres.WordTable if connection.dialect.name == "postgresql" else lexical_sqlite.Fts5
