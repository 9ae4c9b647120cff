"""Plain text and Markdown: one memory for each paragraph, with the headings above it as its title.

All of them are one session, the document, and each has its place in it, so that recall can show what stands around a
hit. The text of a memory is the text of the file from `span_start` to `span_end`. Very short paragraphs go together
with the next one, very long ones are cut at a space. Code between fences is one paragraph. Pure.
Source: memos §4 (document chunk 512 tokens, overlap 128); ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from memory.archive.importers.base import Found, text_of
from memory.pipelines.windows import CHARS_PER_TOKEN, tokens
from memory.types import Draft, Source

CHUNK_TOKENS: Final = 512
OVERLAP_TOKENS: Final = 128
SHORT_TOKENS: Final = 16
HEADING: Final = re.compile(r"(#{1,6})[ \t]+(.+?)(?:[ \t]+#+)?")
UNDERLINE: Final = re.compile(r"=+|-+")
BREAK: Final = re.compile(r"(?:-[ \t]*){3,}|(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}")
SPACES: Final = re.compile(r"\s+")
FENCE: Final = re.compile(r"[ \t]*(```+|~~~+)")
BETWEEN: Final = " › "
MAX_TITLE: Final = 1000
MAX_SESSION: Final = 200


class Part(NamedTuple):
    """A stretch of the text, and the headings above it."""

    start: int
    end: int
    title: str


def drafts(data: bytes, *, name: str) -> Iterator[Found]:
    """The paragraphs of the document `name`. Raises `InvalidInput` for bytes that are not UTF-8."""
    text = text_of(data)
    line = counted = 0
    for place, part in enumerate(_sized(text, _joined(text, _paragraphs(text)))):
        line += text.count("\n", counted, part.start)
        counted = part.start
        draft = Draft(
            content=text[part.start : part.end],
            semantic_type="document",
            title=part.title[:MAX_TITLE] or None,
            origin="import",
            session_id=name[:MAX_SESSION] or None,
            position=place,
            sources=(Source("document", uri=name or None, span_start=part.start, span_end=part.end),),
        )
        yield Found(line + 1, draft)


def _paragraphs(text: str) -> Iterator[Part]:
    """Paragraphs between blank lines; headings are titles and no paragraphs."""
    headings: list[tuple[int, str]] = []
    start = end = at = 0
    fence: str | None = None

    def title() -> str:
        return BETWEEN.join(heading for _, heading in headings)

    for line in text.splitlines(keepends=True):
        begin, at = at, at + len(line)
        told = line.strip()
        opens = FENCE.match(line)
        if fence is not None:
            end = begin + len(line.rstrip())
            if opens and opens[1].startswith(fence) and told == opens[1]:
                fence = None
            continue
        found = HEADING.fullmatch(line.rstrip())
        under = start < end and "\n" not in text[start:end] and UNDERLINE.fullmatch(told)
        if found or under or not told or BREAK.fullmatch(told):
            heading = (len(found[1]), found[2]) if found else None
            if under:
                heading = (1 if told.startswith("=") else 2, text[start:end])
            elif start < end:
                yield Part(start, end, title())
            if heading is not None:
                headings = [known for known in headings if known[0] < heading[0]] + [heading]
            start = end = at
            continue
        if start >= end:
            start = begin
        if opens:
            fence = opens[1]
        end = begin + len(line.rstrip())
    if start < end:
        yield Part(start, end, title())


def _joined(text: str, parts: Iterator[Part]) -> Iterator[Part]:
    """A paragraph that is too short to say something goes together with the one behind it under the same headings."""
    waiting: Part | None = None
    for part in parts:
        if waiting is not None and waiting.title == part.title:
            part = part._replace(start=waiting.start)
        elif waiting is not None:
            yield waiting
        waiting = part if tokens(text[part.start : part.end]) < SHORT_TOKENS else None
        if waiting is None:
            yield part
    if waiting is not None:
        yield waiting


def _sized(text: str, parts: Iterator[Part]) -> Iterator[Part]:
    """A paragraph longer than a chunk is cut, with some of each piece at the beginning of the next."""
    for part in parts:
        start = part.start
        while tokens(text[start : part.end]) > CHUNK_TOKENS:
            end = _cut(text, start, part.end)
            yield part._replace(start=start, end=start + len(text[start:end].rstrip()))
            start = _word_start(text, end - (end - start) * OVERLAP_TOKENS // CHUNK_TOKENS, end)
        yield part._replace(start=start)


def _cut(text: str, start: int, limit: int) -> int:
    """The end of the longest piece that is no longer than a chunk: behind a space, where there is one in its second half."""
    end = min(limit, start + CHUNK_TOKENS * CHARS_PER_TOKEN)
    while tokens(text[start:end]) > CHUNK_TOKENS:
        end = start + max(1, (end - start) * CHUNK_TOKENS // tokens(text[start:end]))
    middle = start + (end - start) // 2
    space = max(text.rfind(sign, middle, end) for sign in " \n\t")
    return space + 1 if space > 0 else end


def _word_start(text: str, start: int, end: int) -> int:
    """The first word that begins at or behind `start`; `start` itself where there is no space."""
    space = SPACES.search(text, start, end)
    return space.end() if space and space.end() < end else start
