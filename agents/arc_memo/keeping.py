"""Concepts and lessons as memories, written into the first vault of a run; and taken out again.

Written is the result of a merge, as one plan (memory/revising.py): what the model wrote is merged again with what is
there at that moment, so writers of one vault lose nothing to each other. A concept that the run read from another vault
is copied into its own with what was learned. What a person pinned stays as it is, what a person deleted is not brought
back by a mere mention of its name, what a person wrote is what the concept says (agents/arc_memo/wording.py).
Source: arcmemo §3.3, §3.4, §5; memos §3.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from agents.arc_memo.concept import Concept, ConceptEntry, ConceptMemory, Lesson
from agents.arc_memo.library import REUSED, Library, library_of, read_all_lessons, read_named, read_whole
from agents.arc_memo.merging import consolidated, merge_batch, united, without_problem
from agents.arc_memo.proving import Proven
from agents.arc_memo.wording import concept_of, lesson_text, text_of
from agents.base import Step
from agents.learning import Learning
from memory.indices.base import Filter
from memory.revisions import Insert, Remove, Revised, Revision, Rewrite, Skip, There
from memory.service import Memory
from memory.types import Actor, Change, Draft, MemCube, RecallHit, Source
from runtime.ids import new_id
from runtime.run_types import RunSpec

CONFIDENCE: Final = 0.7


@dataclass(frozen=True, slots=True)
class Shorter:
    """Shorter lists that a model wrote for a concept as it was shown to it."""

    shown: Concept
    cues: tuple[str, ...]
    implementation: tuple[str, ...]

    def applied(self, concept: Concept) -> Concept:
        """The concept with them; as it is when its lists are no longer those that the model saw."""
        same = (concept.cues, concept.implementation) == (self.shown.cues, self.shown.implementation)
        return consolidated(concept, self.cues, self.implementation) if same else concept


def source_of(run_id: str, step: str, program: str | None = None) -> Source:
    """Where a concept or lesson came from: the verified program that a step of a run wrote."""
    return Source("run", uri=run_id, message_id=step, role="assistant", quote=program)


def concept_draft(concept: Concept, sources: Sequence[Source] = ()) -> Draft:
    """The memory that holds a concept."""
    return Draft(
        text_of(concept),
        semantic_type="concept",
        data=concept.to_json(),
        subject=concept.name,
        tags=_tags((), concept),
        origin="inference_extraction",
        confidence=CONFIDENCE,
        sources=tuple(sources),
    )


def lesson_draft(lesson: Lesson, sources: Sequence[Source] = ()) -> Draft:
    """The memory that holds a lesson."""
    return Draft(
        lesson_text(lesson),
        semantic_type="lesson",
        data={"situation": lesson.situation, "suggestion": lesson.suggestion, "source": lesson.source},
        subject=lesson.source or None,
        origin="inference_extraction",
        confidence=CONFIDENCE,
        sources=tuple(sources),
    )


async def write_concepts(
    learning: Learning,
    step: Step,
    batch: Mapping[str, Sequence[ConceptEntry]],
    *,
    sources: Mapping[str, Source],
    shorter: Sequence[Shorter] = (),
    proven: Sequence[Proven] = (),
) -> Revised:
    """Merge the entries of each problem into the vault that the run writes, in one plan of this step.

    `sources` names for each problem the program that was verified; see `source_of`. `proven`: the helpers that come with
    the entries; one whose concept has got another helper or other proofs since is left out. The same step again gives what
    was done the first time. Raises as `Learning.check` does, and `InvalidInput`; then nothing is done.
    """
    names = tuple(dict.fromkeys(entry.name for entries in batch.values() for entry in entries if entry.name))

    async def named(memory: Memory, actor: Actor, spec: RunSpec) -> list[RecallHit]:
        return (await read_named(memory, actor, spec.vaults[1:], names)).hits(names)

    plan = _Plan(
        batch,
        library_of(await learning.look(named), whole=False).memory,
        sources,
        {each.shown.name: each for each in shorter},
        {name: new_id("mem") for name in names},
        proven,
    )
    return await learning.write(
        step,
        plan.revisions,
        about=(),
        new_ids=tuple(plan.new_ids.values()),
        texts=(),
        alike=Filter((), semantic_types=("concept",)),
        subjects=names,
    )


async def write_lessons(
    learning: Learning, step: Step, lessons: Sequence[Lesson], *, sources: Mapping[str, Source]
) -> Revised:
    """Append lessons to the vault that the run writes, in one plan of this step; what it holds is not consulted, but words
    that it holds already are not kept twice. Raises as `write_concepts` does."""
    kept = [lesson for lesson in lessons if lesson.situation.strip() and lesson.suggestion.strip()]
    new_ids = [new_id("mem") for _ in kept]

    def revisions(there: There) -> list[Revision]:
        drafts = [lesson_draft(each, [sources[each.source]] if each.source in sources else []) for each in kept]
        return [
            Insert(id_, draft, why=f"learned from problem {draft.subject}")
            for id_, draft in zip(new_ids, drafts, strict=True)
        ]

    return await learning.write(
        step,
        revisions,
        about=(),
        new_ids=new_ids,
        texts=(),
        alike=Filter((), semantic_types=("lesson",)),
        subjects=tuple(dict.fromkeys(each.source for each in kept if each.source)),
    )


async def forget_problem(memory: Memory, actor: Actor, vault: str, problem_id: str) -> Revised:
    """Take a problem out of a vault, as when its program turns out to be wrong: its lessons, the concepts that no other
    problem used, and its place in those of others. They can be restored. Raises as `Learning.check` does."""
    library = await read_whole(memory, actor, [vault])
    lessons = await read_all_lessons(memory, actor, [vault])
    concerned = [
        *(cube for cubes in library.cubes.values() for cube in cubes if problem_id in concept_of(cube).used_in),
        *(cube for lesson, cube in zip(lessons.lessons, lessons.cubes, strict=True) if lesson.source == problem_id),
    ]
    why = f"problem {problem_id} was taken out"

    def revisions(there: There) -> list[Revision]:
        return [_without(there.memories.get(cube.id), cube.id, problem_id, why) for cube in concerned]

    return await memory.revising.revise(
        actor,
        vault,
        revisions,
        token=new_id("plan"),
        about=[cube.id for cube in concerned],
        new_ids=(),
        texts=(),
        alike=Filter(()),
    )


def _without(cube: MemCube | None, id_: str, problem_id: str, why: str) -> Revision:
    if cube is None:
        return Skip(f"{id_} is gone, pinned or frozen; it stays as it is")
    if cube.semantic_type == "lesson":
        return Remove(id_, why)
    concept = concept_of(cube)
    left = without_problem(ConceptMemory({concept.name: concept}), problem_id).memory.concepts.get(concept.name)
    return Remove(id_, why) if left is None else _rewrite(cube, left, (), why)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the model wrote, with all that it needs to become memories. `elsewhere`: what other vaults hold of it."""

    batch: Mapping[str, Sequence[ConceptEntry]]
    elsewhere: ConceptMemory
    sources: Mapping[str, Source]
    shorter: Mapping[str, Shorter]
    new_ids: Mapping[str, str]
    proven: Sequence[Proven]

    def revisions(self, there: There) -> list[Revision]:
        """Called inside the transaction, with what is there."""
        here = library_of(there.named, whole=False)
        known = {**self.elsewhere.concepts}
        for name, concept in here.memory.concepts.items():
            known[name] = united(concept, known[name]) if name in known else concept
        merged = merge_batch(ConceptMemory(known), self.batch)
        concepts, notes = dict(merged.memory.concepts), [*merged.notes]
        for each in self.proven:
            if each.concept not in concepts:
                continue
            after = each.applied(concepts[each.concept])
            if after is None:
                notes.append(f"{each.concept!r} has another helper or other proofs than were replayed; it keeps them")
            else:
                concepts[each.concept] = after
        changed = [name for name in sorted(concepts) if concepts[name] != known.get(name)]
        return [*(self._revision(concepts[name], here, there) for name in changed), *map(Skip, notes)]

    def _revision(self, concept: Concept, here: Library, there: There) -> Revision:
        name = concept.name
        if name in self.shorter:
            concept = self.shorter[name].applied(concept)
        problems = [id_ for id_, entries in self.batch.items() if any(entry.name == name for entry in entries)]
        sources = tuple(self.sources[id_] for id_ in sorted(problems) if id_ in self.sources)
        why = f"learned from {', '.join(f'problem {id_}' for id_ in sorted(problems))}"
        held = here.cubes.get(name, ())
        free = [cube for cube in held if cube.id in there.memories]
        if free:
            return _rewrite(free[0], concept, sources, why)
        if held:
            return Skip(f"{name!r} is pinned, frozen or waits for a person; it stays as it is")
        return Insert(self.new_ids[name], concept_draft(concept, sources), why=why)


def _rewrite(cube: MemCube, concept: Concept, sources: tuple[Source, ...], why: str) -> Rewrite:
    fields = {
        "content": text_of(concept),
        "data": concept.to_json(),
        "subject": concept.name,
        "tags": _tags(cube.tags, concept),
    }
    return Rewrite(cube.id, Change(fields, "merge"), sources, why)


def _tags(tags: Sequence[str], concept: Concept) -> tuple[str, ...]:
    others = tuple(tag for tag in tags if tag != REUSED)
    return (*others, REUSED) if len(concept.used_in) > 1 else others
