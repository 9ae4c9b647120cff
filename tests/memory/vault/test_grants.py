"""Grants: whoever shares gives no more than they have, what was given on a grant goes with it, and reads are counted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import anyio
import pytest
from sqlalchemy import insert, select

from memory import access, audit
from memory.core import Core
from memory.tables import ArtifactRow, AuditRow, GrantRow
from memory.tx import Tx
from memory.types import Actor, MemCube, Verb
from memory.vault import grants
from memory.vault.grants import Given, Grants, Scope, Terms, intersection
from runtime.errors import Forbidden, InvalidInput, UnknownName
from runtime.ids import new_id
from runtime.tables import User
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
CARL = Actor("usr_carl")


@pytest.fixture
async def core(core: Core) -> Core:
    """With a third user."""
    row = {"id": CARL.user_id, "name": "carl", "role": "member", "created_at": core.clock.now()}
    await core.write(ANN, lambda tx: tx.connection.execute(insert(User).values(**row)))
    return core


def verbs(*names: Verb) -> frozenset[Verb]:
    return frozenset(names)


async def give(core: Core, *names: Verb, by: Actor = ANN, user: str | None = "bob", **terms: Any) -> Given:
    home = await vault_id(core)
    return await Grants(core).give(by, home, Terms(verbs(*names), user, **terms))


async def may(core: Core, actor: Actor, cube: MemCube, verb: Verb = "read") -> bool:
    try:
        await core.read(actor, lambda tx: access.memory(tx, cube.id, verb))
    except (access.Hidden, access.Refused):
        return False
    return True


async def test_what_is_given_holds_and_what_is_revoked_does_not(core: Core) -> None:
    cube = await put(core, "mine")
    given = await give(core, "read", "write")
    assert (given.user, given.created_by, given.grant.verbs) == ("bob", ANN.user_id, verbs("read", "write"))
    assert [await may(core, BOB, cube, verb) for verb in grants.VERBS] == [True, True, False, False]
    assert not await may(core, CARL, cube)
    home = await vault_id(core)
    assert await Grants(core).revoke(ANN, home, given.grant.id) == (given.grant.id,)
    assert not await may(core, BOB, cube)


async def test_a_grant_for_everybody_is_for_everybody(core: Core) -> None:
    cube = await put(core, "mine")
    await give(core, "read", user=None)
    assert [await may(core, actor, cube) for actor in (BOB, CARL)] == [True, True]


async def test_a_grant_bound_to_a_context_fails_from_another(core: Core) -> None:
    cube = await put(core, "mine")
    await give(core, "read", context="support-bot")
    assert await may(core, Actor(BOB.user_id, "support-bot"), cube)
    assert not await may(core, Actor(BOB.user_id, "sales-bot"), cube)
    assert not await may(core, BOB, cube)


async def test_only_who_may_share_gives_lists_and_revokes(core: Core) -> None:
    home = await vault_id(core)
    own = await give(core, "read")
    for call in (
        Grants(core).give(BOB, home, Terms(frozenset({"read"}), "carl")),
        Grants(core).list(BOB, home),
        Grants(core).revoke(BOB, home, own.grant.id),
    ):
        with pytest.raises(Forbidden, match="'share'"):
            await call
    with pytest.raises(UnknownName):
        await Grants(core).list(CARL, home)


SOON = timedelta(hours=1)
LATER = timedelta(hours=2)


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({}, True),
        ({"verbs": ("read", "write")}, False),
        ({"verbs": ("share",)}, True),
        ({"masked_tags": ("health",)}, False),
        ({"masked_tags": ("health", "money", "home")}, True),
        ({"expires_at": LATER}, False),
        ({"expires_at": None}, False),
        ({"expires_at": SOON / 2}, True),
        ({"max_reads": None}, False),
        ({"max_reads": 8}, False),
        ({"context": None}, False),
        ({"context": "sales-bot"}, False),
    ],
)
async def test_nobody_gives_more_than_they_have(core: Core, clock: SetClock, more: dict[str, Any], fits: bool) -> None:
    now = clock.now()
    masks = ("health", "money")
    terms: dict[str, Any] = {"masked_tags": masks, "expires_at": now + SOON, "max_reads": 9, "context": "support-bot"}
    await give(core, "read", "share", **terms)
    bob = Actor(BOB.user_id, "support-bot")
    home = await vault_id(core)
    for _ in range(2):
        allowed = await core.read(bob, lambda tx: access.vault(tx, home, "read"))
        await grants.count_reads(core, bob, [allowed])
    wanted = terms | {"max_reads": 7} | more
    names = wanted.pop("verbs", ("read",))
    if isinstance(wanted["expires_at"], timedelta):
        wanted["expires_at"] = now + wanted["expires_at"]
    if fits:
        assert (await give(core, *names, by=bob, user="carl", **wanted)).created_by == BOB.user_id
        return
    with pytest.raises(Forbidden, match="no more than you have"):
        await give(core, *names, by=bob, user="carl", **wanted)
    denied = select(AuditRow.rule).where(AuditRow.decision == "deny")
    assert await core.read(ANN, lambda tx: tx.connection.execute(denied).scalars().all()) == ["more than own grant"]


async def test_one_of_several_grants_is_enough_to_share(core: Core) -> None:
    await give(core, "read", "share")
    await give(core, "read", "write", "share", masked_tags=("health",))
    given = await give(core, "read", "write", by=BOB, user="carl", masked_tags=("health",))
    assert given.grant.verbs == {"read", "write"}


async def test_what_was_given_on_a_grant_goes_with_it_and_nobody_can_hold_on_by_himself(core: Core) -> None:
    cube = await put(core, "mine")
    first = await give(core, "read", "share")
    to_carl = await give(core, "read", "share", by=BOB, user="carl")
    back = await give(core, "read", "share", by=CARL, user="bob")
    by_ann = await give(core, "read", user="carl", masked_tags=("x",))
    home = await vault_id(core)
    gone = await Grants(core).revoke(ANN, home, first.grant.id)
    assert set(gone) == {first.grant.id, to_carl.grant.id, back.grant.id}
    assert [given.grant.id for given in await Grants(core).list(ANN, home)] == [by_ann.grant.id]
    assert (await may(core, BOB, cube), await may(core, CARL, cube)) == (False, True)


async def test_a_sharer_sees_and_revokes_what_is_theirs(core: Core) -> None:
    home = await vault_id(core)
    own = await give(core, "read", "share")
    hidden = await give(core, "read", user="carl")
    given = await give(core, "read", by=BOB, user="carl")
    assert [item.grant.id for item in await Grants(core).list(BOB, home)] == [own.grant.id, given.grant.id]
    with pytest.raises(Forbidden, match="somebody else"):
        await Grants(core).revoke(BOB, home, hidden.grant.id)
    assert await Grants(core).revoke(BOB, home, given.grant.id) == (given.grant.id,)


async def test_a_grant_is_looked_for_in_its_vault_only(core: Core) -> None:
    given = await give(core, "read")
    await core.default_vault(BOB)
    for grant_id in (given.grant.id, new_id("grt")):
        with pytest.raises(UnknownName, match="not found; check the id"):
            await Grants(core).revoke(BOB, "default", grant_id)


@pytest.mark.parametrize(
    ("terms", "param"),
    [
        ({"verbs": frozenset()}, "verbs"),
        ({"verbs": frozenset({"own"})}, "verbs"),
        ({"user": "nobody"}, "user"),
        ({"user": "ann"}, "user"),
        ({"context": "a\nb"}, "context"),
        ({"context": ""}, "context"),
        ({"masked_tags": (" ",)}, "masked_tags"),
        ({"max_reads": 0}, "max_reads"),
        ({"expires_at": -SOON}, "expires_at"),
    ],
)
async def test_bad_terms_are_named(core: Core, terms: dict[str, Any], param: str) -> None:
    given: dict[str, Any] = {"verbs": frozenset({"read"}), "user": "bob"} | terms
    if "expires_at" in given:
        given["expires_at"] = core.clock.now() + given["expires_at"]
    with pytest.raises(InvalidInput) as wrong:
        await Grants(core).give(ANN, await vault_id(core), Terms(**given))
    assert wrong.value.param == param


async def test_giving_and_revoking_is_audited_and_makes_files_stale(core: Core) -> None:
    cube = await put(core, "mine")
    home = await vault_id(core)
    artifact = {"memory_id": cube.id, "memory_version": 1, "kind": "kv", "identity": {}, "location": "/x", "bytes": 1}
    artifact |= {"id": "art_1", "sha256": "0", "state": "ready", "created_at": core.clock.now()}
    await core.write(ANN, lambda tx: tx.connection.execute(insert(ArtifactRow).values(**artifact)))
    given = await give(core, "read")
    state = select(ArtifactRow.state)
    assert await core.read(ANN, lambda tx: tx.connection.execute(state).scalar_one()) == "stale"
    await Grants(core).revoke(ANN, home, given.grant.id)
    lines = await core.read(ANN, lambda tx: audit.read(tx, chains=[home], after=0, limit=10))
    assert [line.action for line in lines] == ["grant", "revoke"]
    assert await core.read(ANN, lambda tx: audit.verify(tx, home)) is None


async def test_of_many_readers_at_once_no_more_get_through_than_the_grant_allows(core: Core) -> None:
    await give(core, "read", max_reads=7)
    home = await vault_id(core)
    read: list[int] = []
    refused: list[int] = []

    async def reading(number: int) -> None:
        try:
            allowed = await core.read(BOB, lambda tx: access.vault(tx, home, "read"))
            await grants.count_reads(core, BOB, [allowed])
        except access.Hidden:
            refused.append(number)
        else:
            read.append(number)

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(reading, number)
    assert (len(read), len(refused)) == (7, 13)
    used = select(GrantRow.reads_used)
    assert await core.read(ANN, lambda tx: tx.connection.execute(used).scalar_one()) == 7


async def test_one_read_of_several_vaults_through_one_grant_counts_once(core: Core) -> None:
    await give(core, "read", max_reads=7)
    home = await vault_id(core)
    allowed = await core.read(BOB, lambda tx: access.vault(tx, home, "read"))
    await grants.count_reads(core, BOB, [allowed, allowed])
    used = select(GrantRow.reads_used)
    assert await core.read(ANN, lambda tx: tx.connection.execute(used).scalar_one()) == 1


async def test_a_grant_that_was_revoked_between_decision_and_answer_gives_nothing(core: Core) -> None:
    given = await give(core, "read", max_reads=7)
    home = await vault_id(core)
    allowed = await core.read(BOB, lambda tx: access.vault(tx, home, "read"))
    await Grants(core).revoke(ANN, home, given.grant.id)
    with pytest.raises(access.Hidden):
        await grants.count_reads(core, BOB, [allowed])


@pytest.mark.parametrize(
    ("ours", "theirs", "both"),
    [
        ([Scope("a", None)], [Scope("a", None)], [Scope("a", None)]),
        ([Scope("a", None)], [Scope("b", None)], []),
        ([Scope("a", None)], [Scope(None, None, verbs("read"))], [Scope("a", None, verbs("read"))]),
        ([Scope("a", "x")], [Scope("a", "y")], []),
        ([Scope("a", None)], [Scope("a", "y")], [Scope("a", "y")]),
        ([Scope("a", None, verbs("read"))], [Scope("a", None, verbs("write"))], []),
        (
            [Scope("a", None, masked=frozenset({"h"}), max_reads=3)],
            [Scope("a", None, masked=frozenset({"m"}), max_reads=2)],
            [Scope("a", None, masked=frozenset({"h", "m"}), max_reads=2)],
        ),
        ([], [Scope("a", None)], []),
    ],
)
def test_both_allow_what_each_allows(ours: Sequence[Scope], theirs: Sequence[Scope], both: list[Scope]) -> None:
    assert intersection(ours, theirs) == both
    assert {*intersection(theirs, ours)} == {*both}


async def test_used_up_and_over_grants_are_not_in_force(core: Core, clock: SetClock) -> None:
    await give(core, "read", expires_at=clock.now() + SOON)
    await give(core, "write", max_reads=1)
    await give(core, "delete", max_reads=5)
    home = await vault_id(core)

    def use(tx: Tx) -> None:
        tx.connection.execute(GrantRow.__table__.update().values(reads_used=1))  # type: ignore[attr-defined]

    await core.write(ANN, use)
    clock.pass_by(3600)
    found = await core.read(ANN, lambda tx: grants.scopes(tx, home))
    assert [(scope.verbs, scope.max_reads) for scope in found] == [(verbs("delete"), 4)]
