"""How what several runs of a batch learned under one name becomes one memory.

Every run of a batch begins with the same store, so two of them may extend one memory, or both make it. Types of memory that
go by a name are united in `UNITING`: each says which fields of the memory of the store change, given what a run began with
(None where it made the memory) and what it left. To unite the same again changes nothing.

A concept takes in what the run added, by the rules by which its agent takes in what a model wrote: descriptions and types
that are there stay, a later parameter takes the place of an earlier one, cues and notes are appended. What the run dropped
from a list, as a consolidation does, is dropped. Helper and proofs are one thing: they are the run's when the store still
holds those that it began with. Pure. Source: ArcMemo sheet §3.3 (3, batches), §5 (concurrent writers), J.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from agents.arc_memo.concept import Concept, ConceptEntry, ConceptMemory, ParameterEntry
from agents.arc_memo.keeping import concept_draft
from agents.arc_memo.library import REUSED
from agents.arc_memo.merging import merge
from agents.arc_memo.wording import concept_of
from memory.types import MemCube, SemanticType

# What a run began with, what it left, and the memory of the store: the fields of the last that change.
Unite = Callable[[MemCube | None, MemCube, MemCube], dict[str, object]]
# Of these the first that says something stays, so what a run itself has put in their place is taken over ahead of the merge.
SAID_ONCE: Final = ("description", "output_typing", "routine_subtype")

T = TypeVar("T")


def concepts(before: MemCube | None, after: MemCube, here: MemCube) -> dict[str, object]:
    """See `Unite`."""
    known = concept_of(here)
    began = Concept(known.name, known.kind) if before is None else concept_of(before)
    made = concept_draft(united(began, concept_of(after), known))
    tags = (*(tag for tag in here.tags if tag != REUSED), *made.tags)
    wanted = {"content": made.content, "data": dict(made.data), "tags": tags}
    held = {"content": here.content, "data": dict(here.data), "tags": here.tags}
    return {name: value for name, value in wanted.items() if value != held[name]}


def united(before: Concept, after: Concept, here: Concept) -> Concept:
    """The concept of the store with what a run made of the one that it began with."""
    said = ConceptEntry(
        name=here.name,
        kind=after.kind,
        routine_subtype=after.routine_subtype,
        output_typing=after.output_typing,
        parameters=[
            ParameterEntry(name=each.name, typing=each.typing, description=each.description)
            for each in after.parameters
            if each not in before.parameters
        ],
        description=after.description,
        cues=_added(before.cues, after.cues),
        implementation=_added(before.implementation, after.implementation),
    )
    kept = replace(
        here,
        **{name: getattr(after, name) for name in SAID_ONCE if getattr(here, name) == getattr(before, name)},
        cues=_left(before.cues, after.cues, here.cues),
        implementation=_left(before.implementation, after.implementation, here.implementation),
    )
    # The merge notes one problem; which ones the run has added is known.
    merged = merge(ConceptMemory({here.name: kept}), [said], "").memory.concepts[here.name]
    same_code = (here.helper, here.proofs) == (before.helper, before.proofs)
    coded = after if same_code else here
    used_in = dict.fromkeys(
        (*_left(before.used_in, after.used_in, here.used_in), *_added(before.used_in, after.used_in))
    )
    return replace(merged, used_in=tuple(used_in), helper=coded.helper, proofs=coded.proofs)


def _added(before: Sequence[T], after: Sequence[T]) -> list[T]:
    return [each for each in after if each not in before]


def _left(before: Sequence[T], after: Sequence[T], here: Sequence[T]) -> tuple[T, ...]:
    return tuple(each for each in here if each not in before or each in after)


UNITING: Final[Mapping[SemanticType, Unite]] = {"concept": concepts}
