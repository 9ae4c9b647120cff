"""A JSON value as text that a person can read and correct, and the way back. Pure.

A value with one text is that text. Any other is one line per leaf, `path: text`, with the further lines of a text indented,
so that a line at the margin that begins with a known path is always a leaf. Where the text was edited by hand, each leaf
takes what stands behind its path, a leaf whose line is gone goes from the value, and what stands before the first path
belongs to the first leaf. Source: ours; the paths are LangGraph's (langgraph.store.base.embed).
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from langgraph.store.base import tokenize_path
from pydantic import JsonValue

# LangGraph's way to say: the whole value.
WHOLE: Final = "$"
PLAIN: Final = re.compile(r"[\w-]+")
INDENT: Final = "  "
Step = str | int


class Leaf(NamedTuple):
    """A part of a value that is shown: where it stands, and what it is (no object, unless an empty one)."""

    path: tuple[Step, ...]
    value: JsonValue

    @property
    def label(self) -> str:
        """The path as it is written before the text: `a.b[0]`; a name that is no plain word is quoted."""
        text = ""
        for step in self.path:
            if isinstance(step, int):
                text += f"[{step}]"
            else:
                text += ("." if text else "") + (
                    step if PLAIN.fullmatch(step) else json.dumps(step, ensure_ascii=False)
                )
        return text

    @property
    def text(self) -> str:
        """A string as it is, anything else as JSON."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value, ensure_ascii=False)


def leaves(value: Mapping[str, JsonValue], fields: Sequence[str]) -> list[Leaf]:
    """The leaves that `fields` (LangGraph's paths) name, in order, each once; a path that leads nowhere names none."""
    found: dict[tuple[Step, ...], Leaf] = {}
    whole = dict(value)
    for field in fields:
        tokens = [] if field == WHOLE else tokenize_path(field)
        for place in _places(whole, tokens, ()):
            for leaf in _below(_at(whole, place), place):
                found.setdefault(leaf.path, leaf)
    return list(found.values())


def render(value: Mapping[str, JsonValue], fields: Sequence[str]) -> str:
    """The text of the value; empty when nothing is to be shown."""
    shown = leaves(value, fields)
    if len(shown) == 1 and isinstance(shown[0].value, str):
        return shown[0].value
    return "\n".join(f"{leaf.label}: {_indented(leaf.text)}" for leaf in shown)


def corrected(value: Mapping[str, JsonValue], fields: Sequence[str], text: str) -> dict[str, JsonValue]:
    """The value that an edited text stands for; a value of which nothing is shown gets it as `text`."""
    after: dict[str, JsonValue] = copy.deepcopy(dict(value))
    shown = leaves(value, fields)
    if not shown:
        return {**after, "text": text}
    if len(shown) == 1 and isinstance(shown[0].value, str):
        _put(after, shown[0].path, text)
        return after
    told = _sections(text, shown)
    # From the end, so that the places of the others in a list stay what they are.
    for leaf in sorted(shown, key=lambda leaf: _order(leaf.path), reverse=True):
        if leaf.path in told:
            _put(after, leaf.path, _read(told[leaf.path], leaf))
        else:
            _remove(after, leaf.path)
    return after


def _places(value: JsonValue, tokens: Sequence[str], path: tuple[Step, ...]) -> Iterator[tuple[Step, ...]]:
    """Where a tokenized path leads. Raises nothing: what does not fit the value leads nowhere."""
    if not tokens:
        yield path
        return
    token, rest = tokens[0], tokens[1:]
    if token.startswith("[") and token.endswith("]"):
        if isinstance(value, list):
            for place in _chosen(token[1:-1], len(value)):
                yield from _places(value[place], rest, (*path, place))
    elif token.startswith("{") and token.endswith("}"):
        for name in token[1:-1].split(","):
            # Behind a choice of fields LangGraph looks no further.
            yield from _places(value, tokenize_path(name.strip()), path)
    elif token == "*":
        steps: Sequence[Step] = (
            list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        )
        for step in steps:
            yield from _places(_at(value, (step,)), rest, (*path, step))
    elif isinstance(value, dict) and token in value:
        yield from _places(value[token], rest, (*path, token))


def _chosen(index: str, length: int) -> Sequence[int]:
    if index == "*":
        return range(length)
    if not re.fullmatch(r"-?\d{1,9}", index):
        return ()
    place = int(index) if int(index) >= 0 else length + int(index)
    return (place,) if 0 <= place < length else ()


def _below(value: JsonValue, path: tuple[Step, ...]) -> Iterator[Leaf]:
    if isinstance(value, dict) and (value or not path):
        for name, part in value.items():
            yield from _below(part, (*path, name))
    elif value is not None:
        yield Leaf(path, value)


def _at(value: JsonValue, path: Sequence[Step]) -> JsonValue:
    for step in path:
        if isinstance(value, dict):
            value = value[str(step)]
        elif isinstance(value, list):
            value = value[int(step)]
    return value


def _put(value: dict[str, JsonValue], path: Sequence[Step], new: JsonValue) -> None:
    parent = _at(value, path[:-1])
    if isinstance(parent, dict):
        parent[str(path[-1])] = new
    elif isinstance(parent, list):
        parent[int(path[-1])] = new


def _remove(value: dict[str, JsonValue], path: Sequence[Step]) -> None:
    parent = _at(value, path[:-1])
    if isinstance(parent, dict):
        parent.pop(str(path[-1]), None)
    elif isinstance(parent, list):
        del parent[int(path[-1])]


def _sections(text: str, shown: Sequence[Leaf]) -> dict[tuple[Step, ...], str]:
    """What stands behind the path of each leaf; of a path that comes twice, both."""
    labels = {leaf.label: leaf.path for leaf in shown}
    begin = re.compile("^(" + "|".join(re.escape(label) for label in sorted(labels, key=len, reverse=True)) + "):[ ]?")
    told: dict[tuple[Step, ...], list[str]] = {}
    current = shown[0].path
    blank = 0
    for line in text.split("\n"):
        match = begin.match(line)
        if not line:
            # Between two leaves an empty line is layout; within a text it counts as soon as the text goes on.
            blank += current in told
            continue
        if match is not None:
            current, blank = labels[match[1]], 0
            line = line[match.end() :]
        told.setdefault(current, []).extend([*[""] * blank, line if match else line.removeprefix(INDENT)])
        blank = 0
    return {path: "\n".join(lines) for path, lines in told.items()}


def _read(text: str, leaf: Leaf) -> JsonValue:
    """The text as what the leaf was, when it still can be."""
    if isinstance(leaf.value, str):
        return text
    try:
        value: JsonValue = json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text
    return value


def _no_constant(name: str) -> JsonValue:
    raise ValueError(f"{name} is not a JSON value")


def _indented(text: str) -> str:
    return text.replace("\n", f"\n{INDENT}")


def _order(path: Sequence[Step]) -> tuple[tuple[int, str], ...]:
    return tuple((step, "") if isinstance(step, int) else (0, step) for step in path)
