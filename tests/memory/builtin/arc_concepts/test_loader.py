"""The concepts use every field, belong to the tasks that name them, and become memories once."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from agents.arc_memo.concept import GRID_MANIPULATION, definitions
from agents.arc_memo.concept import Concept as AgentConcept
from agents.arc_memo.keeping import concept_draft
from agents.arc_memo.library import library_of
from agents.arc_memo.rendering import for_selection
from agents.arc_memo.wording import read_text
from memory.archive.importing import Counts
from memory.archive.transfer import Transfer
from memory.builtin.arc_concepts import loader
from memory.core import Core
from memory.payloads import Concept, Parameter
from memory.spaces import Spaces
from memory.tables import SourceRow
from memory.types import SEARCHABLE
from tests.memory.conftest import ANN
from tests.memory.transferring import cubes, spaces_of, table_counts, transfer_of

CONCEPTS = loader.concepts()
SOLUTIONS = {solution.task_id: solution for solution in loader.solutions()}


@pytest.fixture
async def spaces(core: Core) -> AsyncIterator[Spaces]:
    async with spaces_of(core) as opened:
        yield opened


@pytest.fixture
def transfer(core: Core, spaces: Spaces) -> Transfer:
    return transfer_of(core, spaces)


def named_in(steps: str) -> set[str]:
    """The concepts that the steps of a task speak of. A name within a longer name is not meant."""
    found = set()
    for name in sorted((each.concept for each in CONCEPTS), key=len, reverse=True):
        steps, times = re.subn(rf"\b{name}s?\b", "#", steps)
        if times:
            found.add(name)
    return found


def typings(concept: Concept) -> list[str]:
    return [typing for typing in (concept.output_typing, *(p.typing for p in concept.parameters)) if typing]


def test_a_concept_is_used_in_the_tasks_whose_steps_name_it_and_in_no_other() -> None:
    used = {each.concept: each.used_in for each in CONCEPTS}
    named = {task: named_in(solution.pseudocode) for task, solution in SOLUTIONS.items()}
    assert used == {name: [task for task in SOLUTIONS if name in named[task]] for name in used}
    assert all(named.values()), "every task shows some concept"
    assert all(used.values()), "every concept is seen in some task"


def test_there_are_enough_concepts_and_many_are_reused() -> None:
    names = [each.concept for each in CONCEPTS]
    assert len(set(names)) == len(names) >= 40
    assert sum(len(each.used_in) >= 2 for each in CONCEPTS) >= 40


def test_every_field_is_exercised() -> None:
    for model, items in ((Concept, CONCEPTS), (Parameter, [p for each in CONCEPTS for p in each.parameters])):
        for field in model.model_fields:
            assert sum(bool(getattr(item, field)) for item in items) >= 10, field
    assert {each.kind for each in CONCEPTS} == {"structure", "routine"}
    for each in CONCEPTS:
        assert (each.kind == "routine") == bool(each.routine_subtype), each.concept
        assert all((each.output_typing, each.description, each.parameters, each.cues)), each.concept
        assert all(p.typing and p.description for p in each.parameters), each.concept


def test_types_are_declared_once_and_callable_ones_have_routines_to_fill_them() -> None:
    declared = [found for each in CONCEPTS for typing in typings(each) for found in definitions(typing)]
    types = dict(declared)
    assert max(Counter(name for name, _ in declared).values()) == 1
    callables = {name for name, definition in types.items() if definition.startswith("Callable[")}
    subtypes = {each.routine_subtype for each in CONCEPTS} - {None, GRID_MANIPULATION, "intermediate"}
    assert subtypes <= callables
    assert len(subtypes) >= 5
    wanted = {name for each in CONCEPTS for p in each.parameters for name in callables if name in (p.typing or "")}
    assert subtypes <= wanted, "a routine of that type is the parameter of another one"


def test_a_memory_is_what_the_agent_would_have_written() -> None:
    drafts = loader.drafts()
    assert [draft.subject for draft in drafts] == [each.concept for each in CONCEPTS]
    for draft, concept in zip(drafts, CONCEPTS, strict=True):
        known = concept_draft(AgentConcept.from_json(concept.model_dump(mode="json")))
        assert (draft.content, draft.data, draft.semantic_type) == (known.content, known.data, known.semantic_type)
        assert set(known.tags) == set(draft.tags) - {loader.TAG}
        told = read_text(draft.content)
        assert dataclasses.replace(told, used_in=tuple(concept.used_in)) == AgentConcept.from_json(known.data)


def test_sources_are_the_solved_training_tasks() -> None:
    for draft, concept in zip(loader.drafts(), CONCEPTS, strict=True):
        assert [(source.kind, source.uri, source.quote) for source in draft.sources] == [
            ("document", f"builtin:arc-concepts/arc-agi-1/train/{task}", SOLUTIONS[task].text)
            for task in concept.used_in
        ]


@pytest.mark.anyio
async def test_the_collection_is_imported_once(core: Core, transfer: Transfer) -> None:
    count = len(CONCEPTS)
    looked = await transfer.import_(ANN, "default", "builtin:arc-concepts", dry_run=True)
    assert (looked.format, looked.total, looked.counts) == ("builtin", count, Counts(created=count))
    assert await cubes(core) == []

    done = await transfer.import_(ANN, "default", "builtin:arc-concepts")
    assert done.counts == Counts(created=count)
    stored = await cubes(core)
    assert {cube.semantic_type for cube in stored} == {"concept"}
    assert {cube.state for cube in stored} <= SEARCHABLE
    assert [cube.data for cube in stored] == [each.model_dump(mode="json") for each in CONCEPTS]
    before = await table_counts(core)
    assert before[SourceRow.__tablename__] == sum(len(each.used_in) for each in CONCEPTS)

    again = await transfer.import_(ANN, "default", "builtin:arc-concepts")
    assert again.counts == Counts(resumed=count)
    assert await table_counts(core) == before

    library = library_of(stored, whole=True)
    assert library.memory.names == sorted(each.concept for each in CONCEPTS)
    assert all(concept.used_in for concept in library.memory.concepts.values())
    assert "## Routines: cell operation" in for_selection(library.memory)
