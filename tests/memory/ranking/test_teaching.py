"""A vault learns to rank from recorded use: who may teach it, what a question spends, and what tells nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from memory import audit
from memory.core import Core
from memory.encoders.base import Role, Vectors
from memory.ranking.fusion import WEIGHTS
from memory.ranking.learn import LEAST_USED, UNRELATED
from memory.ranking.teaching import Teaching, Used
from memory.tables import GrantRow
from memory.types import Actor, MemCube
from memory.vault.grants import Grants, Terms
from runtime.errors import Forbidden, ModelUnavailable, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, vault_id
from tests.memory.shelves import Shelf, open_shelf

pytestmark = pytest.mark.anyio
QUESTION = "What did Ann say about the reed?"


@pytest.fixture
async def shelf(core: Core, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with open_shelf(core, tmp_path) as made:
        yield made


@pytest.fixture
def teaching(core: Core, shelf: Shelf) -> Teaching:
    return Teaching(core, shelf.recaller)


@pytest.fixture
async def said(shelf: Shelf) -> dict[str, list[MemCube]]:
    """What Ann and Bob say of the reed, three things each; the encoder holds Bob's to be nearer to the question."""
    return {
        who: [await shelf.lab.put(f"{reed} by the {by}", speaker=who) for by in ("willow", "mill", "lake")]
        for who, reed in (("Ann", "the reed"), ("Bob", "the reed, the reed"))
    }


def uses_of(cubes: Sequence[MemCube], count: int = 20) -> list[Used]:
    return [Used(QUESTION, {cube.id for cube in cubes})] * count


async def told(core: Core) -> list[tuple[str, str]]:
    home = await vault_id(core)
    lines = await core.read(ANN, lambda tx: audit.read(tx, chains=[home], after=0, limit=100))
    return [(line.action, line.decision) for line in lines if line.action in {"learn", "forget"}]


async def give(core: Core, *verbs: str, **terms: int) -> None:
    await Grants(core).give(ANN, await vault_id(core), Terms(frozenset(verbs), "bob", **terms))  # type: ignore[arg-type]


async def test_what_was_used_gains_weight_and_the_vault_ranks_by_it(
    core: Core, shelf: Shelf, teaching: Teaching, said: dict[str, list[MemCube]]
) -> None:
    assert await teaching.learned(ANN, "default") is None
    learned = await teaching.learn(ANN, "default", uses_of(said["Ann"]))
    assert learned.weights is not None
    assert (learned.samples, learned.used, learned.left_out, learned.why) == (120, 60, 0, "")
    assert learned.weights["speaker"] > 1.5 * WEIGHTS["speaker"]
    assert learned.weights["dense"] < WEIGHTS["dense"]
    assert await teaching.learned(ANN, "default") == learned.weights
    for hit in (await shelf.find(QUESTION)).hits:
        score = sum(weight * hit.scores.get(name, 0.0) for name, weight in learned.weights.items())
        assert hit.score == pytest.approx(score, abs=1e-4)
    assert await told(core) == [("learn", "allow")]
    home = await vault_id(core)
    assert await core.read(ANN, lambda tx: audit.verify(tx, home)) is None


async def test_what_it_has_learned_has_no_say_in_what_it_learns(
    teaching: Teaching, said: dict[str, list[MemCube]]
) -> None:
    first = await teaching.learn(ANN, "default", uses_of(said["Ann"]))
    assert await teaching.learn(ANN, "default", uses_of(said["Ann"])) == first


async def test_it_can_be_forgotten(core: Core, teaching: Teaching, said: dict[str, list[MemCube]]) -> None:
    await teaching.learn(ANN, "default", uses_of(said["Ann"]))
    for _ in range(2):
        await teaching.forget(ANN, "default")
        assert await teaching.learned(ANN, "default") is None
    assert await told(core) == [("learn", "allow"), ("forget", "allow")]


async def test_too_little_changes_nothing_and_says_why(
    core: Core, teaching: Teaching, said: dict[str, list[MemCube]]
) -> None:
    before = await teaching.learn(ANN, "default", uses_of(said["Ann"]))
    few = await teaching.learn(ANN, "default", uses_of(said["Ann"], 3))
    assert (few.weights, few.samples, few.used) == (None, 18, 9)
    assert "9 hits were used and 9 passed over" in few.why
    assert str(LEAST_USED) in few.why
    none = await teaching.learn(ANN, "default", [])
    assert (none.weights, none.samples) == (None, 0)
    # Used is what the default score holds to be worse.
    backwards = await teaching.learn(ANN, "default", uses_of(said["Bob"]))
    assert (backwards.weights, backwards.samples, backwards.why) == (None, 120, UNRELATED)
    assert await teaching.learned(ANN, "default") == before.weights
    assert await told(core) == [("learn", "allow")]


async def test_what_is_not_found_again_tells_nothing_whosever_it_is(
    shelf: Shelf, teaching: Teaching, said: dict[str, list[MemCube]]
) -> None:
    home = await shelf.lab.vault("of Bob", BOB)
    foreign = await shelf.lab.put(QUESTION, BOB, home)
    answers = [
        await teaching.learn(ANN, "default", [*uses_of(said["Ann"]), Used(QUESTION, {memory_id})])
        for memory_id in (foreign.id, new_id("mem"))
    ]
    assert answers[0] == answers[1]
    assert (answers[0].samples, answers[0].left_out) == (120, 1)
    both = await teaching.learn(ANN, "default", [Used(QUESTION, {foreign.id, cube.id}) for cube in said["Ann"]])
    assert (both.samples, both.used, both.left_out) == (18, 3, 0)


async def test_a_question_that_not_every_index_was_asked_tells_nothing(
    shelf: Shelf, teaching: Teaching, said: dict[str, list[MemCube]], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def down(texts: Sequence[str], *, role: Role) -> Vectors:
        raise ModelUnavailable("the encoder is down")

    monkeypatch.setattr(shelf.lab.spaces.active.encoder, "encode", down)
    learned = await teaching.learn(ANN, "default", uses_of(said["Ann"]))
    assert (learned.weights, learned.samples, learned.left_out) == (None, 0, 20)


async def test_progress_is_told(teaching: Teaching, said: dict[str, list[MemCube]]) -> None:
    steps: list[tuple[int, int]] = []
    await teaching.learn(
        ANN, "default", uses_of(said["Ann"], 3), progress=lambda done, total: steps.append((done, total))
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]


async def test_who_may_read_sees_it_and_who_may_write_teaches_it(
    core: Core, teaching: Teaching, said: dict[str, list[MemCube]]
) -> None:
    home = await vault_id(core)
    uses = uses_of(said["Ann"])
    for ref in (home, "vlt_nowhere"):
        for refused in (teaching.learn(BOB, ref, uses), teaching.learned(BOB, ref), teaching.forget(BOB, ref)):
            with pytest.raises(UnknownName, match=f"vault '{ref}': not found"):
                await refused
    await give(core, "read")
    assert await teaching.learned(BOB, home) is None
    for refused in (teaching.learn(BOB, home, uses), teaching.forget(BOB, home)):
        with pytest.raises(Forbidden, match="'write'"):
            await refused
    await give(core, "read", "write")
    learned = await teaching.learn(BOB, home, uses)
    assert learned.weights is not None
    assert await teaching.learned(ANN, "default") == learned.weights
    await teaching.forget(BOB, home)
    assert await teaching.learned(ANN, "default") is None


async def test_what_is_hidden_from_the_teacher_teaches_nothing(
    core: Core, shelf: Shelf, teaching: Teaching, said: dict[str, list[MemCube]]
) -> None:
    hidden = await shelf.lab.put("the reed, says Ann", speaker="Ann", sensitivity=("private",))
    terms = Terms(frozenset({"read", "write"}), "bob", masked_tags=("private",))
    await Grants(core).give(ANN, await vault_id(core), terms)
    learned = await teaching.learn(BOB, await vault_id(core), uses_of([hidden]))
    assert (learned.samples, learned.left_out) == (0, 20)
    assert (await teaching.learn(ANN, "default", uses_of([hidden]))).left_out == 0


async def reads_used(core: Core, actor: Actor = ANN) -> int:
    query = select(GrantRow.reads_used).where(GrantRow.max_reads.is_not(None))
    return int(await core.read(actor, lambda tx: tx.connection.execute(query).scalar_one()))


async def test_each_question_is_a_read_on_a_metered_grant_and_none_when_it_may_not_teach(
    core: Core, teaching: Teaching, said: dict[str, list[MemCube]]
) -> None:
    home = await vault_id(core)
    await give(core, "read", max_reads=30)
    with pytest.raises(Forbidden):
        await teaching.learn(BOB, home, uses_of(said["Ann"]))
    assert await teaching.learned(BOB, home) is None
    assert await reads_used(core) == 0
    await give(core, "write")
    assert (await teaching.learn(BOB, home, uses_of(said["Ann"]))).weights is not None
    assert await reads_used(core) == 20
    await teaching.forget(BOB, home)
    with pytest.raises(UnknownName):
        await teaching.learn(BOB, home, uses_of(said["Ann"]))
    assert await reads_used(core) == 30
    assert await teaching.learned(ANN, home) is None
