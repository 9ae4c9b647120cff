"""A store that grows along the items: batches see the same store, and what is learned comes in the order of the items."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import pytest
from pydantic import JsonValue

from evals import vaults
from evals.guards import LeakFound
from evals.log import Log, LogWriter
from evals.plan import Plan
from evals.preparing import Prepared, prepare
from evals.records import Record
from evals.runner import Evaluation, Incomplete
from memory.types import Draft
from tests.evals.conftest import Lab, MakeLab, Problems

pytestmark = pytest.mark.anyio


def plan_of(data: str, **fields: object) -> Plan:
    return Plan("aime", "scribe", data=(data,), memory="continual", **fields)  # type: ignore[arg-type]


def shown(log: Log) -> dict[str, str]:
    """What each item was shown, from the answer of the scribe."""
    return {record.item_id: record.output.rpartition(" [")[2].removesuffix("]") for record in log.records()}


def store_of(log: Log, stream: str = "0-0-0") -> str:
    return f"{log.id} memory {stream}"


async def test_an_item_reads_what_earlier_ones_have_learned(lab: MakeLab, problems: Problems, scribes: None) -> None:
    bench = lab()
    data = problems([5, 5, 5], name="grow", questions=["note Jupiter", "note Saturn", "anything learned?"])
    log = await bench.run(plan_of(data))
    assert shown(log)["grow-0"] == ""
    assert shown(log)["grow-1"] == "Jupiter was learned"
    assert shown(log)["grow-2"] == "Jupiter was learned, Saturn was learned"
    assert await bench.texts(store_of(log)) == ["Jupiter was learned", "Saturn was learned"]
    assert await bench.vault_names(log.id) == [store_of(log)], "copies are dropped"
    # The second and third item are right, because they were shown what the first learned.
    assert [record.correct for record in sorted(log.records(), key=lambda r: r.place)] == [False, True, True]


async def test_the_items_of_a_batch_see_the_same_store(lab: MakeLab, problems: Problems, scribes: None) -> None:
    bench = lab()
    questions = ["note Jupiter", "note Saturn", "note Uranus", "anything learned?"]
    log = await bench.run(plan_of(problems([1] * 4, name="batch", questions=questions), batch=2))
    assert (shown(log)["batch-0"], shown(log)["batch-1"]) == ("", "")
    assert shown(log)["batch-2"] == shown(log)["batch-3"] == "Jupiter was learned, Saturn was learned"


async def test_the_order_of_merging_is_that_of_the_items_whichever_run_is_quicker(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    bench = lab(8)
    # "slow question" takes longer, so the last items of the batch are done first.
    questions = ["slow question note A1", "slow question note B2", "note C3", "note D4"]
    for _ in range(2):
        log = await bench.run(plan_of(problems([1] * 4, name="merge", questions=questions), batch=4))
        assert [text.split()[0] for text in await bench.texts(store_of(log))] == ["A1", "B2", "C3", "D4"]


async def test_changes_and_removals_reach_the_memory_they_are_of(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    bench = lab()
    questions = ["note Jupiter note Saturn note Pluto", "revise Jupiter forget Pluto", "archive Saturn"]
    log = await bench.run(plan_of(problems([1] * 3, name="edit", questions=questions)))
    (only,) = await bench.cubes(store_of(log))
    assert only.content == "Jupiter was learned, and again"
    history = await bench.service.memory.history(bench.actor, only.id)
    assert history[0].reason == "learned on edit-1"
    archived = await vaults.live(bench.service.memory, bench.actor, store_of(log), ("archived",))
    assert [cube.content for cube in archived] == ["Saturn was learned"]


async def test_two_changes_of_one_memory_in_a_batch_lose_nothing(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    bench = lab()
    base = await bench.vault("base of two", "Jupiter was learned", "Saturn was learned", "Pluto was learned")
    questions = [
        "revise Jupiter revise Saturn",
        "forget Jupiter revise Saturn revise Saturn forget Pluto",
        "forget Pluto revise Saturn",
    ]
    data = problems([1] * 3, name="clash", questions=questions)
    log = await bench.run(plan_of(data, vault="base of two", batch=3))
    texts = await bench.texts(store_of(log))
    # What the second learned on Saturn is kept beside what the first did; the third says the same as the first.
    assert sorted(texts) == [
        "Jupiter was learned, and again",
        "Saturn was learned, and again",
        "Saturn was learned, and again, and again",
    ]
    told = [line for line in log.diary() if line["event"] == "merged"]
    assert [(line["changed"], line["degraded"], line["removed"], line["left_out"]) for line in told] == [
        (2, 0, 0, 0),
        (0, 1, 1, 1),
        (0, 0, 0, 1),
    ]
    assert len(await bench.texts(base)) == 3, "the vault that it began from stays as it is"


async def test_what_was_learned_names_the_item_and_may_not_be_read_by_a_frozen_test(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    bench = lab()
    log = await bench.run(plan_of(problems([1], name="mark", questions=["note Jupiter"])))
    (cube,) = await bench.cubes(store_of(log))
    sources = (await bench.service.memory.provenance(bench.actor, cube.id)).sources
    assert f"mneme-eval:{log.id}/aime/test/mark-0" in {item.source.uri for item in sources}
    assert log.records()[0].run_id in {item.source.uri for item in sources}, "the run's own source is kept"
    plan = Plan("aime", "direct", data=(problems([5]),), memory="warm", vault=store_of(log))
    with pytest.raises(LeakFound, match="mark-0"):
        await bench.run(plan)


async def test_each_order_has_a_store_of_its_own(lab: MakeLab, problems: Problems, scribes: None) -> None:
    bench = lab()
    questions = ["note Jupiter", "note Saturn", "note Uranus", "note Neptune"]
    log = await bench.run(plan_of(problems([1] * 4, name="orders", questions=questions), orders=3))
    assert len(log.records()) == 4 * 3
    first = [record.item_id for record in log.records() if record.place == 0]
    assert len(set(first)) > 1
    for order in range(3):
        assert len(await bench.texts(store_of(log, f"0-{order}-0"))) == 4
    summary = log.summary() or {}
    assert len(summary["runs"]["each"]) == 3
    assert summary["memory"]["online"] is True
    assert len(summary["learning"]) == 4


async def test_what_a_failed_run_wrote_is_dropped(lab: MakeLab, problems: Problems, scribes: None) -> None:
    bench = lab()
    questions = ["note Jupiter", "break note Saturn", "anything learned?"]
    log = await bench.run(plan_of(problems([1] * 3, name="failed", questions=questions)))
    assert await bench.texts(store_of(log)) == ["Jupiter was learned"]
    assert shown(log)["failed-2"] == "Jupiter was learned"


async def test_a_growing_store_may_not_begin_from_the_test_either(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    bench = lab()
    await bench.vault("bad base", Draft("a lesson", tags=("split:test",)))
    with pytest.raises(LeakFound):
        await bench.run(plan_of(problems([1], name="base", questions=["note Jupiter"]), vault="bad base"))


# -- a crash ----------------------------------------------------------------------------------------------------------

QUESTIONS = ["note Jupiter", "note Saturn", "slow question revise Jupiter", "note Uranus forget Saturn", "all learned?"]
WANTED = ["Jupiter was learned, and again", "Uranus was learned"]


async def whole(bench: Lab, log: Log) -> None:
    assert sorted(await bench.texts(store_of(log))) == WANTED
    assert await bench.vault_names(log.id) == [store_of(log)]
    assert [record.item_id for record in sorted(log.records(), key=lambda r: r.place)] == [
        f"crash-{n}" for n in range(5)
    ]
    assert shown(log)["crash-4"] == ", ".join(WANTED)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("when", ["before a line", "after a line"])
async def test_an_evaluation_that_is_stopped_anywhere_ends_with_the_same_store(
    lab: MakeLab, problems: Problems, scribes: None, batch: int, when: str
) -> None:
    bench = lab()
    data = problems([1] * 5, name="crash", questions=QUESTIONS)
    log = await bench.bench.open(plan_of(data, batch=batch), bench.loader())
    prepared = await prepare(log.header().plan, bench.loader())
    stops = 0
    # Each time after its first, second or third line of the diary or of the records; or with what was done for the next.
    while await is_stopped(bench, log, prepared, 1 + stops % 3, before=when == "before a line"):
        stops += 1
        assert stops < 40
    assert stops >= 6
    await whole(bench, log)


class Stop(BaseException):
    """As a kill would."""


class Stopping(LogWriter):
    """Ends the process, as it were, after so many lines, or when the next one would be written."""

    before = False
    left = 1

    def add(self, record: Record) -> None:
        self._before()
        super().add(record)
        self._after()

    def note(self, line: Mapping[str, JsonValue]) -> None:
        self._before()
        super().note(line)
        self._after()

    def _before(self) -> None:
        if self.before and self.left == 0:
            raise Stop
        self.left -= 1

    def _after(self) -> None:
        if not self.before and self.left == 0:
            raise Stop


async def is_stopped(bench: Lab, log: Log, prepared: Prepared, lines: int, *, before: bool) -> bool:
    with Stopping(log.folder) as writer:
        writer.before, writer.left = before, lines
        try:
            await Evaluation(bench.bench, prepared, writer).run()
        except BaseExceptionGroup as group:
            if group.subgroup(Stop) is None:
                raise
            return True
        except Stop:
            return True
    return False


async def test_a_slot_without_a_record_holds_back_the_batches_behind_it(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    bench = lab()
    questions = ["flaky question number 1? note Jupiter", "note Saturn", "all learned?"]
    data = problems([1] * 3, name="held", questions=questions)
    log = await bench.bench.open(plan_of(data, batch=2), bench.loader())
    with pytest.raises(Incomplete, match="2 of 3"):
        await bench.resume(log)
    assert [record.item_id for record in log.records()] == ["held-1"]
    await bench.resume(log)
    assert shown(log) == {"held-0": "", "held-1": "", "held-2": "Jupiter was learned, Saturn was learned"}


async def test_streams_are_asked_side_by_side(lab: MakeLab, problems: Problems, scribes: None) -> None:
    bench = lab(4)
    data = problems([1] * 2, name="slow")
    with anyio.fail_after(20):
        log = await bench.run(plan_of(data, seeds=3))
    assert len(log.records()) == 6


# -- 25 items in batches of 10 ----------------------------------------------------------------------------------------


async def test_what_is_learned_comes_in_behind_every_tenth_item_and_a_second_pass_begins_with_all_of_it(
    lab: MakeLab, problems: Problems, scribes: None
) -> None:
    bench = lab(8)
    data = problems([1] * 25, name="ten", split="train", questions=[f"note W{n:02}" for n in range(1, 26)])
    log = await bench.run(plan_of(data, batch=10))
    told = [(line["event"], line["place"]) for line in log.diary() if line["event"] != "began"]
    expected = []
    for start, end in ((0, 10), (10, 20), (20, 25)):
        expected += [sorted(("copied", place) for place in range(start, end))]
        expected += [[("merged", place) for place in range(start, end)]]
    found, at = [], 0
    for part in expected:
        here, at = told[at : at + len(part)], at + len(part)
        # Items of a batch begin side by side; what they learned is taken over in their order.
        found.append(sorted(here) if here[0][0] == "copied" else here)
    assert found == expected
    held = {line["place"]: len(line["ids"]) for line in log.diary() if line["event"] == "copied"}
    assert held == {place: place // 10 * 10 for place in range(25)}
    read = shown(log)
    assert read["ten-8"] == "", "problem 9 reads nothing of 3"
    assert read["ten-10"] == ", ".join(f"W{n:02} was learned" for n in range(1, 11)), (
        "problem 11 reads all of the first ten"
    )
    again = await bench.run(plan_of(data, batch=10, vault=store_of(log), limit=1))
    assert [len(line["ids"]) for line in again.diary() if line["event"] == "copied"] == [25]
