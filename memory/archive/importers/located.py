"""A JSON document taken apart with the line of each item, which a parser of the whole does not tell. Pure. Source: ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, NoReturn

from memory.archive.importers.base import bad

SPACE: Final = " \t\r\n"


class Item(NamedTuple):
    """An item of the list under `key` (empty: the document is the list itself), and the line where it begins."""

    key: str
    line: int
    value: Any


def items(text: str) -> Iterator[Item]:
    """The items of a list, or of every list in an object, in order; other members of the object are passed over.

    Raises `InvalidInput` that names the line where the text stops being JSON.
    """
    walk = _Walk(text)
    if walk.peek() == "[":
        yield from walk.list_of("")
    elif walk.peek() == "{":
        yield from walk.lists_in_object()
    else:
        raise bad(walk.line(walk.at), "expected a JSON list or object")
    if walk.peek():
        raise bad(walk.line(walk.at), "has more behind the end of the JSON document")


class _Walk:
    """A place in the text; lines are counted as it moves on."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._counted = 0
        self._line = 1
        self._decoder = json.JSONDecoder(parse_constant=_no_constant)

    def line(self, at: int) -> int:
        """The line of a place that is not before the last one that was asked for."""
        self._line += self.text.count("\n", self._counted, at)
        self._counted = max(self._counted, at)
        return self._line

    def peek(self) -> str:
        """The next sign that is no space; empty at the end."""
        while self.at < len(self.text) and self.text[self.at] in SPACE:
            self.at += 1
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> str:
        """Step over one of these signs."""
        sign = self.peek()
        if not sign or sign not in expected:
            wanted = " or ".join(map(repr, expected))
            raise bad(self.line(self.at), f"is not JSON: expected {wanted}, found {sign or 'the end of the file'!r}")
        self.at += 1
        return sign

    def value(self) -> Any:
        """Step over one value."""
        self.peek()
        try:
            value, self.at = self._decoder.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            raise bad(self.line(error.pos), f"is not JSON: {error.msg}") from error
        except (ValueError, RecursionError) as error:
            raise bad(self.line(self.at), f"is not JSON: {error}") from error
        return value

    def list_of(self, key: str) -> Iterator[Item]:
        self.take("[")
        if self.peek() == "]":
            self.take("]")
            return
        while True:
            self.peek()
            line = self.line(self.at)
            yield Item(key, line, self.value())
            if self.take(",]") == "]":
                return

    def lists_in_object(self) -> Iterator[Item]:
        self.take("{")
        if self.peek() == "}":
            self.take("}")
            return
        while True:
            self.peek()
            line, key = self.line(self.at), self.value()
            if not isinstance(key, str):
                raise bad(line, "is not JSON: expected the name of a member")
            self.take(":")
            if self.peek() == "[":
                yield from self.list_of(key)
            else:
                self.value()
            if self.take(",}") == "}":
                return


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")
