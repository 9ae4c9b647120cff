"""`mneme keys`: who may call the service from outside this machine."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import anyio
import anyio.to_thread
import typer

from api.cli.output import AsJson, print_json, remark, table
from runtime.errors import InvalidInput
from runtime.ids import SYSTEM
from runtime.settings import load

if TYPE_CHECKING:
    from runtime.keys import KeyRecord, KeyStore

app = typer.Typer(help="API keys: made, shown once, revoked.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    user: Annotated[str, typer.Option(help="Whose it is; the user is made when new.")] = "local",
    scope: Annotated[
        list[str] | None, typer.Option(help="read, run or admin; repeatable. Default: read and run.")
    ] = None,
    expires: Annotated[str | None, typer.Option(help="30d, 12h, or a date: 2027-01-31.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. Its text is printed once and kept nowhere."""
    expires_at = None if expires is None else _time(expires)

    async def work() -> tuple[KeyRecord, str]:
        async with _keys() as store:
            return await store.create(name, user=user, scopes=scope or ("read", "run"), expires_at=expires_at)

    record, text = anyio.run(work)
    if as_json:
        from api.routes.wire import key_body

        print_json({**key_body(record), "key": text})
    else:
        remark(f"{record.id}: keep this text, it is not shown again")
        print(text)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List every key, revoked ones too; never their text."""

    async def work() -> list[KeyRecord]:
        async with _keys() as store:
            return list(await store.all())

    records = anyio.run(work)
    if as_json:
        from api.routes.wire import key_body

        print_json({"items": [key_body(record) for record in records], "next": None})
    else:
        print(table(["id", "name", "user", "scopes", "begins with", "state"], [_row(r) for r in records]))


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(help="The id, key_….")], as_json: AsJson = False) -> None:
    """End a key at once."""

    async def work() -> KeyRecord:
        async with _keys() as store:
            return await store.revoke(key_id)

    record = anyio.run(work)
    if as_json:
        from api.routes.wire import key_body

        print_json(key_body(record))
    else:
        print(f"{record.id} ({record.name}) is revoked")


@asynccontextmanager
async def _keys() -> AsyncIterator[KeyStore]:
    from runtime.db import open_database
    from runtime.keys import KeyStore
    from runtime.migrate import upgrade

    settings = load().settings
    await anyio.to_thread.run_sync(upgrade, settings)
    database = open_database(settings)
    try:
        yield KeyStore(database, SYSTEM)
    finally:
        await database.aclose()


def _time(text: str) -> datetime:
    now = SYSTEM.now()
    if span := re.fullmatch(r"(\d{1,5})([dh])", text):
        return now + timedelta(**{"days" if span[2] == "d" else "hours": int(span[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            f"--expires {text!r}: expected a span as 30d or 12h, or a date as 2027-01-31", param="expires"
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)


def _row(record: KeyRecord) -> list[str]:
    return [record.id, record.name, record.user, ",".join(sorted(record.scopes)), record.prefix, _state(record)]


def _state(record: KeyRecord) -> str:
    if record.revoked_at is not None:
        return "revoked"
    if record.expires_at is not None and record.expires_at <= SYSTEM.now():
        return "expired"
    return "active" if record.expires_at is None else f"active until {record.expires_at:%Y-%m-%d %H:%M}"
