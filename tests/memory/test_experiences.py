"""Experiences are found by the questions that they came from, by an exact cosine, each method its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from sqlalchemy import insert

from memory.encoders.base import Role, Vectors
from memory.experiences import Wanted, tag_of
from memory.indices import lexical
from memory.indices.base import VectorHit
from memory.opening import open_memory
from memory.service import Memory
from memory.types import Actor, Change, Draft, MemCube
from memory.vault.grants import Terms
from runtime.db import open_database
from runtime.errors import ModelUnavailable, StorageError, UnknownName
from runtime.ids import SYSTEM
from runtime.settings import Settings
from runtime.tables import User

pytestmark = pytest.mark.anyio
ANN, BOB = Actor("usr_ann"), Actor("usr_bob")
PEARS = "How many pears are there in four baskets of six pears each?"
ALIKE = "How many pears are there in four baskets of five pears each?"
FAR = "Who wrote the letter that was found in the attic?"


@pytest.fixture
async def memory(any_settings: Settings) -> AsyncIterator[Memory]:
    db = open_database(any_settings)
    rows = [{"id": a.user_id, "name": a.user_id[4:], "role": "member", "created_at": SYSTEM.now()} for a in (ANN, BOB)]
    await db.write(lambda connection: connection.execute(insert(User), rows))
    async with open_memory(any_settings, db) as opened:
        yield opened
    await db.aclose()


async def learned(memory: Memory, text: str, *questions: str, method: str = "m", **more: Any) -> MemCube:
    draft = Draft(
        text,
        semantic_type="experience",
        data={"method": method, "keys": [{"text": question} for question in questions]},
        tags=(tag_of(method),),
        **more,
    )
    (added,) = await memory.add(ANN, [draft], wait="indexed")
    assert added.memory is not None
    return added.memory


async def found(memory: Memory, question: str, actor: Actor = ANN, **more: Any) -> list[tuple[str, str]]:
    hits = await memory.experiences.find(actor, Wanted(question, **{"method": "m", "measured": False, **more}))
    return [(hit.memory.content, max(hit.scores, key=lambda name: hit.scores[name])) for hit in hits]


async def test_a_question_finds_what_came_from_one_like_it_though_no_word_of_the_text_fits(memory: Memory) -> None:
    await learned(memory, "Multiply instead of adding", PEARS)
    await learned(memory, "Compare the handwriting", FAR)
    assert await found(memory, ALIKE, threshold=0.8) == [("Multiply instead of adding", "key")]
    (hit,) = await memory.experiences.find(ANN, Wanted(ALIKE, "m", threshold=0.8))
    assert hit.score == hit.scores["key"] > 0.8
    assert hit.why.startswith("came from a question like this (0.")


async def test_every_question_that_it_ever_came_from_counts(memory: Memory) -> None:
    cube = await learned(memory, "Multiply instead of adding", FAR)
    assert await found(memory, PEARS, threshold=0.5) == []
    keys = [{"text": FAR}, {"text": PEARS}]
    change = Change({"data": {"method": "m", "keys": keys}})
    await memory.edit(ANN, cube.id, change, expect=1)
    assert await found(memory, PEARS, threshold=0.5) == [("Multiply instead of adding", "key")]


async def test_the_text_counts_only_where_it_is_asked_for(memory: Memory) -> None:
    await learned(memory, "Pears in baskets of pears are multiplied", FAR)
    assert await found(memory, PEARS, threshold=0.2) == [("Pears in baskets of pears are multiplied", "text")]
    assert await found(memory, PEARS, threshold=0.2, by="key") == []


async def test_each_method_finds_its_own_and_other_memories_are_none(memory: Memory) -> None:
    await learned(memory, "Multiply instead of adding", PEARS)
    await learned(memory, "Add instead of multiplying", PEARS, method="other")
    await memory.add(ANN, [Draft(PEARS, tags=(tag_of("m"),))], wait="indexed")
    assert await found(memory, PEARS) == [("Multiply instead of adding", "key")]
    assert await found(memory, PEARS, method="other") == [("Add instead of multiplying", "key")]
    assert await found(memory, PEARS, method="third") == []


async def test_the_best_come_first_then_the_older_and_no_two_say_the_same(memory: Memory) -> None:
    for text in ("Draw the baskets", "Multiply instead of adding", "Multiply, instead of adding!", "Check the sum"):
        await learned(memory, text, PEARS)
    await learned(memory, "Count the baskets first", ALIKE)
    everything = [text for text, _ in await found(memory, PEARS, k=10, distinct=False, by="key")]
    assert everything == [
        "Draw the baskets",
        "Multiply instead of adding",
        "Multiply, instead of adding!",
        "Check the sum",
        "Count the baskets first",
    ]
    assert [text for text, _ in await found(memory, PEARS, k=10, by="key")] == [
        text for text in everything if not text.endswith("!")
    ]
    assert len(await found(memory, PEARS, k=2)) == 2


async def test_what_is_gone_or_may_not_be_read_is_not_found(memory: Memory) -> None:
    kept = await learned(memory, "Multiply instead of adding", PEARS)
    gone = await learned(memory, "Draw the baskets", PEARS)
    masked = await learned(memory, "Ask Ann", PEARS, sensitivity=("private",))
    await memory.delete(ANN, gone.id, expect=1)
    assert {text for text, _ in await found(memory, PEARS)} == {kept.content, masked.content}
    with pytest.raises(UnknownName):
        await found(memory, PEARS, BOB, vaults=(kept.vault_id,))
    terms = Terms(frozenset({"read"}), "bob", masked_tags=("private",), max_reads=1)
    await memory.vaults.grants.give(ANN, kept.vault_id, terms)
    assert await found(memory, PEARS, BOB, vaults=(kept.vault_id,)) == [(kept.content, "key")]
    with pytest.raises(UnknownName):
        await found(memory, PEARS, BOB, vaults=(kept.vault_id,))


async def test_while_the_encoder_cannot_be_asked_nothing_is_found(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await learned(memory, "Multiply instead of adding", PEARS)

    async def away(texts: Sequence[str], *, role: Role) -> Vectors:
        raise ModelUnavailable("away")

    monkeypatch.setattr(memory.spaces.active.encoder, "encode", away)
    assert await found(memory, PEARS) == []


async def test_its_questions_stand_in_full_text_also_when_they_change(memory: Memory) -> None:
    cube = await learned(memory, "Multiply instead of adding", "Zanzibar exports cloves")

    async def hold(word: str) -> list[int]:
        return await memory.core.read(
            ANN, lambda tx: [hit.seq for hit in lexical.search(tx.connection, word, [cube.vault_id], 9)]
        )

    assert await hold("Zanzibar") == [cube.seq]
    change = Change({"data": {"method": "m", "keys": [{"text": "Who exports nutmeg?"}]}})
    await memory.edit(ANN, cube.id, change, expect=1)
    assert (await hold("Zanzibar"), await hold("nutmeg")) == ([], [cube.seq])
    assert (await memory.verify(Actor(ANN.user_id, admin=True))).ok


async def test_it_is_found_by_its_question_among_many_others_without_the_vector_index(
    memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await learned(memory, "Multiply instead of adding", PEARS)
    for number in range(30):
        await learned(memory, f"Lesson number {number} about other things", f"What is thing number {number}?")

    async def away(vector: object, limit: int, where: object) -> list[VectorHit]:
        raise StorageError("away")

    monkeypatch.setattr(memory.spaces.active.index, "search", away)
    assert await found(memory, ALIKE, k=1) == [("Multiply instead of adding", "key")]
