"""Text and Markdown: paragraphs in their order, each with the headings above it and its place in the file."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.archive.importers.plain import CHUNK_TOKENS, drafts
from memory.pipelines.windows import tokens
from memory.types import Draft
from runtime.errors import InvalidInput

LONG = "The harbour was rebuilt after the storm, and the ferries run again from the northern quay every morning."
GUIDE = f"""# Guide

{LONG}
It is open on Sundays too.

## Install ##

Short one.

{LONG}

```python
# no heading

def f(): ...
```

Usage
-----

* * *

{LONG} Twice.

# Other
{LONG} Three times.
"""


def read(text: str) -> list[Draft]:
    return [draft for _, draft in drafts(text.encode(), name="guide.md")]


def test_paragraphs_have_titles_places_and_spans() -> None:
    found = read(GUIDE)
    assert [(draft.title, draft.content.split("\n")[0][:9]) for draft in found] == [
        ("Guide", "The harbo"),
        ("Guide › Install", "Short one"),
        ("Guide › Install", "```python"),
        ("Guide › Usage", "The harbo"),
        ("Other", "The harbo"),
    ]
    assert [draft.position for draft in found] == [0, 1, 2, 3, 4]
    assert {(draft.session_id, draft.semantic_type, draft.origin) for draft in found} == {
        ("guide.md", "document", "import")
    }
    for draft in found:
        (source,) = draft.sources
        assert source.uri == "guide.md"
        assert GUIDE[source.span_start : source.span_end] == draft.content


def test_a_short_paragraph_goes_with_the_next_but_not_over_a_heading() -> None:
    assert [draft.content for draft in read(f"So:\n\n{LONG}\n\nAh.\n\n# New\n\n{LONG} x")] == [
        f"So:\n\n{LONG}",
        "Ah.",
        f"{LONG} x",
    ]


def test_code_between_fences_is_one_paragraph_whatever_is_in_it() -> None:
    code = "~~~~\n\n# a\n\n~~~\n\nlast\n~~~~"
    assert read(f"{code}\n\n{LONG}")[0].content.startswith(code)


def test_lines_are_those_of_the_file() -> None:
    lines = [line for line, _ in drafts(GUIDE.encode(), name="x")]
    told = GUIDE.splitlines()
    assert [told[line - 1][:9] for line in lines] == ["The harbo", "Short one", "```python", "The harbo", "The harbo"]


@pytest.mark.parametrize("word", ["harbour ", "港", "x"])
def test_a_long_paragraph_is_cut_and_each_piece_repeats_some_of_the_one_before(word: str) -> None:
    text = (word * 6000)[:12000].strip()
    found = read(text)
    assert len(found) > 3
    assert all(0 < tokens(draft.content) <= CHUNK_TOKENS for draft in found)
    spans = [(draft.sources[0].span_start or 0, draft.sources[0].span_end or 0) for draft in found]
    assert spans[0][0] == 0
    assert spans[-1][1] == len(text)
    for (start, end), (following, _) in pairwise(spans):
        assert start < following < end


def test_windows_line_ends_and_bytes_that_are_no_text() -> None:
    assert [(draft.title, draft.content) for draft in read(f"# T\r\n\r\n{LONG}\r\n")] == [("T", LONG)]
    assert read("\n \n") == []
    with pytest.raises(InvalidInput, match="line 2: byte 0xe9 is not UTF-8"):
        list(drafts("a\né".encode("latin-1"), name="x"))


@given(st.text(alphabet=st.sampled_from("ab #-=`~*\n\r\t.é港"), max_size=400))
def test_every_span_is_the_text_of_the_memory(text: str) -> None:
    for draft in read(text):
        source = draft.sources[0]
        assert text[source.span_start : source.span_end] == draft.content
        assert draft.content.strip()


@given(st.text(alphabet=st.sampled_from("ab \n\r\t.`~é港"), max_size=400))
def test_no_letter_is_lost_where_there_are_no_headings(text: str) -> None:
    spans = [draft.sources[0] for draft in read(text)]
    covered = {place for span in spans for place in range(span.span_start or 0, span.span_end or 0)}
    assert {place for place, sign in enumerate(text) if not sign.isspace()} <= covered
