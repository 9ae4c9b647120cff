"""What a verified program leaves as concepts: once, from the shortest one, merged, consolidated, and only when it may."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.arc_memo.concept import Concept
from agents.arc_memo.keeping import concept_draft
from memory.types import Draft
from runtime.events import CheckFailed, MemoryWritten
from runtime.llm.scripted import Rule
from tests.agents.arc_memo.puzzles import (
    LONGER_MIRROR,
    MIRROR,
    SAME,
    Asked,
    Solver,
    code,
    concept,
    learning,
    opened,
    puzzle,
    stored,
)
from tests.agents.empirical_mcts.world import OWNER

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("arena")]


def abstracting(*entries: object, **more: Any) -> Solver:
    """A solver whose programs are right and use these concepts."""
    return Solver(abstract=lambda asked: json.dumps({"concepts": entries}), **more)


async def test_a_problem_is_written_once_from_its_shortest_program_with_where_it_came_from() -> None:
    programs = [LONGER_MIRROR, MIRROR, SAME]
    async with opened(Solver(solve=lambda asked: code(programs[asked.seed % 3]))) as (trial, model):
        run = await trial.run(learning(seed=0, config={"samples": 3, "retries": 0}))
        events = await trial.events(run.id)
        (cube,) = await stored(trial)
        known = await trial.parts.memory.provenance(OWNER, cube.id)
    assert model.purposes[3:] == ["pseudocode", "abstract"]
    assert MIRROR in model.of("pseudocode")[0].text
    assert LONGER_MIRROR not in model.of("pseudocode")[0].text
    assert "output = reflect(grid)" in model.of("abstract")[0].text
    assert "Mirrors." in model.of("abstract")[0].text
    assert cube.data["used_in"] == ["p1"]
    assert (cube.semantic_type, cube.subject) == ("concept", "reflect grid")
    (source,) = [item.source for item in known.sources]
    assert (source.kind, source.uri, source.message_id, source.quote) == ("run", run.id, "run.1.0", MIRROR)
    assert [e.payload.op for e in events if isinstance(e.payload, MemoryWritten)] == ["add"]


async def test_the_next_problem_sees_what_there_is_and_adds_to_it() -> None:
    more = concept(cues=["another sign"], parameters=[{"name": "axis", "typing": "axis := Literal['x', 'y']"}])
    async with opened() as (trial, model):
        await trial.run(learning())
        model.abstract = lambda asked: json.dumps({"concepts": [more, {"name": "mirror line", "kind": "structure"}]})
        await trial.run(learning(input=puzzle(called="p2")))
        first, second = await stored(trial)
    assert "reflect grid" in model.of("abstract")[1].concepts
    assert first.data["used_in"] == ["p1", "p2"]
    assert first.data["cues"] == ["a sign of reflect grid", "another sign"]
    assert second.data["concept"] == "mirror line"


async def test_the_same_problem_again_changes_nothing() -> None:
    async with opened() as (trial, _):
        for _ in range(2):
            await trial.run(learning())
        (cube,) = await stored(trial)
    assert (cube.version, cube.data["used_in"]) == (1, ["p1"])


@pytest.mark.parametrize("without", [{"memory": "read"}, {"vaults": ()}, {"memory": "off"}])
async def test_a_run_that_may_not_write_asks_for_no_concepts(without: dict[str, Any]) -> None:
    async with opened() as (trial, model):
        run = await trial.run(learning(**without))
        assert await stored(trial) == []
    assert run.status == "succeeded"
    assert model.purposes == ["solve"]


async def test_a_problem_that_is_not_solved_leaves_nothing() -> None:
    async with opened(Solver(solve=lambda asked: code(SAME))) as (trial, model):
        await trial.run(learning(config={"retries": 1}))
        assert await stored(trial) == []
    assert model.purposes == ["solve", "retry"]


@pytest.mark.parametrize("said", ["no list", '{"concepts": 7}', "- concept: reflect grid"])
async def test_an_abstraction_that_cannot_be_read_is_asked_for_again_and_then_left(said: str) -> None:
    async with opened(Solver(abstract=lambda asked: said)) as (trial, model):
        run = await trial.run(learning())
        events = await trial.events(run.id)
        assert await stored(trial) == []
    assert run.status == "succeeded"
    assert len(model.of("abstract")) == 3
    assert [e.step for e in events if isinstance(e.payload, CheckFailed)] == ["learn.abstract"]


async def test_an_abstraction_that_is_mended_is_taken() -> None:
    def abstract(asked: Asked) -> str:
        return json.dumps({"concepts": [concept()]}) if "cannot be used" in asked.text else "no list"

    async with opened(Solver(abstract=abstract)) as (trial, _):
        await trial.run(learning())
        assert len(await stored(trial)) == 1


async def test_entries_may_be_bare_names_and_hold_what_nobody_knows() -> None:
    entries = [
        "reflect grid",
        {**concept("fill holes"), "mood": "good"},
        {"kind": "routine"},
        {"name": "x", "kind": "y"},
    ]
    async with opened(abstracting(*entries)) as (trial, _):
        await trial.parts.memory.add(OWNER, [concept_draft(Concept("reflect grid", "routine", used_in=("p0",)))])
        run = await trial.run(learning())
        assert run.status == "succeeded"
        assert {cube.subject: cube.data["used_in"] for cube in await stored(trial)} == {
            "reflect grid": ["p0", "p1"],
            "fill holes": ["p1"],
        }


@pytest.mark.parametrize("said", [Rule(reply="nothing"), Rule(fault="400"), Rule(reply='{"pseudocode": " "}')])
async def test_without_pseudocode_the_program_itself_is_abstracted(said: Rule) -> None:
    async with opened(Solver(pseudocode=lambda asked: said)) as (trial, model):
        await trial.run(learning())
        assert len(await stored(trial)) == 1
    assert MIRROR.strip() in model.of("abstract")[0].text


# -- consolidation -----------------------------------------------------------------------------------------------------


def long(cues: int) -> Concept:
    return Concept(
        "reflect grid",
        "routine",
        cues=tuple(f"cue {n}" for n in range(cues)),
        implementation=("note",),
        used_in=("p0",),
    )


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ({"cues": ["few", "words"], "implementation": ["note"]}, ["few", "words"]),
        ({"cues": [], "implementation": []}, [*(f"cue {n}" for n in range(8)), "a sign of reflect grid"]),
        ({"cues": [f"c{n}" for n in range(12)]}, [*(f"cue {n}" for n in range(8)), "a sign of reflect grid"]),
    ],
)
async def test_a_list_that_has_grown_long_is_written_anew_unless_that_is_empty_or_longer(
    written: dict[str, Any], left: list[str]
) -> None:
    async with opened(Solver(consolidate=lambda asked: json.dumps(written))) as (trial, model):
        await trial.parts.memory.add(OWNER, [concept_draft(long(8))])
        await trial.run(learning())
        (cube,) = await stored(trial)
    assert model.purposes[-1] == "consolidate"
    assert "- cue 7\n- a sign of reflect grid" in model.of("consolidate")[0].text
    assert cube.data["cues"] == left
    assert cube.data["used_in"] == ["p0", "p1"]


def grown(name: str, mark: str = "cue") -> Concept:
    return Concept(name, "routine", cues=tuple(f"{mark} {n}" for n in range(8)), used_in=("p0",))


@pytest.mark.parametrize("instead", [None, "other"])
async def test_a_reply_that_is_kept_is_for_one_concept_and_its_lists_only(instead: str | None) -> None:
    def consolidate(asked: Asked) -> str:
        (name,) = [name for name in ("first", "second") if f"<concept>\n{name}:" in asked.text]
        return json.dumps({"cues": [f"of the {name}"], "implementation": []})

    solver = abstracting(*(concept(name, cues=["new"]) for name in ("first", "second")), consolidate=consolidate)
    async with opened(solver) as (trial, model):
        added = await trial.parts.memory.add(OWNER, [concept_draft(grown("first")), concept_draft(grown("second"))])
        trial.breaking_off_at(6)
        run = await trial.run(learning())
        assert (run.status, len(model.of("consolidate"))) == ("interrupted", 2)
        # Meanwhile another writer changes the concept whose reply is kept.
        assert added[0].memory is not None
        await trial.parts.memory.delete(OWNER, added[0].memory.id, expect=1)
        if instead:
            await trial.parts.memory.add(OWNER, [concept_draft(grown("first", instead))])
        trial.llm.before = None
        assert (await trial.go_on(run.id)).status == "succeeded"
        cues = {cube.subject: cube.data["cues"] for cube in await stored(trial)}
    assert cues["second"] == ["of the second"]
    assert cues["first"] == ([*(f"other {n}" for n in range(8)), "new"] if instead else ["new"])


async def test_a_list_that_is_not_long_is_left_alone() -> None:
    async with opened() as (trial, model):
        await trial.parts.memory.add(OWNER, [concept_draft(long(7))])
        await trial.run(learning())
        (cube,) = await stored(trial)
    assert model.purposes[-1] == "abstract"
    assert len(cube.data["cues"]) == 8  # type: ignore[arg-type]  # a list


async def test_other_memories_of_the_vault_are_not_taken_for_concepts() -> None:
    async with opened() as (trial, model):
        await trial.parts.memory.add(OWNER, [Draft("Ana likes mirrors")], wait="indexed")
        await trial.run(learning())
        assert len(await stored(trial)) == 1
    assert all("Ana" not in asked.text for asked in model.seen)
