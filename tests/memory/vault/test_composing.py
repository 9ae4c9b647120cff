"""The composed view: the nearer vault wins where both say something about the same, and nobody sees more than they may."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from memory import store
from memory.core import Core
from memory.types import Actor, MemCube
from memory.vault.composing import compose
from memory.vault.grants import Grants, Terms
from memory.vault.vaults import Vaults
from runtime.errors import InvalidInput, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, put, vault_id
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


async def vaults(core: Core, count: int = 2, actor: Actor = ANN) -> list[str]:
    return [(await Vaults(core).create(actor, f"v{number}")).vault.id for number in range(count)]


async def says(
    core: Core, vault: str, text: str, subject: str = "Ana", attribute: str = "home", **more: Any
) -> MemCube:
    return await put(core, text, vault=vault, subject=subject, attribute=attribute, **more)


async def seen(core: Core, *refs: str, actor: Actor = ANN) -> list[str]:
    return [cube.content for cube in (await compose(core, actor, refs)).items]


async def test_the_nearer_vault_wins_on_the_same_attribute_of_the_same_subject(core: Core) -> None:
    near, far = await vaults(core)
    await says(core, near, "Lisbon")
    await says(core, far, "Porto", "ANA", "Home ")
    await says(core, far, "a nurse", attribute="job")
    await says(core, far, "it rained at Ana's home", semantic_type="event")
    await put(core, "no slot", vault=far)
    rest = ["no slot", "it rained at Ana's home", "a nurse"]
    assert await seen(core, near, far) == ["Lisbon", *rest]
    assert await seen(core, far, near) == [*rest, "Porto"]
    assert await seen(core, far) == [*rest, "Porto"]
    assert await seen(core, "v0", "v1", "v0") == ["Lisbon", *rest]


async def test_what_is_not_in_use_any_more_covers_nothing(core: Core, clock: SetClock) -> None:
    near, far = await vaults(core)
    archived = await says(core, near, "archived")
    await core.write(ANN, lambda tx: store.move(tx, archived, "archive"))
    await says(core, near, "over", expires_at=clock.now() + timedelta(seconds=1))
    await says(core, near, "held back", state="quarantined")
    clock.pass_by(2)
    await says(core, far, "Porto")
    assert await seen(core, near, far) == ["Porto"]


async def test_what_is_hidden_from_the_reader_covers_nothing_for_him(core: Core) -> None:
    near, far = await vaults(core)
    await says(core, near, "secret", sensitivity=("health",))
    await says(core, far, "Porto")
    await Grants(core).give(ANN, near, Terms(frozenset({"read"}), "bob", masked_tags=("health",)))
    await Grants(core).give(ANN, far, Terms(frozenset({"read"}), "bob", max_reads=1))
    assert await seen(core, near, far) == ["secret"]
    assert await seen(core, near, far, actor=BOB) == ["Porto"]
    # The read of the second vault was counted, and it was the last.
    with pytest.raises(UnknownName):
        await seen(core, near, far, actor=BOB)


async def test_one_vault_that_may_not_be_read_spoils_the_view(core: Core) -> None:
    home = await vault_id(core)
    await core.default_vault(BOB)
    for ref in (home, new_id("vlt"), "nope"):
        with pytest.raises(UnknownName):
            await compose(core, BOB, ["default", ref])


async def test_pages_follow_each_other_across_the_vaults(core: Core) -> None:
    ids = await vaults(core, 3)
    for vault in ids:
        for number in range(3):
            await says(core, vault, f"{vault} {number}", attribute=str(number))
        await put(core, f"{vault} else", vault=vault)
    whole = [cube.id for cube in (await compose(core, ANN, ids)).items]
    assert len(whole) == 6
    paged: list[str] = []
    after: str | None = None
    while True:
        page = await compose(core, ANN, ids, after=after, limit=1)
        paged += [cube.id for cube in page.items]
        after = page.next
        if after is None:
            break
    assert paged == whole
    for wrong in (new_id("mem"), (await put(core, "in another vault")).id):
        with pytest.raises(InvalidInput, match="no cursor"):
            await compose(core, ANN, ids, after=wrong)
    for refs, limit in (([], 5), (ids, 0), (["v0"] * 65, 5)):
        with pytest.raises(InvalidInput):
            await compose(core, ANN, refs, limit=limit)
