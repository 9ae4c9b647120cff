"""The SELECTs of a search, made once for each shape. Building a statement anew costs more than the database takes for it,
so lists are one parameter and what a question changes are parameters or part of the shape. Source: ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Select, and_, any_, bindparam, func, or_, select, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text

from memory import rows
from memory.tables import BlobRow, EntityRow, MemoryRow, VaultRow, VersionRow

SHAPES: Final = 256
# How far around a candidate its context is read, and how many texts of the past.
AROUND: Final = 2
OLD_TEXTS: Final = 2000
TABLE: Final = MemoryRow.__table__.c
BLOBS: Final = BlobRow.__table__.c
PLAIN: Final = (
    "seq id vault_id content title subject attribute speaker session_id position priority occurred_at valid_from"
)
# Lists stay text: most are empty, and to look for words in one it need not be parsed.
COLUMNS: Final = [
    *(TABLE[name] for name in PLAIN.split()),
    *(type_coerce(TABLE[name], Text).label(name) for name in ("entities", "tags", "sensitivity")),
]
Key = Literal["seq", "id"]


class Shape(NamedTuple):
    """What of a scope the statement itself says. `wanted`: states that are shown; `indexed`: those that may be read;
    `superseded`: also statements that a newer one has replaced; `past`: the version of then decides, so only state and
    vault are looked at."""

    wanted: tuple[str, ...]
    indexed: tuple[str, ...]
    kinds: tuple[str, ...]
    session: bool
    at: bool
    superseded: bool
    past: bool


def listed(dialect: str, values: Sequence[int] | Sequence[str]) -> str | list[object]:
    """The value of a parameter that holds a list."""
    return list(values) if dialect == "postgresql" else orjson.dumps(values).decode()


def among(dialect: str, column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    """Whether the column is in the list that the parameter `name` holds (`listed`)."""
    if dialect == "postgresql":
        found: ColumnElement[bool] = column == any_(bindparam(name, type_=ARRAY(column.type)))
        return found
    return column.in_(select(func.json_each(bindparam(name, type_=Text())).table_valued("value").c.value))


@lru_cache(SHAPES)
def candidates(dialect: str, key: Key, shape: Shape) -> Select[Any]:
    """`COLUMNS` of the memories with the `keys` that may be shown."""
    return select(*COLUMNS).where(among(dialect, TABLE[key], "keys"), *_shown(dialect, shape, keyed=True))


@lru_cache(SHAPES)
def whole(dialect: str, key: Key, shape: Shape) -> Select[Any]:
    """The same as whole memories (`rows.cube`)."""
    return rows.SELECT.where(among(dialect, TABLE[key], "keys"), *_shown(dialect, shape, keyed=True))


@lru_cache(SHAPES)
def cubes(dialect: str) -> Select[Any]:
    """The memories with the short `keys`, whatever they are (`rows.cube`)."""
    return rows.SELECT.where(among(dialect, TABLE.seq, "keys"))


@lru_cache(SHAPES)
def around(dialect: str, shape: Shape) -> Select[Any]:
    """`COLUMNS` of what stands beside the memories with the short `keys` in their sessions, they themselves included."""
    near = MemoryRow.__table__.alias()
    seed = near.c
    # As an expression, so that SQLite looks seeds up by their key and does not read the whole vault to find them.
    beside = (
        among(dialect, seed.seq, "keys")
        & (TABLE.vault_id == seed.vault_id.concat(""))
        & (TABLE.session_id == seed.session_id)
        & TABLE.position.between(seed.position - AROUND, seed.position + AROUND)
    )
    columns = [TABLE.seq] if shape.past else COLUMNS
    return (
        select(*columns).select_from(MemoryRow.__table__.join(near, beside)).where(*_shown(dialect, shape, keyed=True))
    )


@lru_cache(SHAPES)
def old_texts(dialect: str, shape: Shape) -> Select[Any]:
    """Id and text, as it was at `as_of`, of memories whose text is another one since; those replaced last first."""
    version = VersionRow.__table__.c
    moment = bindparam("as_of", type_=version.sys_from.type)
    return (
        select(version.memory_id, version.content)
        .select_from(VersionRow.__table__.join(MemoryRow.__table__, TABLE.id == version.memory_id))
        .where(*_shown(dialect, shape, keyed=False), version.sys_from <= moment, version.sys_to > moment)
        .where(version.redacted.is_(False), version.content != TABLE.content)
        .order_by(version.sys_to.desc(), version.memory_id)
        .limit(OLD_TEXTS)
    )


@lru_cache(SHAPES)
def vectors(dialect: str) -> Select[Any]:
    """Short key and stored vector of the memories with the `keys`, in `profile`."""
    of_profile = BLOBS.profile_id == bindparam("profile", type_=BLOBS.profile_id.type)
    return select(BLOBS.memory_seq, BLOBS.data).where(of_profile, among(dialect, BLOBS.memory_seq, "keys"))


@lru_cache(SHAPES)
def hidden(dialect: str, key: Key) -> Select[Any]:
    """Short key, vault and sensitivity of the memories with the `keys`."""
    return select(TABLE.seq, TABLE.vault_id, TABLE.sensitivity).where(among(dialect, TABLE[key], "keys"))


@lru_cache(SHAPES)
def entities(dialect: str) -> Select[Any]:
    """Ids of the entities of the `vaults` with the `keys`."""
    entity = EntityRow.__table__.c
    vaults, keys = among(dialect, entity.vault_id, "vaults"), among(dialect, entity.key, "keys")
    return select(entity.id).where(vaults, keys).order_by(entity.id)


@lru_cache(SHAPES)
def learned(dialect: str) -> Select[Any]:
    """Id and weights of the `vaults` that have learned some."""
    vault = VaultRow.__table__.c
    return select(vault.id, vault.ranking).where(among(dialect, vault.id, "vaults"), vault.ranking.is_not(None))


def _shown(dialect: str, shape: Shape, *, keyed: bool) -> list[ColumnElement[bool]]:
    """`keyed`: the statement names its rows by a key; then the vault is compared as an expression, or SQLite reads the
    whole vault by its index to find a few rows of it."""
    vault = TABLE.vault_id.concat("") if keyed and dialect == "sqlite" else TABLE.vault_id
    found = [among(dialect, vault, "vaults"), TABLE.state.in_(shape.indexed)]
    if shape.past:
        return found
    now = bindparam("now", type_=TABLE.expires_at.type)
    found.append(or_(TABLE.expires_at.is_(None), TABLE.expires_at > now, TABLE.state == "frozen"))
    if shape.kinds:
        found.append(TABLE.semantic_type.in_(shape.kinds))
    if shape.session:
        found.append(TABLE.session_id == bindparam("session", type_=TABLE.session_id.type))
    if shape.at:
        at = bindparam("at", type_=TABLE.valid_from.type)
        replaced = and_(TABLE.state == "archived", TABLE.superseded_at.is_not(None))
        found.append(or_(TABLE.state.in_(shape.wanted), replaced))
        found.append(or_(TABLE.valid_from.is_(None), TABLE.valid_from <= at))
        found.append(or_(TABLE.valid_to.is_(None), TABLE.valid_to > at))
    elif not shape.superseded:
        found.append(TABLE.superseded_at.is_(None))
    return found
