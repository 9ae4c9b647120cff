"""Full text in PostgreSQL: a table of words, one row for each different word of a memory, and BM25 in SQL.

PostgreSQL's own text search ranks without knowing how rare a word is, splits words by the locale of the server and
refuses long texts. A table of words needs none of that: it gives the scores of SQLite's FTS5, a vault is the first part
of its key, and a deleted row is gone. Source: ours; BM25 with k1 = 1.2, b = 0.75 as FTS5 has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger, Text

from memory.indices.lexical_base import LexicalHit, LexicalRow
from memory.indices.porter import stem
from memory.indices.words import Term, is_cjk, prepared

DDL: Final = (
    "CREATE TABLE memory_text (seq bigint PRIMARY KEY, vault_id varchar(40) NOT NULL, length integer NOT NULL)",
    "CREATE INDEX ix_memory_text_vault ON memory_text (vault_id) INCLUDE (length)",
    'CREATE TABLE memory_words (vault_id varchar(40) NOT NULL, word text COLLATE "C" NOT NULL, seq bigint NOT NULL, '
    "in_text integer NOT NULL, in_fields integer NOT NULL, length integer NOT NULL, PRIMARY KEY (vault_id, word, seq))",
    "CREATE INDEX ix_memory_words_seq ON memory_words (seq)",
)
STRINGS = ARRAY(Text)
NUMBERS = ARRAY(BigInteger)
PUT_TEXT = text("INSERT INTO memory_text (seq, vault_id, length) VALUES (:seq, :vault_id, :length)")
PUT_WORDS = text(
    "INSERT INTO memory_words (vault_id, word, seq, in_text, in_fields, length) "
    "SELECT :vault_id, word, :seq, in_text, in_fields, :length "
    "FROM unnest(CAST(:words AS text[]), CAST(:in_text AS bigint[]), CAST(:in_fields AS bigint[])) "
    "AS given (word, in_text, in_fields)"
).bindparams(
    bindparam("words", type_=STRINGS), bindparam("in_text", type_=NUMBERS), bindparam("in_fields", type_=NUMBERS)
)
TEXTS = text("SELECT seq, vault_id, length FROM memory_text WHERE seq = ANY(:seqs)").bindparams(
    bindparam("seqs", type_=NUMBERS)
)
PRESENT = text("SELECT seq FROM memory_text WHERE seq = ANY(:seqs)").bindparams(bindparam("seqs", type_=NUMBERS))
WORDS = text(
    "SELECT seq, word, vault_id, in_text, in_fields, length FROM memory_words WHERE seq = ANY(:seqs)"
).bindparams(bindparam("seqs", type_=NUMBERS))
DROPS = [
    text(f"DELETE FROM {table} WHERE seq = ANY(:seqs)").bindparams(bindparam("seqs", type_=NUMBERS))
    for table in ("memory_words", "memory_text")
]
# `rare` weighs a word by how few rows have it; like FTS5 it never falls to zero, or a word that most rows have would
# take rows out of the answer.
SEARCH = text(
    """
    WITH size AS (
        SELECT count(*) AS rows, greatest(avg(length), 1) AS mean FROM memory_text WHERE vault_id = ANY(:vaults)
    ), posting AS MATERIALIZED (
        SELECT word, seq, in_text, in_fields, length FROM memory_words
        WHERE vault_id = ANY(:vaults) AND word = ANY(:words)
    ), rarity AS (
        SELECT word, greatest(ln((max(size.rows) - count(*) + 0.5) / (count(*) + 0.5)), 1e-6)::float8 AS rare
        FROM posting CROSS JOIN size GROUP BY word
    )
    SELECT seq,
        sum(rare * in_text * 2.2 / (in_text + 1.2 * (0.25 + 0.75 * length / size.mean::float8))) AS text_score,
        sum(rare * in_fields * 2.2 / (in_fields + 1.2 * (0.25 + 0.75 * length / size.mean::float8))) AS fields_score
    FROM posting JOIN rarity USING (word) CROSS JOIN size
    GROUP BY seq
    ORDER BY sum(rare * (in_text + in_fields) * 2.2
        / (in_text + in_fields + 1.2 * (0.25 + 0.75 * length / size.mean::float8))) DESC, seq
    LIMIT :limit
    """
).bindparams(bindparam("vaults", type_=STRINGS), bindparam("words", type_=STRINGS))


class WordTable:
    """The functions of `memory.indices.lexical` for this database."""

    @staticmethod
    def put(connection: Connection, rows: Sequence[LexicalRow]) -> None:
        made = [_row(row) for row in rows]
        connection.execute(PUT_TEXT, made)
        connection.execute(PUT_WORDS, made)

    @staticmethod
    def differing(connection: Connection, rows: Sequence[LexicalRow]) -> list[int]:
        seqs = {"seqs": [row.seq for row in rows]}
        there: dict[int, dict[str, tuple[str, int, int, int]]] = {}
        for seq, *columns, length in connection.execute(TEXTS, seqs):
            there[seq] = {"": (*columns, 0, 0, length)}
        for seq, word, *columns in connection.execute(WORDS, seqs):
            there.setdefault(seq, {})[word] = tuple(columns)
        return [row.seq for row in rows if there.get(row.seq) != _expected(row)]

    @staticmethod
    def drop(connection: Connection, seqs: Sequence[int]) -> None:
        for statement in DROPS:
            connection.execute(statement, {"seqs": seqs})

    @staticmethod
    def scrub(connection: Connection) -> None:
        """A deleted row stays in its page until the vacuum, which runs by itself and not within a transaction."""

    @staticmethod
    def search(connection: Connection, terms: Sequence[Term], vault_ids: Sequence[str], limit: int) -> list[LexicalHit]:
        asked = list({_word(term.words) for term in terms})
        found = connection.execute(SEARCH, {"vaults": vault_ids, "words": asked, "limit": limit})
        return [LexicalHit(row.seq, row.text_score, row.fields_score) for row in found]

    @staticmethod
    def present(connection: Connection, seqs: Sequence[int]) -> list[int]:
        return list(connection.execute(PRESENT, {"seqs": seqs}).scalars())

    @staticmethod
    def seqs(connection: Connection) -> list[int]:
        return list(connection.execute(text("SELECT seq FROM memory_text")).scalars())


def _row(row: LexicalRow) -> dict[str, Any]:
    in_text = Counter(_indexed(row.text))
    in_fields = Counter(_indexed(row.fields))
    words = sorted(in_text.keys() | in_fields.keys())
    return {
        "seq": row.seq,
        "vault_id": row.vault_id,
        # FTS5 counts the vault's own word too.
        "length": len(prepared(row.text).split()) + len(prepared(row.fields).split()) + 1,
        "words": words,
        "in_text": [in_text[word] for word in words],
        "in_fields": [in_fields[word] for word in words],
    }


def _expected(row: LexicalRow) -> dict[str, tuple[str, int, int, int]]:
    made = _row(row)
    vault_id, length = made["vault_id"], made["length"]
    counts = zip(made["words"], made["in_text"], made["in_fields"], strict=True)
    return {"": (vault_id, 0, 0, length)} | {word: (vault_id, *both, length) for word, *both in counts}


def _indexed(given: str) -> Iterator[str]:
    """Every word as it can be asked for: stems, and pairs of neighbours where the text has no spaces."""
    before = ""
    for word in prepared(given).split():
        yield _word((word,))
        if before and is_cjk(before) and is_cjk(word):
            yield _word((before, word))
        before = word


def _word(words: tuple[str, ...]) -> str:
    return " ".join(stem(word) for word in words)
