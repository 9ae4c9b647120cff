"""Keys: shown once, hashed, scoped; revoked and expired ones end at once, for every process."""

from __future__ import annotations

import asyncio
import re
import sqlite3
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from sqlalchemy import select, update

from runtime.db import Database, open_database
from runtime.errors import AuthError, InvalidInput, UnknownName
from runtime.keys import SCOPES, Identity, KeyStore
from runtime.settings import Settings
from runtime.tables import ApiKey, User
from tests.conftest import make_settings
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def keys(db: Database, clock: SetClock) -> KeyStore:
    return KeyStore(db, clock)


async def test_a_key_gives_the_identity_it_was_made_for(keys: KeyStore) -> None:
    record, text = await keys.create("laptop", user="ann", scopes=["run", "run"])
    assert re.fullmatch(r"mk-[0-9a-f]{12}-[0-9A-Za-z_-]{43}", text)
    assert (record.name, record.user, record.scopes) == ("laptop", "ann", frozenset({"run"}))
    assert record.last_used_at is None
    assert text.startswith(record.prefix)
    for _ in range(2):
        assert await keys.verify(text) == Identity(await keys.user_id("ann"), "ann", frozenset({"run"}), record.id)


async def test_the_secret_is_not_kept(keys: KeyStore, db: Database) -> None:
    _, text = await keys.create("laptop")
    rows = await db.read(lambda connection: connection.execute(select(ApiKey)).all())
    assert text not in str(rows)
    assert text.split("-", 2)[2] not in str(rows)
    assert rows[0].hash.startswith("$argon2id$")


@pytest.mark.parametrize(
    "wrong", ["", "mk-", "sk-proj-abc", "mk-0123456789ab-" + "x" * 43, "mk-\0", "mk-é-ü", "\ud800", "x" * 10_000]
)
async def test_a_text_that_is_no_key_is_refused_without_repeating_it(keys: KeyStore, wrong: str) -> None:
    with pytest.raises(AuthError, match="not valid") as caught:
        await keys.verify(wrong)
    assert not wrong.strip("mk-") or wrong not in caught.value.message


async def test_the_right_prefix_with_a_wrong_secret_is_refused_also_after_a_right_one(keys: KeyStore) -> None:
    _, text = await keys.create("laptop")
    other = text[:-1] + ("A" if text[-1] != "A" else "B")
    with pytest.raises(AuthError):
        await keys.verify(other)
    await keys.verify(text)
    with pytest.raises(AuthError):
        await keys.verify(other)


async def test_a_revoked_key_ends_at_once_for_every_process(keys: KeyStore, db: Database, clock: SetClock) -> None:
    record, text = await keys.create("laptop")
    await keys.verify(text)
    other_process = KeyStore(db, clock)
    revoked = await other_process.revoke(record.id)
    assert revoked.revoked_at == clock.now()
    with pytest.raises(AuthError):
        await keys.verify(text)
    clock.pass_by(60)
    assert (await keys.revoke(record.id)).revoked_at == revoked.revoked_at, "the first time counts"
    with pytest.raises(UnknownName, match="key_none"):
        await keys.revoke("key_none")


async def test_an_expired_key_ends_on_time(keys: KeyStore, clock: SetClock) -> None:
    _, text = await keys.create("laptop", expires_at=clock.now() + timedelta(seconds=10))
    clock.pass_by(9)
    await keys.verify(text)
    clock.pass_by(1)
    with pytest.raises(AuthError, match="expired"):
        await keys.verify(text)


async def test_the_keys_of_a_disabled_user_are_refused(keys: KeyStore, db: Database, clock: SetClock) -> None:
    _, text = await keys.create("laptop", user="ann")
    await db.write(lambda c: c.execute(update(User).where(User.name == "ann").values(disabled_at=clock.now())))
    with pytest.raises(AuthError):
        await keys.verify(text)


async def test_use_is_noted_at_most_once_a_minute(keys: KeyStore, clock: SetClock) -> None:
    _, text = await keys.create("laptop")
    first = clock.now()
    await keys.verify(text)
    clock.pass_by(30)
    await keys.verify(text)
    assert (await keys.all())[0].last_used_at == first
    clock.pass_by(31)
    await keys.verify(text)
    assert (await keys.all())[0].last_used_at == clock.now()


async def test_a_database_that_cannot_write_locks_nobody_out(settings: Settings, clock: SetClock) -> None:
    db = open_database(make_settings(settings.home, database__busy_timeout_s=0.1))
    keys = KeyStore(db, clock)
    _, text = await keys.create("laptop")
    holder = sqlite3.connect(settings.home / "mneme.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert (await keys.verify(text)).user_name == "local"
    holder.execute("ROLLBACK")
    holder.close()
    await db.aclose()


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": "\ud800"}, "name"),
        ({"user": ""}, "user"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["read", "root"]}, "scopes"),
        ({"expires_at": SetClock().now()}, "expires_at"),
        ({"expires_at": (SetClock().now() + timedelta(days=1)).replace(tzinfo=None)}, "expires_at"),
    ],
)
async def test_what_makes_no_key_is_refused_by_name(keys: KeyStore, wrong: dict[str, object], param: str) -> None:
    with pytest.raises(InvalidInput, match="expected") as caught:
        await keys.create(**{"name": "laptop", **wrong})  # type: ignore[arg-type]
    assert caught.value.param == param
    assert await keys.all() == []


async def test_whether_a_usable_key_exists(keys: KeyStore, clock: SetClock) -> None:
    assert not await keys.any_active()
    record, _ = await keys.create("short", expires_at=clock.now() + timedelta(seconds=5))
    assert await keys.any_active()
    clock.pass_by(5)
    assert not await keys.any_active()
    record, _ = await keys.create("long")
    assert await keys.any_active()
    await keys.revoke(record.id)
    assert not await keys.any_active()
    assert [key.name for key in await keys.all()] == ["short", "long"]


async def test_without_a_key_there_is_one_local_user_who_may_everything(keys: KeyStore) -> None:
    first, second = await keys.local(), await keys.local()
    assert first == second
    assert (first.user_name, first.scopes, first.key_id) == ("local", SCOPES, None)


async def test_a_user_who_is_named_by_many_at_once_is_made_once(keys: KeyStore) -> None:
    ids = await asyncio.gather(*(keys.user_id("ann") for _ in range(10)))
    assert len(set(ids)) == 1


async def test_many_callers_with_one_key_are_all_let_in(keys: KeyStore) -> None:
    _, text = await keys.create("laptop")
    identities = await asyncio.gather(*(keys.verify(text) for _ in range(20)))
    assert len(set(identities)) == 1


@pytest.mark.parametrize(
    ("scopes", "may"),
    [({"read"}, {"read"}), ({"run"}, {"read", "run"}), ({"admin"}, {"read", "run", "admin"}), (set(), set())],
)
def test_scopes_include_lesser_ones(scopes: set[str], may: set[str]) -> None:
    identity = Identity("u", "ann", frozenset(scopes))  # type: ignore[arg-type]
    assert {scope for scope in SCOPES if identity.may(scope)} == may


@given(text=st.text(st.characters(codec=None), max_size=80))
@how(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
async def test_no_text_at_all_is_more_than_refused(keys: KeyStore, text: str) -> None:
    with pytest.raises(AuthError):
        await keys.verify(text)
