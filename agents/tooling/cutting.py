"""Results that are too long, cut to a number of tokens: what is left out is said where it is missing.

A text keeps its beginning and its end. Of an object the longest texts are cut and its shape stays; what is still too long
then, and any other value, becomes its JSON as a text that is cut. Pure. Source: tim §3.4; ours.
"""

from __future__ import annotations

import json
from typing import Final

from pydantic import JsonValue

from runtime.llm.estimate import CHARS_PER_TOKEN, estimate_tokens

# Shorter than this a text says nothing.
LEAST_CHARS: Final = 200
HEAD: Final = 0.75


def cut(data: JsonValue, tokens: int) -> tuple[JsonValue, bool]:
    """The data with at most about `tokens` tokens as JSON, and whether anything was left out."""
    text = _json(data)
    if estimate_tokens(text) <= tokens:
        return data, False
    chars = tokens * CHARS_PER_TOKEN
    if isinstance(data, dict):
        shorter = _members(data, chars)
        return (shorter if shorter is not None else {"cut": _text(text, chars - len('{"cut":""}'))}), True
    return _text(data if isinstance(data, str) else text, chars), True


def _members(data: dict[str, JsonValue], chars: int) -> dict[str, JsonValue] | None:
    """The object with its longest texts cut; None when that does not make it short enough."""
    cut_down = dict(data)
    texts = {name: value for name, value in data.items() if isinstance(value, str)}
    for name, value in sorted(texts.items(), key=lambda item: -len(_json(item[1]))):
        over = len(_json(cut_down)) - chars
        if over <= 0:
            break
        room = len(_json(value)) - over
        cut_down[name] = _text(value, max(room, LEAST_CHARS))
    return cut_down if len(_json(cut_down)) <= chars else None


def _text(text: str, chars: int) -> str:
    """The beginning and the end of a text, so that its JSON has at most `chars` characters where that is possible."""
    keep = chars
    while True:
        head = int(keep * HEAD)
        tail = keep - head
        left_out = len(text) - keep
        if left_out <= 0:
            return text
        shorter = f"{text[:head]}\n[cut: {left_out} of {len(text)} characters left out]\n{text[len(text) - tail :]}"
        over = len(_json(shorter)) - chars
        if over <= 0 or keep == 0:
            return shorter
        # Quotes and line breaks take two characters of JSON and more, so what is over may be less text than that.
        keep = max(0, keep - max(1, over // 2))


def _json(data: JsonValue) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
