"""The memory as a model reads it; what is left out is how it is compressed. Pure.

Four parts in this order: structures, custom types, routines that change a grid, other routines by subtype. A concept of
fewer problems than the threshold is named only.

    use           threshold   which      descriptions of parameters   names of the others
    abstraction   2           all        no                           -
    selection     2           all        no                           -
    hint          0           selected   yes                          yes

Cues are shown of what can be seen: structures and routines that change a grid. Every text stands on one line, and what
looks like a tag is escaped: a concept is data and cannot pose as a part of the prompt. Source: arcmemo §3.5.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from agents.arc_memo.concept import GRID_MANIPULATION, Concept, ConceptMemory, Lesson
from agents.memory_block import TAG

SELECTION_THRESHOLD: Final = 2
OTHER: Final = "other"


def for_selection(memory: ConceptMemory) -> str:
    """As a selection or the writing of concepts shows the memory, at the threshold of the sheet."""
    return render(memory, threshold=SELECTION_THRESHOLD)


def as_hint(memory: ConceptMemory, selected: Collection[str]) -> str:
    """For the solver; empty without a selection."""
    return render(memory, threshold=0, selected=selected, parameters=True, other_names=True)


def render(
    memory: ConceptMemory,
    *,
    threshold: int,
    selected: Collection[str] | None = None,
    parameters: bool = False,
    other_names: bool = False,
) -> str:
    """The memory as text; see the table of the module.

    `threshold`: the number of problems from which on a concept is shown in full; `selected`: only these (None: all);
    `parameters`: with their descriptions; `other_names`: at the end the names of those that are not selected. Empty for
    an empty memory, and for a selection that holds none of it.
    """
    chosen = [memory.concepts[name] for name in memory.names if selected is None or name in selected]
    if not chosen:
        return ""
    structures = [each for each in chosen if each.kind == "structure"]
    grid = [each for each in chosen if each.kind == "routine" and _changes_grid(each)]
    others: dict[str, list[Concept]] = {}
    for each in chosen:
        if each.kind == "routine" and not _changes_grid(each):
            others.setdefault(_subtype(each) or OTHER, []).append(each)
    parts = [
        _section("Structures", structures, threshold, parameters, cues=True),
        _types(memory.custom_types if selected is None else _spoken_of(memory.custom_types, chosen)),
        _section("Routines that change the grid", grid, threshold, parameters, cues=True),
        *(
            _section(f"Routines: {_line(subtype)}", others[subtype], threshold, parameters, cues=False)
            for subtype in sorted(others)
        ),
    ]
    if other_names and selected is not None:
        rest = [name for name in memory.names if name not in selected]
        parts.append(_section_of("Other concepts, by name only", map(_line, rest)))
    return "\n\n".join(part for part in parts if part)


def render_lessons(lessons: Sequence[Lesson]) -> str:
    """The lessons, numbered from 1."""
    return "\n".join(
        f"{number}. When: {_line(lesson.situation)}\n   Then: {_line(lesson.suggestion)}"
        for number, lesson in enumerate(lessons, 1)
    )


def _section(title: str, concepts: Sequence[Concept], threshold: int, parameters: bool, *, cues: bool) -> str:
    full = [each for each in concepts if len(each.used_in) >= threshold]
    rare = [_line(each.name) for each in concepts if len(each.used_in) < threshold]
    lines = [line for each in full for line in _in_full(each, parameters, cues)]
    if rare:
        lines += [f"Used in fewer than {threshold} problems:", *(f"- {name}" for name in rare)]
    return "\n".join([f"## {title}", *lines]) if lines else ""


def _section_of(title: str, lines: Iterable[str]) -> str:
    items = [f"- {line}" for line in lines]
    return "\n".join([f"## {title}", *items]) if items else ""


def _types(types: Mapping[str, str]) -> str:
    return _section_of("Types", (f"{_line(name)} := {_line(definition)}" for name, definition in types.items()))


def _spoken_of(types: Mapping[str, str], concepts: Sequence[Concept]) -> dict[str, str]:
    """The types that these concepts speak of, and those that their definitions speak of, whoever declares them."""
    unread = [typing for each in concepts for typing in each.typings]
    found: set[str] = set()
    while unread:
        text = unread.pop()
        new = {name for name in types if name not in found and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)}
        found |= new
        unread += [types[name] for name in new]
    return {name: definition for name, definition in types.items() if name in found}


def _in_full(concept: Concept, parameters: bool, cues: bool) -> list[str]:
    lines = [f"- concept: {_line(concept.name)}"]
    if concept.description:
        lines.append(f"  description: {_line(concept.description)}")
    if concept.output_typing:
        lines.append(f"  output: {_line(concept.output_typing)}")
    if concept.parameters:
        lines.append("  parameters:")
        for each in concept.parameters:
            described = f" - {each.description}" if parameters and each.description else ""
            lines.append(
                f"    - {_line(f'{each.name}: {each.typing}' if each.typing else each.name)}{_line(described)}"
            )
    for title, texts in (("cues", concept.cues if cues else ()), ("notes", concept.implementation)):
        if texts:
            lines += [f"  {title}:", *(f"    - {_line(text)}" for text in texts)]
    return lines


def _changes_grid(concept: Concept) -> bool:
    return _subtype(concept).casefold() == GRID_MANIPULATION


def _subtype(concept: Concept) -> str:
    return " ".join((concept.routine_subtype or "").split())


def _line(text: str) -> str:
    lead = " " if text.startswith(" ") else ""
    return lead + TAG.sub(lambda found: f"\\u{ord(found.group()):04x}", " ".join(text.split()))
