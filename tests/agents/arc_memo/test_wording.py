"""A concept and its text are the same thing, until a person writes another text."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from agents.arc_memo.concept import Concept, Lesson, Parameter, Proof
from agents.arc_memo.wording import lesson_text, read_text, text_of

HELPER = 'def recolor(cells, color):\n    """Cells:\n\n    - anew\n    """\n    return {c: color for c in cells}'
WORDS = st.lists(
    st.sampled_from(["draw", "line", "of", "(two)", "objects", "list[int]", "3x3"]), min_size=1, max_size=4
)
TEXT = WORDS.map(" ".join)
CONCEPT = st.builds(
    Concept,
    name=TEXT,
    kind=st.sampled_from(["structure", "routine"]),
    routine_subtype=st.none() | st.sampled_from(["grid manipulation", "color scheme"]),
    output_typing=st.none() | TEXT,
    parameters=st.lists(st.builds(Parameter, TEXT, st.none() | TEXT, st.none() | TEXT), max_size=3).map(tuple),
    description=st.none() | TEXT,
    cues=st.lists(TEXT, max_size=3).map(tuple),
    implementation=st.lists(TEXT, max_size=3).map(tuple),
    helper=st.none() | st.just(HELPER),
)
RECOLOR = Concept(
    "recolor object",
    "routine",
    "grid manipulation",
    "grid",
    (Parameter("color", "color | color scheme", "what it becomes"), Parameter("object")),
    "Gives an object another colour.",
    ("the objects stay where they are",),
    ("a lookup table of colours",),
    ("p1",),
)
WRITTEN = """\
recolor object (routine: grid manipulation) -> grid
Gives an object another colour.
Parameters:
- color: color | color scheme -- what it becomes
- object
Cues:
- the objects stay where they are
Notes:
- a lookup table of colours"""


def test_a_concept_is_written_as_people_read_it() -> None:
    assert text_of(RECOLOR) == WRITTEN


@settings(max_examples=60)
@given(CONCEPT)
def test_a_text_tells_all_but_the_problems(concept: Concept) -> None:
    assert read_text(text_of(concept)) == concept


def test_what_a_person_changed_in_the_text_is_what_counts() -> None:
    text = WRITTEN.replace("Gives an object another colour.", "Paints an object.\nNever the background.")
    text = text.replace("- the objects stay where they are", "- same shapes\n  in both grids\n- new colours")
    text = text.split("\nNotes:")[0].replace("- object\n", "")
    read = read_text(text, RECOLOR)
    assert read.description == "Paints an object. Never the background."
    assert read.cues == ("same shapes in both grids", "new colours")
    assert read.implementation == ()
    assert read.parameters == RECOLOR.parameters[:1]
    assert (read.name, read.kind, read.used_in) == ("recolor object", "routine", ("p1",))


def test_code_stands_last_and_a_person_may_change_it_or_take_it_out() -> None:
    proof = Proof("p1", "def transform(g): ...", (([[1]], [[2]]),))
    known = replace(RECOLOR, helper=HELPER, proofs=(proof,))
    assert text_of(known) == f"{WRITTEN}\nHelper:\n{HELPER}"
    mended = read_text(text_of(known).replace("return {", "return None or {"), known)
    assert mended == replace(known, helper=HELPER.replace("return {", "return None or {"))
    assert read_text(WRITTEN, known) == RECOLOR
    assert read_text(f"{WRITTEN}\nHelper:\nask Ann").helper is None


def test_one_sentence_is_a_description() -> None:
    read = read_text("Only for single objects.", RECOLOR)
    assert (read.name, read.routine_subtype, read.output_typing) == ("recolor object", "grid manipulation", "grid")
    assert read.description == "Only for single objects."
    assert (read.parameters, read.cues, read.implementation) == ((), (), ())


def test_a_person_cannot_rename_by_text_but_may_write_a_concept_by_hand() -> None:
    assert read_text("other (structure)\nA thing.", RECOLOR).name == "recolor object"
    by_hand = read_text("diagonal ray\nGoes to the border.\ncues:\n- a dot in a corner")
    assert by_hand == Concept("diagonal ray", "routine", None, None, (), "Goes to the border.", ("a dot in a corner",))
    assert read_text("  ").name == ""


def test_a_lesson_is_a_situation_and_what_to_do() -> None:
    assert lesson_text(Lesson("a ring is there", "fill it", "p1")) == "When: a ring is there\nThen: fill it"
