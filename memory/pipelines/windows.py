"""Conversations and documents cut into raw memories: about 1,024 tokens each, 200 of them shared with the one before.

A raw memory keeps every word and is found at once; what is extracted from it later never replaces it. `data.messages`
says which characters of its text are whose, so that a claim can be traced to a message and what the model said itself
is not taken for news. Pure. Source: memos §3.1 (3), §4 (chat window); ours for the token estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from pydantic import JsonValue

from memory.types import Draft, MemCube, Source

WINDOW_TOKENS: Final = 1024
OVERLAP_TOKENS: Final = 200
# About what tokenizers make of European text; other scripts make fewer characters a token, so windows get smaller there.
CHARS_PER_TOKEN: Final = 4
WRITTEN_BY_MODELS: Final = frozenset({"assistant"})
EXTERNAL_ROLES: Final = frozenset({"tool", "function", "document"})


@dataclass(frozen=True, slots=True)
class Turn:
    """A message, or a part of one that starts at character `offset` of it."""

    id: str
    role: str
    text: str
    at: datetime | None = None
    speaker: str | None = None
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Window:
    """Turns that are stored as one raw memory."""

    turns: tuple[Turn, ...]

    @property
    def text(self) -> str:
        """`speaker: text`, one turn after the other."""
        return "\n".join(_line(turn) for turn in self.turns)


def windows(turns: Sequence[Turn], *, size: int = WINDOW_TOKENS, overlap: int = OVERLAP_TOKENS) -> list[Window]:
    """Cut a conversation. A turn longer than a window is cut as well; each window begins with the last turns of the one
    before, as far as they fit into `overlap` tokens."""
    made: list[Window] = []
    current: list[Turn] = []
    fresh = False
    for piece in [piece for turn in turns for piece in _pieces(turn, size, overlap)]:
        if current and tokens(Window((*current, piece)).text) > size:
            if fresh:
                made.append(Window(tuple(current)))
            current = _tail(current, overlap)
            while current and tokens(Window((*current, piece)).text) > size:
                current = current[1:]
        current.append(piece)
        fresh = True
    return [*made, Window(tuple(current))] if fresh else made


def raw_draft(window: Window, base: Draft) -> Draft:
    """The raw memory of a window: state `generated`, one source and one entry of `data.messages` for each turn."""
    places: list[dict[str, JsonValue]] = []
    sources: list[Source] = []
    at = 0
    for turn in window.turns:
        start = at + len(_line(turn)) - len(turn.text)
        end = start + len(turn.text)
        places.append({"id": turn.id, "role": turn.role, "start": start, "end": end, "offset": turn.offset})
        if turn.speaker:
            places[-1]["speaker"] = turn.speaker
        if turn.at:
            places[-1]["at"] = turn.at.isoformat()
        sources.append(
            Source(
                "message",
                message_id=turn.id,
                role=turn.role,
                span_start=turn.offset,
                span_end=turn.offset + len(turn.text),
                occurred_at=turn.at,
            )
        )
        at = end + 1
    return replace(
        base,
        content=window.text,
        semantic_type="document",
        state="generated",
        data={**base.data, "messages": [*places]},
        sources=tuple(sources),
        occurred_at=base.occurred_at or next((turn.at for turn in window.turns if turn.at), None),
    )


def turns_of(cube: MemCube) -> list[Turn]:
    """The turns of a raw memory; a memory that was not cut from messages is one turn of its own."""
    places = cube.data.get("messages")
    found = [_turn(cube, place) for place in places if isinstance(place, dict)] if isinstance(places, list) else []
    role = (
        "assistant" if cube.origin == "inference_extraction" else "user" if cube.origin == "user_input" else "document"
    )
    return found or [Turn(cube.id, role, cube.content, cube.occurred_at or cube.recorded_at, cube.speaker)]


def tokens(text: str) -> int:
    """An estimate of the number of tokens."""
    wide = sum(1 for sign in text if sign > "\u2e80")
    return wide + (len(text) - wide + CHARS_PER_TOKEN - 1) // CHARS_PER_TOKEN


def _turn(cube: MemCube, place: Mapping[str, Any]) -> Turn:
    at = place.get("at")
    return Turn(
        str(place.get("id", cube.id)),
        str(place.get("role", "user")),
        cube.content[int(place.get("start", 0)) : int(place.get("end", len(cube.content)))],
        datetime.fromisoformat(at) if isinstance(at, str) else cube.occurred_at,
        place.get("speaker"),
        int(place.get("offset", 0)),
    )


def _line(turn: Turn) -> str:
    return f"{turn.speaker or turn.role}: {turn.text}"


def _tail(turns: Sequence[Turn], overlap: int) -> list[Turn]:
    kept: list[Turn] = []
    for turn in reversed(turns):
        if tokens(Window((turn, *kept)).text) > overlap:
            break
        kept.insert(0, turn)
    return kept


def _pieces(turn: Turn, size: int, overlap: int) -> list[Turn]:
    room = size - tokens(_line(replace(turn, text=""))) - 1
    if tokens(turn.text) <= room:
        return [turn] if turn.text.strip() else []
    pieces: list[Turn] = []
    start = 0
    while start < len(turn.text):
        end = _cut(turn.text, start, room)
        pieces.append(replace(turn, text=turn.text[start:end], offset=turn.offset + start))
        if end >= len(turn.text):
            break
        start = max(start + 1, end - overlap * CHARS_PER_TOKEN)
    return pieces


def _cut(text: str, start: int, room: int) -> int:
    """The end of the longest part from `start` on that has at most `room` tokens, at a space where there is one."""
    end = min(len(text), start + room * CHARS_PER_TOKEN)
    while tokens(text[start:end]) > room:
        end = start + max(1, (end - start) * room // tokens(text[start:end]))
    if end < len(text):
        space = text.rfind(" ", start + (end - start) // 2, end)
        end = space + 1 if space > 0 else end
    return end
