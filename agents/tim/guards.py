"""What keeps an untrained model from going in circles and a run inside its window: decisions only, no calls.

`Guards` counts repeated tool calls and thoughts; `relief` says what to do next when the live text has grown too long;
`shorten` is how a long tool result is cut down. What is decided here is carried out by the executor.
Source: TIM §5, §8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Final, Literal

from runtime.errors import InvalidInput
from runtime.types import JsonObject

Verdict = Literal["ok", "notice", "conclude"]
Measure = Literal["none", "prune_all", "shorten", "conclude", "overflow"]

REPEATS_NOTICE: Final = 3
REPEATS_CONCLUDE: Final = REPEATS_NOTICE + 2
NOTICE: Final = (
    "Notice: you are repeating yourself. The same step has been made several times and will give nothing new. "
    "Try something different, or conclude with what you know and name what stays open."
)

MARKER: Final = re.compile(r"\[… \d+ of \d+ characters left out; \d+ tokens in all …\]")
"""What `shorten` leaves in place of what it cut."""

_WITH_RESULTS: Final = 20
_HEAD: Final = 2 / 3


class Guards:
    """Counts what repeats: a tool call within one list of tasks, a thought from one step to the next.

    The third time is a notice, and so is the fourth; from the fifth on the task must conclude.
    """

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}
        self._thought = ""
        self._thoughts = 0

    def note_tool(self, list_path: str, name: str, parameters: JsonObject) -> Verdict:
        """Count a call of `name` in the list of `list_path`; the order of the parameters does not matter."""
        key = _digest(json.dumps([list_path, name, parameters], sort_keys=True, separators=(",", ":")))
        self._calls[key] = self._calls.get(key, 0) + 1
        return _verdict(self._calls[key])

    def note_thought(self, thought: str) -> Verdict:
        """Count a thought that is the same as the one before it, apart from white space. An empty one never counts."""
        text = " ".join(thought.split())
        key = _digest(text) if text else ""
        self._thoughts = self._thoughts + 1 if key and key == self._thought else min(1, len(key))
        self._thought = key
        return _verdict(self._thoughts)

    def to_json(self) -> JsonObject:
        """The counts as they go into a checkpoint."""
        return {"calls": dict(self._calls), "thought": self._thought, "thoughts": self._thoughts}

    @classmethod
    def from_json(cls, data: JsonObject) -> Guards:
        """Read what `to_json` wrote. Raises `InvalidInput` for anything else."""
        guards = cls()
        match data:
            case {"calls": dict(calls), "thought": str(thought), "thoughts": int(thoughts)}:
                for key, count in calls.items():
                    if not isinstance(count, int):
                        raise InvalidInput(f"guards: the count of {key!r} must be a whole number, not {count!r}")
                    guards._calls[key] = count
                guards._thought, guards._thoughts = thought, thoughts
            case _:
                raise InvalidInput(f"guards: expected 'calls', 'thought' and 'thoughts', found {sorted(data)!r}")
        return guards


def min_conclusion(results: bool) -> int:
    """The least length of a conclusion in characters; a list with tool `results` cannot be summed up in a word."""
    return _WITH_RESULTS if results else 1


def shorten(text: str, tokens_to: int, count: Callable[[str], int]) -> str:
    """The head and the tail of `text` around a marker that says how much is missing, at most `tokens_to` tokens.

    `count` gives the tokens of a text. A text that fits comes back as it is. When not even the marker fits, the marker
    is all that is left: what was cut is always said.
    """
    total = count(text)
    if total <= tokens_to:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count(_cut(text, middle, total)) <= tokens_to:
            low = middle
        else:
            high = middle - 1
    # Token counts do not grow evenly with the text, so the last step is checked and not trusted.
    while low and count(_cut(text, low, total)) > tokens_to:
        low = low * 9 // 10
    return _cut(text, low, total)


def relief(live_tokens: int, max_live: int, *, has_stack: bool, has_long_results: bool, forced: bool) -> Measure:
    """The next measure against a full window, the mildest that is left.

    `has_stack`: closed lists still wait to be pruned. `has_long_results`: live tool results can still be shortened.
    `forced`: the open task was already made to conclude. Ask again after each measure, with the new count.
    """
    if live_tokens <= max_live:
        return "none"
    if has_stack:
        return "prune_all"
    if has_long_results:
        return "shorten"
    return "overflow" if forced else "conclude"


def _verdict(times: int) -> Verdict:
    if times >= REPEATS_CONCLUDE:
        return "conclude"
    return "notice" if times >= REPEATS_NOTICE else "ok"


def _digest(text: str) -> str:
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _cut(text: str, keep: int, total: int) -> str:
    """`keep` characters of `text`, the rest replaced by the marker."""
    head = round(keep * _HEAD)
    tail = keep - head
    marker = f"[… {len(text) - keep} of {len(text)} characters left out; {total} tokens in all …]"
    return f"{text[:head]}{marker}{text[len(text) - tail :]}"
