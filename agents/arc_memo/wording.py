"""The text of a concept or lesson that is kept as a memory, and back: people read and correct it, searches find it.

    recolor object (routine: grid manipulation) -> grid
    Gives an object another colour.
    Parameters:
    - color: color | color scheme -- what it becomes
    Cues:
    - the objects stay where they are
    Notes:
    - a lookup table of colours
    Helper:
    def recolor_object(cells, color): ...

The fields of the memory are the facts as long as its text is the one made from them. Another text was written by a
person, and then the text is what counts: what it does not say is not so. Source: ours; arcmemo §2.
"""

from __future__ import annotations

import re
from typing import Final

from agents.arc_memo.concept import MAX_NAME, Concept, Kind, Lesson, Parameter, as_code
from memory.types import MemCube

HEAD: Final = re.compile(r"(?P<name>.+) \((?P<kind>structure|routine)(?:: (?P<subtype>.*?))?\)(?: -> (?P<output>.+))?")
PARTS: Final = ("Parameters", "Cues", "Notes")
# What follows it is code, to the end of the text.
HELPER: Final = re.compile(r"^[ \t]*helper:[ \t]*\n(?=\s*def )", re.IGNORECASE | re.MULTILINE)
DESCRIBED: Final = " -- "
LESSON: Final = re.compile(r"When: (?P<situation>.*?)\nThen: (?P<suggestion>.*)", re.DOTALL)


def text_of(concept: Concept) -> str:
    """The text of a concept."""
    subtype = f": {concept.routine_subtype}" if concept.routine_subtype else ""
    output = f" -> {concept.output_typing}" if concept.output_typing else ""
    lines = [f"{concept.name} ({concept.kind}{subtype}){output}"]
    if concept.description:
        lines.append(concept.description)
    for title, items in zip(
        PARTS, ([*map(_parameter, concept.parameters)], concept.cues, concept.implementation), strict=True
    ):
        if items:
            lines += [f"{title}:", *(f"- {item}" for item in items)]
    if concept.helper:
        lines += ["Helper:", concept.helper]
    return "\n".join(lines)


def concept_of(cube: MemCube) -> Concept:
    """The concept that a memory holds; see the module for whom to believe."""
    known = Concept.from_json(cube.data) if cube.data else None
    return known if known is not None and text_of(known) == cube.content else read_text(cube.content, known)


def read_text(text: str, known: Concept | None = None) -> Concept:
    """The concept that a text tells of. The name, and what no text tells, are those of the known one."""
    text, *code = HELPER.split(text, maxsplit=1)
    helper = as_code(code[0]) if code else None
    head, *lines = [line.strip() for line in text.strip().splitlines() if line.strip()] or [""]
    found = HEAD.fullmatch(head)
    said: dict[str, list[str]] = {"": [], **{part: [] for part in PARTS}}
    part = ""
    for line in lines:
        title = line.removesuffix(":").capitalize()
        if line.endswith(":") and title in PARTS:
            part = title
        elif part and not line.startswith("- ") and said[part]:
            said[part][-1] += f" {line}"
        else:
            said[part].append(line.removeprefix("- ") if part else line)
    if found is None and known is not None and head != known.name:
        said[""].insert(0, head)
    kind: Kind = known.kind if known else "routine"
    if found:
        kind = "structure" if found["kind"] == "structure" else "routine"
    return Concept(
        name=known.name if known else (found["name"] if found else head)[:MAX_NAME].strip(),
        kind=kind,
        routine_subtype=found["subtype"] if found else known.routine_subtype if known else None,
        output_typing=found["output"] if found else known.output_typing if known else None,
        parameters=tuple(map(_read_parameter, said["Parameters"])),
        description=" ".join(said[""]) or None,
        cues=tuple(said["Cues"]),
        implementation=tuple(said["Notes"]),
        used_in=known.used_in if known else (),
        helper=helper,
        proofs=known.proofs if known and helper else (),
    )


def lesson_text(lesson: Lesson) -> str:
    """The text of a lesson."""
    return f"When: {lesson.situation}\nThen: {lesson.suggestion}"


def lesson_of(cube: MemCube) -> Lesson:
    """The lesson that a memory holds: what its text says, however it was written."""
    source = str(cube.data.get("source") or "")
    found = LESSON.fullmatch(cube.content.strip())
    if found:
        return Lesson(found["situation"].strip(), found["suggestion"].strip(), source)
    return Lesson(str(cube.data.get("situation") or "always"), cube.content.strip(), source)


def _parameter(parameter: Parameter) -> str:
    typing = f": {parameter.typing}" if parameter.typing else ""
    return f"{parameter.name}{typing}{DESCRIBED if parameter.description else ''}{parameter.description or ''}"


def _read_parameter(line: str) -> Parameter:
    told, _, description = line.partition(DESCRIBED)
    name, _, typing = told.partition(": ")
    return Parameter(name.strip(), typing.strip() or None, description.strip() or None)
