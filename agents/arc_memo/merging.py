"""How what a model wrote becomes part of the memory: rules, no model. Pure.

Per problem: a new name needs a known kind in one of its entries; of descriptions, types of the output and subtypes the
first that says something stays; parameters are united by name, and a later typing or description takes the place of an
earlier one; cues and notes are appended, each text once; the problem is noted once. A helper and its proofs are one thing,
and no entry touches them (agents/arc_memo/proving.py). The same entries of the same problem again change nothing, so a
batch that was cut off may be merged again. Source: arcmemo §3.3, §5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, cast

from agents.arc_memo.concept import (
    DEFINES,
    KINDS,
    Concept,
    ConceptEntry,
    ConceptMemory,
    Kind,
    Parameter,
    ParameterEntry,
)

CONSOLIDATE_ABOVE: Final = 8


@dataclass(frozen=True, slots=True)
class Merged:
    """The memory afterwards, the names of the concepts that are new or changed, and what was left out and why."""

    memory: ConceptMemory
    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def merge(memory: ConceptMemory, entries: Sequence[ConceptEntry], problem_id: str) -> Merged:
    """Take in what was written about the program of one problem."""
    concepts = dict(memory.concepts)
    notes: list[str] = []
    kinds: dict[str, Kind] = {}
    for entry in entries:
        kind = (entry.kind or "").strip().casefold()
        if kind in KINDS:
            kinds.setdefault(entry.name, cast(Kind, kind))
    for entry in entries:
        known = concepts.get(entry.name)
        if not entry.name:
            notes.append(f"{problem_id}: an entry without a name is left out")
        elif known is None and entry.name not in kinds:
            notes.append(
                f"{problem_id}: {entry.name!r} is new and of kind {entry.kind!r}; expected one of {list(KINDS)}"
            )
        else:
            before = known or Concept(entry.name, kinds[entry.name])
            concepts[entry.name] = _with(before, entry, problem_id)
    return Merged(ConceptMemory(concepts), _changed(memory.concepts, concepts), tuple(notes))


def merge_batch(memory: ConceptMemory, batch: Mapping[str, Sequence[ConceptEntry]]) -> Merged:
    """Take in a batch, by the ids of its problems: in whatever order its calls came back, the result is the same."""
    merged = Merged(memory)
    notes: list[str] = []
    for problem_id in sorted(batch):
        merged = merge(merged.memory, batch[problem_id], problem_id)
        notes += merged.notes
    return Merged(merged.memory, _changed(memory.concepts, merged.memory.concepts), tuple(notes))


def united(first: Concept, second: Concept) -> Concept:
    """Two concepts of one name, as two vaults may hold them: what the first says stays."""
    coded = first if first.helper else second
    return replace(
        first,
        description=first.description or second.description,
        output_typing=first.output_typing or second.output_typing,
        routine_subtype=first.routine_subtype or second.routine_subtype,
        parameters=_parameters(second.parameters, first.parameters, order=first.parameters),
        cues=_appended(first.cues, second.cues),
        implementation=_appended(first.implementation, second.implementation),
        used_in=_appended(first.used_in, second.used_in),
        helper=coded.helper,
        proofs=coded.proofs,
    )


def without_problem(memory: ConceptMemory, problem_id: str) -> Merged:
    """The memory without a problem: concepts that no other one used are gone. What the problem added to a concept that
    others use stays, because nobody knows any more who said it first; but a helper goes with its last proof."""
    concepts: dict[str, Concept] = {}
    for name, concept in memory.concepts.items():
        left = tuple(each for each in concept.used_in if each != problem_id)
        if left or not concept.used_in:
            proofs = tuple(proof for proof in concept.proofs if proof.problem != problem_id)
            helper = None if concept.proofs and not proofs else concept.helper
            concepts[name] = replace(concept, used_in=left, helper=helper, proofs=proofs)
    return Merged(ConceptMemory(concepts), _changed(memory.concepts, concepts))


def needs_consolidation(concept: Concept) -> bool:
    """Whether one of its lists has grown too long."""
    return max(len(concept.cues), len(concept.implementation)) > CONSOLIDATE_ABOVE


def consolidated(concept: Concept, cues: Sequence[str], implementation: Sequence[str]) -> Concept:
    """The concept with the shorter lists that a model wrote; a list that is empty or longer is not taken."""
    return replace(
        concept, cues=_shorter(concept.cues, cues), implementation=_shorter(concept.implementation, implementation)
    )


def _with(concept: Concept, entry: ConceptEntry, problem_id: str) -> Concept:
    return replace(
        concept,
        description=concept.description or entry.description,
        output_typing=concept.output_typing or entry.output_typing,
        routine_subtype=concept.routine_subtype or entry.routine_subtype,
        parameters=_parameters(concept.parameters, entry.parameters, order=concept.parameters),
        cues=_appended(concept.cues, entry.cues),
        implementation=_appended(concept.implementation, entry.implementation),
        used_in=_appended(concept.used_in, [problem_id]),
    )


def _parameters(
    known: Sequence[Parameter], later: Sequence[Parameter | ParameterEntry], *, order: Sequence[Parameter]
) -> tuple[Parameter, ...]:
    """The parameters of both; `order` names those that come first."""
    found = {each.name: each for each in known}
    for each in later:
        if not each.name:
            continue
        before = found.get(each.name, Parameter(each.name))
        typing = before.typing if _says_less(each.typing, before.typing) else each.typing
        found[each.name] = Parameter(each.name, typing, each.description or before.description)
    names = dict.fromkeys([each.name for each in order] + [*found])
    return tuple(found[name] for name in names)


def _says_less(typing: str | None, before: str | None) -> bool:
    """Nothing at all, or only the name of the type that was declared here: its declaration is not lost."""
    if not typing:
        return True
    name, sign, _ = (before or "").partition(DEFINES)
    return bool(sign) and name.strip() == typing.strip()


def _appended(known: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*known, *more)))


def _shorter(old: tuple[str, ...], new: Sequence[str]) -> tuple[str, ...]:
    kept = tuple(dict.fromkeys(line for line in (" ".join(each.split()) for each in new) if line))
    return kept if 0 < len(kept) <= len(old) else old


def _changed(before: Mapping[str, Concept], after: Mapping[str, Concept]) -> tuple[str, ...]:
    names = sorted(before.keys() | after.keys())
    return tuple(name for name in names if before.get(name) != after.get(name))
