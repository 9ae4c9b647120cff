"""Memories as a model reads them: one JSON object on each line between two marks, data that cannot give orders.

A JSON string has no line break, so no text can begin a line of its own; what looks like a tag or like a control word of a
chat template is written with escapes, so no text can close the block or pose as another message. The block is a user
message of its own, before the last one of the conversation: it has no more authority than the person who asks, and the
history before it stays a prefix that a server may have cached. Source: memos §3.14, §5 (poisoned memory); contract §6;
ours.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson

from memory.types import MemCube
from runtime.prompts import load_prompt
from runtime.types import Message

PROMPT: Final = load_prompt(Path(__file__).parent / "prompts" / "memories.md")
# `<|im_start|>`, `</memories>`, `<s>`, `<｜User｜>`; `[INST]`; and the line breaks that JSON leaves as they are.
TAG: Final = re.compile(r"<(?=[A-Za-z/|｜!?])|\[(?=/?[A-Z_]{3,}\])|[\u0085\u2028\u2029]")


def block(cubes: Sequence[MemCube]) -> str:
    """The text that a model is shown; empty without memories."""
    return PROMPT.render(memories="\n".join(line(cube) for cube in cubes)) if cubes else ""


def line(cube: MemCube) -> str:
    """A memory as one line: its id, when it was or was learned, until when it held, who said it, what it says."""
    date = cube.occurred_at or cube.valid_from or cube.recorded_at
    told = {
        "id": cube.id,
        "date": date.date().isoformat(),
        "until": None if cube.valid_to is None else cube.valid_to.date().isoformat(),
        "title": cube.title,
        "speaker": cube.speaker,
        "text": cube.content,
    }
    text = orjson.dumps({name: value for name, value in told.items() if value is not None}).decode()
    return TAG.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def placed(messages: Sequence[Message], text: str) -> list[Message]:
    """The messages with the block before the last one of the user; as they are for an empty block."""
    if not text:
        return list(messages)
    users = [place for place, message in enumerate(messages) if message.role == "user"]
    leading = next((place for place, each in enumerate(messages) if each.role not in ("system", "developer")), None)
    before = users[-1] if users else (len(messages) if leading is None else leading)
    return [*messages[:before], Message("user", text), *messages[before:]]
