"""Reading: the whole library by name while it fits, a shortlist above; vaults are read in the order of their naming."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agents.arc_memo.concept import Concept
from agents.arc_memo.keeping import concept_draft
from agents.arc_memo.library import Library, read_concepts, read_lessons, read_whole, shortlist
from agents.arc_memo.rendering import for_selection
from memory.types import Change
from runtime.errors import UnknownName
from runtime.settings import Settings
from tests.agents.arc_memo.shelf import ANN, BOB, Shelf, open_shelf

pytestmark = pytest.mark.anyio
SUBJECTS = ("ring", "ray", "mirror", "gravity", "border", "stripe", "cross", "corner", "hole", "maze")


def concepts(count: int) -> list[Concept]:
    return [
        Concept(
            f"{SUBJECTS[number % 10]} number {number}",
            "structure",
            description=f"A {SUBJECTS[number % 10]} of {number} cells.",
            cues=(f"one sees a {SUBJECTS[number % 10]}",),
            used_in=tuple(f"p{place}" for place in range(1 + number % 3)),
        )
        for number in range(count)
    ]


async def filled(shelf: Shelf, *all_of: Concept, vault: str = "default") -> None:
    for start in range(0, len(all_of), 200):
        drafts = [concept_draft(each) for each in all_of[start : start + 200]]
        await shelf.memory.add(ANN, drafts, vault=vault, wait="indexed", force=True)


@pytest.fixture
async def shelf(settings: Settings) -> AsyncIterator[Shelf]:
    async with open_shelf(settings) as opened:
        yield opened


async def test_an_empty_library_is_whole_and_says_nothing(shelf: Shelf) -> None:
    found = await read_concepts(shelf.memory, ANN, ["default"], question="a ring")
    assert (found.memory.names, found.whole, for_selection(found.memory)) == ([], True, "")
    assert (await read_lessons(shelf.memory, ANN, ["default"])).lessons == ()
    assert (await shortlist(shelf.memory, ANN, ["default"], question="", k=5)).memory.names == []


async def test_the_order_in_which_concepts_came_does_not_matter(shelf: Shelf) -> None:
    some = concepts(12)
    await filled(shelf, *some)
    await filled(shelf, *reversed(some), vault="seeds")
    here, there = [await read_concepts(shelf.memory, ANN, [vault]) for vault in ("default", "seeds")]
    assert here.whole
    assert for_selection(here.memory) == for_selection(there.memory)
    assert here.memory.to_json() == there.memory.to_json()


async def test_of_two_vaults_the_first_has_the_first_word(shelf: Shelf) -> None:
    await filled(shelf, Concept("ring", "structure", description="mine", cues=("a",), used_in=("p1",)))
    theirs = Concept("ring", "structure", description="theirs", cues=("b",), used_in=("p2",))
    await filled(shelf, theirs, Concept("ray", "structure"), vault="seeds")
    both = await read_concepts(shelf.memory, ANN, ["default", "seeds"])
    turned = await read_concepts(shelf.memory, ANN, ["seeds", "default"])
    assert both.memory.names == ["ray", "ring"]
    assert both.memory.concepts["ring"] == Concept(
        "ring", "structure", None, None, (), "mine", ("a", "b"), (), ("p1", "p2")
    )
    assert turned.memory.concepts["ring"].description == "theirs"
    assert [hit.memory.vault_id for hit in both.hits(["ring", "unknown"])] == [
        cube.vault_id for cube in (await shelf.cube("ring"), await shelf.cube("ring", "seeds"))
    ]


async def test_above_the_budget_the_read_is_a_shortlist_of_what_fits(shelf: Shelf) -> None:
    await filled(shelf, *concepts(60))
    whole = await read_concepts(shelf.memory, ANN, ["default"], question="a maze", k=5)
    assert whole.whole
    some = await read_concepts(shelf.memory, ANN, ["default"], question="one sees a maze", budget_tokens=300, k=6)
    assert not some.whole
    # The mazes are 9, 19, 29, ...; those of several problems are not 9 and 39.
    assert some.memory.names == [f"maze number {number}" for number in (19, 29, 39, 49, 59, 9)]
    reused = await shortlist(shelf.memory, ANN, ["default"], question="one sees a maze", k=3)
    assert any(len(each.used_in) > 1 for each in reused.memory.concepts.values())
    assert all(name.startswith("maze") for name in reused.memory.names)


async def test_a_library_of_several_pages_is_read_by_pages_and_never_whole_by_itself(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.arc_memo.library.MAX_PAGE", 20)
    monkeypatch.setattr("agents.arc_memo.library.WHOLE", 50)
    await filled(shelf, *concepts(62))
    assert len((await read_whole(shelf.memory, ANN, ["default"])).memory.concepts) == 62
    some = await read_concepts(shelf.memory, ANN, ["default"], question="a mirror", budget_tokens=10**9, k=7)
    assert (some.whole, len(some.memory.concepts)) == (False, 7)
    latest = await read_concepts(shelf.memory, ANN, ["default"], budget_tokens=10**9, k=7)
    assert len(latest.memory.concepts) == 7


async def test_what_was_deleted_or_changed_is_read_so(shelf: Shelf) -> None:
    await filled(shelf, *concepts(2))
    ring = await shelf.cube("ring number 0")
    await shelf.memory.edit(ANN, ring.id, Change({"content": "ring number 0 (structure)\nRound."}), expect=1)
    await shelf.memory.move(ANN, (await shelf.cube("ray number 1")).id, "delete")
    found: Library = await read_concepts(shelf.memory, ANN, ["default"])
    assert found.memory.names == ["ring number 0"]
    assert found.memory.concepts["ring number 0"] == Concept(
        "ring number 0", "structure", description="Round.", used_in=("p0",)
    )


async def test_a_vault_that_may_not_be_read_is_an_error(shelf: Shelf) -> None:
    for vaults in (["nowhere"], ["default", "nowhere"]):
        with pytest.raises(UnknownName):
            await read_concepts(shelf.memory, ANN, vaults)
    with pytest.raises(UnknownName):
        await read_concepts(shelf.memory, BOB, [(await shelf.memory.vaults.list(ANN))[0].vault.id])
