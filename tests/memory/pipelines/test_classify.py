"""Classification: what follows from each label, that nothing is ever lost, and what is protected stays as it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import JsonValue

from memory import explain, jobs, merging, store, versions
from memory.jobs import Job
from memory.pipelines import classify, fuse
from memory.pipelines.base import Parts
from memory.pipelines.classify import IN_USE, arguments, checked, comparable
from memory.pipelines.replies import PairLabel
from memory.types import MemCube, Source
from runtime.errors import MalformedReply
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, vault_id
from tests.memory.cubes import NOW, cube
from tests.memory.laboratory import Lab, rule
from tests.storing import SetClock

pytestmark = pytest.mark.anyio
SLOT: dict[str, Any] = {"subject": "Ana", "attribute": "residence"}
PORTO, LISBON = "Ana lives in Porto", "Ana lives in Lisbon"


def said(label: str, newer: str = "unknown", quotes: tuple[str, str] = ("Porto", "Lisbon"), contains: str = "") -> str:
    reply = {"label": label, "reason": f"they are {label}", "quotes": [*quotes], "newer": newer}
    return rule(classify.PURPOSE, reply, contains)


def fused(text: str, *, resolved: bool = True) -> str:
    return rule(fuse.PURPOSE, {"resolved": resolved, "text": text})


async def pair(lab: Lab, old: Any = None, new: Any = None) -> tuple[MemCube, MemCube]:
    """Two statements about one slot."""
    first = await lab.put(PORTO, **{**SLOT, **(old or {})})
    return first, await lab.put(LISBON, **{**SLOT, **(new or {})})


async def settle(lab: Lab, new: MemCube, *rules: str) -> Job:
    return await lab.do(classify.KIND, arguments(new.vault_id, [new.id]), *rules)


async def history(lab: Lab, memory: MemCube) -> list[str]:
    found = await lab.core.read(ANN, lambda tx: versions.history(tx, memory.id))
    assert await lab.core.read(ANN, lambda tx: versions.verify_chain(tx, memory.id))
    return [version.change for version in reversed(found)]


# -- the labels ----------------------------------------------------------------------------------------------------------


async def test_independent_memories_stay_as_they_are(lab: Lab) -> None:
    old, new = await pair(lab)
    job = await settle(lab, new, said("independent"))
    assert (job.state, job.result) == ("done", {"independent": 1})
    assert (await lab.now(old), await lab.now(new)) == (old, new)
    assert await lab.links(new) == set()


async def test_a_redundant_pair_is_merged_into_the_richer_text(lab: Lab) -> None:
    a, b = Source("message", message_id="m1", quote="Porto"), Source("message", message_id="m2")
    old = await lab.put(PORTO, sources=(a,), tags=("a",), **SLOT)
    new = await lab.put("Porto is the home of Ana, since long", sources=(b,), tags=("b",), **SLOT)
    job = await settle(lab, new, said("redundant", quotes=("Porto", "home of Ana")))
    assert job.result == {"redundant": 1}
    keep, other = await lab.now(new), await lab.now(old)
    assert (keep.content, keep.state, keep.tags) == (new.content, "activated", ("b", "a"))
    assert (other.content, other.state) == (PORTO, "merged")
    assert await lab.links(old) == {(old.id, "MERGED_TO", new.id)}
    told = await lab.core.read(ANN, lambda tx: explain.provenance(tx, keep))
    assert {each.source.message_id for each in told.sources} == {"m1", "m2"}
    assert ("merge", new.id) in await lab.deeds()
    back = await lab.core.write(ANN, lambda tx: store.move(tx, store.get(tx, old.id), "restore"))
    assert (back.state, back.content) == ("activated", PORTO)
    assert await history(lab, old) == ["create", "state", "state"]


async def test_near_duplicates_are_merged_without_asking(lab: Lab) -> None:
    old = await lab.put("Ana lives in Porto near the old harbour with Momo")
    new = await lab.put("Ana lives in Porto near the old harbour with Momo.")
    job = await settle(lab, new, rule("*", fault="400"))
    assert (job.state, job.result) == ("done", {"redundant": 1})
    assert ((await lab.now(old)).state, (await lab.now(new)).state) == ("merged", "activated")


async def test_the_same_words_about_two_people_are_not_merged_unasked(lab: Lab) -> None:
    await lab.put("She lives in Porto near the old harbour", subject="Ana")
    new = await lab.put("She lives in Porto near the old harbour", subject="Berta")
    job = await settle(lab, new, said("independent"))
    assert job.result == {"independent": 1}


async def test_a_newer_state_of_things_closes_the_older(lab: Lab, clock: SetClock) -> None:
    moved = datetime(2025, 3, 10, tzinfo=UTC)
    old, new = await pair(
        lab, {"valid_from": datetime(2024, 1, 1, tzinfo=UTC)}, {"valid_from": moved, "attribute": "home"}
    )
    near = await lab.put("Ana's sister lives in Faro", subject="Ana's sister", attribute="residence")
    clock.pass_by(60)
    await lab.core.write(ANN, lambda tx: store.change(tx, store.get(tx, new.id), kind="edit", attribute="residence"))
    job = await settle(lab, new, said("temporal_update", newer="b"))
    assert job.result == {"temporal_update": 1}
    closed = await lab.now(old)
    assert (closed.state, closed.valid_to, closed.superseded_at, closed.content) == (
        "archived",
        moved,
        clock.now(),
        PORTO,
    )
    assert (await lab.now(new)).state == "activated"
    assert await lab.now(near) == near
    assert await lab.links(new) == {(new.id, "SUPERSEDES", old.id)}
    assert ("supersede", old.id) in await lab.deeds()


@pytest.mark.parametrize(("newer", "closed"), [("b", PORTO), ("a", LISBON)])
async def test_without_dates_the_model_says_which_is_newer(lab: Lab, newer: str, closed: str) -> None:
    _, new = await pair(lab)
    await settle(lab, new, said("temporal_update", newer=newer))
    assert [cube.content for cube in await lab.all("archived")] == [closed]


async def test_dates_count_more_than_what_the_model_says(lab: Lab) -> None:
    _, new = await pair(lab, {"occurred_at": NOW}, {"valid_from": datetime(2020, 1, 1, tzinfo=UTC)})
    await settle(lab, new, said("temporal_update", newer="b"))
    assert [cube.content for cube in await lab.all("archived")] == [LISBON]


async def test_an_update_of_which_nobody_knows_the_newer_side_is_a_contradiction(lab: Lab) -> None:
    old, new = await pair(lab)
    job = await settle(lab, new, said("temporal_update"), fused("", resolved=False))
    assert job.result == {"contradictory": 1}
    assert await lab.links(new) == {(new.id, "CONTRADICTS", old.id)}


async def test_what_begins_only_when_it_would_end_is_not_closed(lab: Lab) -> None:
    old, new = await pair(lab, {"valid_from": datetime(2090, 1, 1, tzinfo=UTC)})
    await settle(lab, new, said("temporal_update", newer="b"))
    assert {cube.id for cube in await lab.all("activated")} == {old.id, new.id}
    assert len(await lab.inbox()) == 1


async def test_a_contradiction_is_fused_into_one_statement(lab: Lab) -> None:
    raw = await lab.put("raw", state="generated", semantic_type="document")
    old, new = await pair(
        lab,
        {"tags": ("a",), "sensitivity": ("home",), "confidence": 0.9},
        {"tags": ("b",), "confidence": 0.6, "expires_at": datetime(2090, 1, 1, tzinfo=UTC)},
    )
    await lab.core.write(ANN, lambda tx: store.link(tx, new.id, raw.id, "DERIVED_FROM"))
    text = "Ana lives in Lisbon and before that in Porto"
    job = await settle(lab, new, said("contradictory"), fused(f" {text}\n"))
    assert (job.state, job.result) == ("done", {"contradictory": 1})
    (made,) = await lab.all("activated")
    assert (made.content, made.subject, made.attribute, made.origin) == (
        text,
        "Ana",
        "residence",
        "inference_extraction",
    )
    assert (made.tags, made.sensitivity, made.confidence) == (("a", "b"), ("home",), 0.6)
    assert made.expires_at == new.expires_at
    assert {(c.content, c.state) for c in await lab.all("merged")} == {(PORTO, "merged"), (LISBON, "merged")}
    assert await lab.links(made) == {
        (old.id, "MERGED_TO", made.id),
        (new.id, "MERGED_TO", made.id),
        (made.id, "DERIVED_FROM", raw.id),
    }
    assert ("fuse", made.id) in await lab.deeds()
    back = await lab.core.write(ANN, lambda tx: store.move(tx, store.get(tx, old.id), "restore"))
    assert (back.state, back.content) == ("activated", PORTO)


async def test_a_contradiction_that_cannot_be_fused_keeps_both_and_asks_a_person(lab: Lab) -> None:
    old, new = await pair(lab, {"confidence": 0.9}, {"confidence": 0.5})
    job = await settle(lab, new, said("contradictory"), fused("", resolved=False))
    assert job.result == {"contradictory": 1}
    first, second = await lab.now(old), await lab.now(new)
    assert [(c.state, c.content, c.confidence) for c in (first, second)] == [
        ("activated", PORTO, 0.72),
        ("activated", LISBON, 0.4),
    ]
    assert await lab.links(new) == {(new.id, "CONTRADICTS", old.id)}
    (review,) = await lab.inbox()
    assert (review.kind, review.memory_id, review.other_id) == ("conflict", new.id, old.id)
    assert await history(lab, old) == await history(lab, new) == ["create", "conflict"]
    assert {deed for deed in await lab.deeds() if deed[0] == "conflict"} == {("conflict", old.id), ("conflict", new.id)}


@pytest.mark.parametrize(
    "text",
    [
        "Ana dances in Rome with the old sailors",
        "Ana moved to Lisbon 7 years ago",
        "My password is Tr0ub4dor&3",
        "She likes it",
    ],
)
async def test_a_fusion_that_is_not_made_of_the_two_is_no_fusion(lab: Lab, text: str) -> None:
    old, new = await pair(lab)
    await settle(lab, new, said("contradictory"), fused(text))
    assert {cube.id for cube in await lab.all("activated")} == {old.id, new.id}
    assert len(await lab.inbox()) == 1


async def test_without_a_quote_from_each_side_nothing_follows(lab: Lab) -> None:
    old, new = await pair(lab)
    job = await settle(lab, new, said("contradictory", quotes=("Porto", "Rome")))
    assert job.result == {"independent": 1}
    assert (await lab.now(old), await lab.now(new)) == (old, new)


# -- what is protected -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protection", [{"pinned": True}, {"state": "frozen"}])
@pytest.mark.parametrize("label", ["contradictory", "temporal_update"])
async def test_a_newcomer_against_what_is_protected_is_linked_and_asked_about(
    lab: Lab, protection: dict[str, Any], label: str
) -> None:
    old = await lab.put("Ana lives in Porto near the old harbour with Momo", **protection)
    new = await lab.put("Ana lives in Lisbon near the old harbour with Momo")
    reply = said(label, newer="b")
    job = await settle(lab, new, reply, fused("Ana lives in Lisbon and in Porto"))
    assert job.result == {label: 1}
    assert await lab.now(old) == old
    after = await lab.now(new)
    assert (after.content, after.state, after.confidence) == (new.content, "activated", 0.8)
    assert await lab.links(new) == {(new.id, "CONTRADICTS", old.id)}
    (review,) = await lab.inbox()
    assert (review.memory_id, review.other_id) == (new.id, old.id)


@pytest.mark.parametrize("protection", [{"pinned": True}, {"state": "frozen"}])
async def test_what_only_repeats_what_is_protected_is_linked_and_nothing_else(
    lab: Lab, protection: dict[str, Any]
) -> None:
    old = await lab.put("Ana lives in Porto near the old harbour with Momo", **protection)
    new = await lab.put("Ana lives in Porto near the old harbour with Momo!")
    await settle(lab, new, rule("*", fault="400"))
    assert (await lab.now(old), await lab.now(new)) == (old, new)
    assert await lab.links(new) == {(new.id, "RELATES", old.id)}
    assert await lab.inbox() == []


# -- which pairs -----------------------------------------------------------------------------------------------------


async def test_the_slot_and_what_sounds_alike_are_compared_and_nothing_else(lab: Lab) -> None:
    slot = await lab.put("Faro is where one meets her", **SLOT)
    near = await lab.put("Ana lives in Lisbon near the old harbour with Ben")
    await lab.put("Ben sells copper lamps")
    other = await lab.vault("travels")
    await lab.put("Ana lives in Lisbon near the old harbour with Momo", vault=other)
    await lab.put("Ana lives in Lisbon near the old harbour", state="archived")
    raw = await lab.put(
        "Ana lives in Lisbon near the old harbour with Momo", state="generated", semantic_type="document"
    )
    new = await lab.put("Ana lives in Lisbon near the old harbour with Momo", **SLOT)
    job = await settle(lab, new, said("independent"))
    assert job.result == {"independent": 2}
    assert raw.state == "generated"
    assert {slot.id, near.id} <= {cube.id for cube in await lab.all("activated")}


async def test_a_pair_that_is_settled_is_not_compared_again(lab: Lab) -> None:
    _, new = await pair(lab)
    await settle(lab, new, said("contradictory"), fused("", resolved=False))
    confidence = (await lab.now(new)).confidence
    job = await settle(lab, new, rule("*", fault="400"))
    assert (job.state, job.result) == ("done", {})
    assert (await lab.now(new)).confidence == confidence


@pytest.mark.parametrize("state", ["generated", "quarantined", "archived"])
async def test_a_memory_that_is_not_in_use_is_not_compared(lab: Lab, state: str) -> None:
    await lab.put(PORTO, **SLOT)
    new = await lab.put(LISBON, state=state, **SLOT)
    job = await settle(lab, new, rule("*", fault="400"))
    assert (job.state, job.result, job.done) == ("done", {}, 1)


async def test_only_live_pairs_of_one_vault_are_comparable() -> None:
    a, b = cube(id="a"), cube(id="b")
    assert comparable(a, b)
    assert not comparable(a, a)
    assert not comparable(None, b)
    assert not comparable(a, None)
    assert not comparable(a, cube(id="b", vault_id="vlt_2"))
    assert {
        state for state in ("generated", "activated", "frozen", "merged") if comparable(a, cube(id="b", state=state))
    } == IN_USE


async def test_an_answer_is_relied_on_as_far_as_its_quotes_and_the_dates_go() -> None:
    a, b = cube(id="a", content=PORTO, valid_from=None), cube(id="b", content=LISBON, valid_from=None)
    update = PairLabel(label="temporal_update", reason="r", quotes=["Porto", "Lisbon"], newer="unknown")
    assert checked(update, a, b).label == "contradictory"
    assert checked(update, a, cube(id="b", content=LISBON, valid_from=NOW)).label == "contradictory"
    dated = cube(id="a", content=PORTO, occurred_at=datetime(2020, 1, 1, tzinfo=UTC), valid_from=None)
    assert checked(update, dated, cube(id="b", content=LISBON)).newer == "b"
    swapped = update.model_copy(update={"quotes": ["Lisbon", "Porto"]})
    assert checked(swapped, a, b).label == "independent"


# -- others are at work too ------------------------------------------------------------------------------------------


class Meddling:
    """An asker while which somebody changes the old memory, so many times."""

    def __init__(self, lab: Lab, parts: Parts, memory_id: str, times: int) -> None:
        self.lab, self.asker, self.memory_id, self.times, self.asked = lab, parts.asker, memory_id, times, 0

    async def ask(self, *args: Any, **kwargs: Any) -> Any:
        answer = await self.asker.ask(*args, **kwargs)
        self.asked += 1
        if self.asked <= self.times:
            number = self.asked

            def change(tx: Any) -> None:
                now = store.get(tx, self.memory_id)
                store.change(tx, now, kind="edit", content=f"{PORTO}, they say {number}")

            await self.lab.core.write(ANN, change)
        return answer


def meddled(lab: Lab, memory_id: str, times: int, *rules: str) -> tuple[Parts, Meddling]:
    parts = lab.parts(*rules)
    meddling = Meddling(lab, parts, memory_id, times)
    return Parts(parts.core, meddling, parts.nearby, parts.embedding), meddling  # type: ignore[arg-type]


async def test_a_pair_that_changed_is_compared_again_three_times_at_most(lab: Lab) -> None:
    old, new = await pair(lab)
    parts, meddling = meddled(lab, old.id, 2, said("temporal_update", newer="b"))
    job = await lab.work(await lab.enqueue(classify.KIND, arguments(new.vault_id, [new.id])), parts=parts)
    assert (job.state, job.result, meddling.asked) == ("done", {"temporal_update": 1}, 3)
    assert (await lab.now(old)).state == "archived"


async def test_a_pair_that_never_rests_is_left_and_the_job_tried_again(lab: Lab) -> None:
    old, new = await pair(lab)
    parts, meddling = meddled(lab, old.id, 99, said("temporal_update", newer="b"))
    job = await lab.work(await lab.enqueue(classify.KIND, arguments(new.vault_id, [new.id])), parts=parts)
    assert (job.state, (job.error or "").partition(":")[0], meddling.asked) == ("failed", "stale", 3)
    assert ((await lab.now(old)).state, (await lab.now(new)).state) == ("activated", "activated")
    assert await lab.links(new) == set()


async def test_a_pair_that_went_meanwhile_is_left_alone(lab: Lab) -> None:
    old, new = await pair(lab)
    parts = lab.parts(said("temporal_update", newer="b"))

    class Leaving(Meddling):
        async def ask(self, *args: Any, **kwargs: Any) -> Any:
            answer = await self.asker.ask(*args, **kwargs)
            await self.lab.core.write(ANN, lambda tx: store.move(tx, store.get(tx, self.memory_id), "archive"))
            return answer

    leaving = Leaving(lab, parts, old.id, 1)
    parts = Parts(parts.core, leaving, parts.nearby, parts.embedding)  # type: ignore[arg-type]
    job = await lab.work(await lab.enqueue(classify.KIND, arguments(new.vault_id, [new.id])), parts=parts)
    assert (job.state, job.result) == ("done", {"gone": 1})


async def test_what_a_person_merged_meanwhile_is_not_settled_twice(lab: Lab) -> None:
    old, new = await pair(lab)

    def merge(tx: Any) -> None:
        merging.merge(tx, store.get(tx, new.id), store.get(tx, old.id))

    await lab.core.write(ANN, merge)
    job = await settle(lab, new, rule("*", fault="400"))
    assert (job.state, job.result) == ("done", {})


async def test_when_the_model_fails_nothing_is_written_and_the_next_one_goes_on(lab: Lab, clock: SetClock) -> None:
    old, new = await pair(lab)
    third = await lab.put("Ben lives in Rome", subject="Ben", attribute="residence")
    fourth = await lab.put("Ben lives in Bern", subject="Ben", attribute="residence")
    reply = rule(
        classify.PURPOSE,
        {"label": "temporal_update", "reason": "r", "quotes": ["Rome", "Bern"], "newer": "b"},
        contains="Bern",
    )
    job = await lab.do(
        classify.KIND,
        arguments(new.vault_id, [fourth.id, new.id]),
        reply,
        rule(classify.PURPOSE, "no JSON", contains="Porto"),
    )
    assert (job.state, job.done, job.result) == ("failed", 1, {"temporal_update": 1})
    assert (job.error or "").startswith(MalformedReply.code)
    assert ((await lab.now(third)).state, (await lab.now(old)).state) == ("archived", "activated")
    clock.pass_by(10)
    job = await lab.work(job, said("temporal_update", newer="b"))
    assert (job.state, job.result) == ("done", {"temporal_update": 2})
    assert (await lab.now(old)).state == "archived"


async def test_a_job_for_a_vault_that_is_not_ones_own_is_refused(lab: Lab) -> None:
    await lab.core.default_vault(BOB)
    his = await lab.put(PORTO, BOB)
    job = await lab.do(classify.KIND, arguments(his.vault_id, [his.id]), rule("*", fault="400"))
    assert (job.state, (job.error or "").partition(":")[0]) == ("dead", "not_found")


async def test_the_follow_up_of_another_job_is_never_refused_for_many(lab: Lab) -> None:
    new = await lab.put(PORTO)
    held = await lab.put(LISBON, state="quarantined")
    ids = [new_id("job") for _ in range(3)]
    home = await vault_id(lab.core)

    def work(tx: Any) -> None:
        for _ in range(jobs.OPEN_PER_USER):
            jobs.enqueue(tx, new_id("job"), "t.work", {}, limit=10**9)
        classify.enqueue(tx, ids[0], home, [new, held])
        classify.enqueue(tx, ids[1], home, [held])

    await lab.core.write(ANN, work)
    made: list[JsonValue] = [job.id for job in await lab.jobs(classify.KIND)]
    assert made == [ids[0]]
    assert (await lab.job(ids[0])).args["memory_ids"] == [new.id]
