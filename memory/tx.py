"""One transaction: the connection, the time that every row of it carries, and who acts. Source: ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from memory.types import Actor


@dataclass(frozen=True, slots=True)
class Tx:
    """What the functions of the store work on. `now` is read once, before the transaction."""

    connection: Connection
    now: datetime
    actor: Actor

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self.connection.dialect.name
