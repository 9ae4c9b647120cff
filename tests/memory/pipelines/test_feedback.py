"""Feedback: plain replacements by rule, the rest by the model, nothing invented, and what is protected stays."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue

from memory import explain, store, versions
from memory.jobs import Job
from memory.pipelines import classify, feedback
from memory.pipelines.feedback import Replacement, arguments, note, replaced, replacement
from memory.types import MemCube
from tests.memory.conftest import ANN, BOB
from tests.memory.laboratory import Lab, rule
from tests.storing import SetClock

PORTO = "Ana lives in Porto"


# -- L5: is it a plain replacement? --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "original", "target"),
    [
        ('Replace "Porto" with "Lisbon"', "Porto", "Lisbon"),
        ("please change 'Porto' to 'Lisbon'.", "Porto", "Lisbon"),
        ("Rename “Momo” into “Nono”!", "Momo", "Nono"),
        ('"Porto" should be "Lisbon"', "Porto", "Lisbon"),
        ('"Jon" is spelled "John".', "Jon", "John"),
        ("change Porto to Vila Nova", "Porto", "Vila Nova"),
        ("Please replace the old harbour with the new one", "the old harbour", "the new one"),
    ],
)
def test_a_plain_replacement_is_recognised(text: str, original: str, target: str) -> None:
    assert replacement(text) == Replacement(original, target)


@pytest.mark.parametrize(
    "text",
    [
        "Ana lives in Lisbon, not in Porto",
        "thanks, that was helpful",
        'do not replace "Porto" with "Lisbon"',
        'I liked that you did not change "Porto" to "Lisbon" in the note about Ben',
        'Replace "Porto" with "Lisbon" only where Ana is meant',
        'replace "Porto" with "Porto"',
        "",
    ],
)
def test_anything_else_is_to_be_judged(text: str) -> None:
    assert replacement(text) is None


def test_whole_words_are_replaced_everywhere_whatever_their_case() -> None:
    wanted = Replacement("ana", r"\1 Eve")
    assert replaced("Ana and ANA, Anabel, banana (ana)", wanted) == r"\1 Eve and \1 Eve, Anabel, banana (\1 Eve)"
    assert replaced("C++ and C+", Replacement("C++", "Rust")) == "Rust and C+"


# -- the job -------------------------------------------------------------------------------------------------------------


async def give(lab: Lab, text: str, about: list[MemCube], *rules: str) -> tuple[Job, MemCube]:
    draft = note(text)
    said = await lab.put(text, semantic_type=draft.semantic_type, state=draft.state, tags=draft.tags)
    job = await lab.do(feedback.KIND, arguments(said.vault_id, said.id, [cube.id for cube in about]), *rules)
    return job, said


def judged(*items: dict[str, JsonValue], contains: str = "") -> str:
    return rule(feedback.PURPOSE, {"items": [*items]}, contains)


def item(text: str | None, *ids: str, validity: bool = True, attitude: str = "dissatisfied") -> dict[str, JsonValue]:
    return {"validity": validity, "attitude": attitude, "corrected_text": text, "memory_ids": [*ids]}


@pytest.mark.anyio
async def test_a_replacement_is_done_without_a_model_in_what_it_is_about(lab: Lab) -> None:
    cube = await lab.put(f"{PORTO}; porto is nice")
    other = await lab.put("Ben lives in Porto")
    job, said = await give(lab, 'Replace "Porto" with "Lisbon"', [cube], rule("*", fault="400"))
    assert (job.state, job.result) == ("done", {"corrected": 1, "added": 0, "asked": 0})
    after = await lab.now(cube)
    assert (after.content, after.version) == ("Ana lives in Lisbon; Lisbon is nice", 2)
    assert await lab.now(other) == other
    history = await lab.core.read(ANN, lambda tx: versions.history(tx, cube.id))
    assert [(v.change, v.content, v.reason) for v in history] == [
        ("feedback", after.content, f"feedback {said.id}"),
        ("create", cube.content, ""),
    ]
    told = await lab.core.read(ANN, lambda tx: explain.provenance(tx, after))
    assert [(each.version, each.source.message_id) for each in told.sources] == [(2, said.id)]
    assert ("feedback", cube.id) in await lab.deeds()
    assert await lab.now(said) == said


@pytest.mark.anyio
async def test_without_a_memory_it_is_about_what_is_near(lab: Lab) -> None:
    near, far = await lab.put(PORTO), await lab.put("Ben sells copper lamps")
    job, _ = await give(lab, 'Replace "Porto" with "Lisbon"', [], rule("*", fault="400"))
    assert job.result == {"corrected": 1, "added": 0, "asked": 0}
    assert (await lab.now(near)).content == "Ana lives in Lisbon"
    assert await lab.now(far) == far


@pytest.mark.anyio
async def test_the_model_corrects_what_it_names_and_adds_what_is_new(lab: Lab) -> None:
    cube = await lab.put(PORTO, subject="Ana", attribute="residence")
    text = "No, Ana lives in Lisbon now. And her cat is called Momo. Thanks!"
    reply = judged(
        item("Ana lives in Lisbon.", cube.id),
        item("Ana's cat is called Momo."),
        item(None, validity=False, attitude="satisfied"),
        item(None, cube.id),
        contains='{"feedback":"No, Ana lives in Lisbon now',
    )
    job, said = await give(lab, text, [cube], reply)
    assert (job.state, job.result) == ("done", {"corrected": 1, "added": 1, "asked": 0})
    after = await lab.now(cube)
    assert (after.content, after.subject, after.version) == ("Ana lives in Lisbon.", "Ana", 2)
    (new,) = [each for each in await lab.all("activated") if each.id != cube.id]
    assert (new.content, new.origin, new.confidence) == ("Ana's cat is called Momo.", "inference_extraction", 0.9)
    assert await lab.links(new) == {(new.id, "DERIVED_FROM", said.id)}
    (following,) = await lab.jobs(classify.KIND)
    assert following.args["memory_ids"] == [new.id]


@pytest.mark.anyio
async def test_what_neither_the_feedback_nor_the_memory_says_is_not_written(lab: Lab) -> None:
    cube = await lab.put(PORTO)
    reply = judged(
        item("Ana dances with sailors in Madeira", cube.id),
        item("Ana has 7 cats"),
        item("Ana's password is Tr0ub4dor&3"),
        item("Ana lives in Lisbon", "mem_unknown", validity=False),
    )
    job, _ = await give(lab, "That is wrong, she has cats.", [cube], reply)
    assert job.result == {"corrected": 0, "added": 0, "asked": 0}
    assert await lab.now(cube) == cube


@pytest.mark.anyio
@pytest.mark.parametrize("protection", [{"pinned": True}, {"state": "frozen"}])
async def test_what_is_protected_stays_and_the_correction_stands_beside_it(
    lab: Lab, protection: dict[str, Any]
) -> None:
    cube = await lab.put(PORTO, tags=("home",), sensitivity=("private",), subject="Ana", **protection)
    job, said = await give(lab, 'Replace "Porto" with "Lisbon"', [cube])
    assert (job.state, job.result) == ("done", {"corrected": 0, "added": 0, "asked": 1})
    assert await lab.now(cube) == cube
    (new,) = [each for each in await lab.all("activated") if each.id != cube.id]
    assert (new.content, new.tags, new.sensitivity, new.subject) == (
        "Ana lives in Lisbon",
        ("home",),
        ("private",),
        "Ana",
    )
    assert await lab.links(new) == {(new.id, "CONTRADICTS", cube.id), (new.id, "DERIVED_FROM", said.id)}
    (review,) = await lab.inbox()
    assert (review.kind, review.memory_id, review.other_id) == ("conflict", new.id, cube.id)


@pytest.mark.anyio
async def test_a_correction_that_another_memory_says_already_archives_the_wrong_one(lab: Lab) -> None:
    right, wrong = await lab.put("Ana lives in Lisbon"), await lab.put(PORTO)
    job, said = await give(lab, 'Replace "Porto" with "Lisbon"', [wrong])
    assert (job.state, job.result) == ("done", {"corrected": 1, "added": 0, "asked": 0})
    after = await lab.now(wrong)
    assert (after.state, after.content) == ("archived", PORTO)
    assert await lab.now(right) == right
    history = await lab.core.read(ANN, lambda tx: versions.history(tx, wrong.id))
    assert history[0].reason.startswith(f"feedback {said.id}: ")


@pytest.mark.anyio
async def test_a_memory_that_changed_meanwhile_is_looked_at_again(lab: Lab) -> None:
    cube = await lab.put(PORTO)
    parts = lab.parts(judged(item("Ana lives in Lisbon", cube.id)))
    ask, asked = parts.asker.ask, 0

    async def meddle(*args: Any, **kwargs: Any) -> Any:
        nonlocal asked
        answer = await ask(*args, **kwargs)
        asked += 1
        if asked < 3:
            await lab.core.write(
                ANN, lambda tx: store.change(tx, store.get(tx, cube.id), kind="edit", tags=(str(asked),))
            )
        return answer

    parts.asker.ask = meddle  # type: ignore[method-assign]
    said = await lab.put("No, Ana lives in Lisbon", semantic_type="document", state="generated")
    job = await lab.work(await lab.enqueue(feedback.KIND, arguments(said.vault_id, said.id, [cube.id])), parts=parts)
    assert (job.state, asked) == ("done", 3)
    assert (await lab.now(cube)).content == "Ana lives in Lisbon"


@pytest.mark.anyio
async def test_when_the_model_fails_nothing_is_written_and_the_words_are_kept(lab: Lab, clock: SetClock) -> None:
    cube = await lab.put(PORTO)
    job, said = await give(lab, "No, Ana lives in Lisbon", [cube], rule(feedback.PURPOSE, "sorry"))
    assert (job.state, (job.error or "").partition(":")[0]) == ("failed", "malformed_reply")
    assert (await lab.now(cube), await lab.now(said)) == (cube, said)
    clock.pass_by(10)
    job = await lab.work(job, judged(item("Ana lives in Lisbon", cube.id)))
    assert job.state == "done"
    assert (await lab.now(cube)).content == "Ana lives in Lisbon"


@pytest.mark.anyio
async def test_a_feedback_that_was_deleted_meanwhile_changes_nothing(lab: Lab) -> None:
    cube = await lab.put(PORTO)
    said = await lab.put('Replace "Porto" with "Lisbon"', semantic_type="document", state="generated")
    await lab.core.write(ANN, lambda tx: store.move(tx, said, "delete"))
    job = await lab.do(feedback.KIND, arguments(said.vault_id, said.id, [cube.id]))
    assert (job.state, job.result) == ("done", {"corrected": 0, "added": 0, "asked": 0})
    assert await lab.now(cube) == cube


@pytest.mark.anyio
async def test_the_memories_of_others_cannot_be_corrected(lab: Lab) -> None:
    await lab.core.default_vault(BOB)
    his = await lab.put(PORTO, BOB)
    job, _ = await give(lab, 'Replace "Porto" with "Lisbon"', [his])
    assert (job.state, (job.error or "").partition(":")[0]) == ("dead", "not_found")
    assert (await lab.now(his)).content == PORTO


def test_a_feedback_is_kept_as_raw_material() -> None:
    draft = note("No, Ana lives in Lisbon")
    assert (draft.state, draft.semantic_type, draft.origin, draft.tags) == (
        "generated",
        "document",
        "user_input",
        ("feedback",),
    )
