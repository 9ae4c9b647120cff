"""The text that a regular expression asks for at least, always the same one: what the scripted model answers when it must.

Covers what grammars of replies need: literals, classes, groups, alternatives and counts. Of alternatives the first is
taken, of a count the least. Anchors, references and look-around are refused. Source: ours; the companion of instance.py.
"""

from __future__ import annotations

from typing import Final

_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t", "d": "0", "w": "x", "s": " "}
_FROM: Final = "x0 .-"


def shortest(pattern: str) -> str:
    """A text that matches `pattern` as a whole. Raises `ValueError` for a pattern with anything else in it."""
    text, at = _alternatives(pattern, 0)
    if at != len(pattern):
        raise ValueError(f"pattern {pattern[:200]!r}: expected an end at {at}, got {pattern[at]!r}")
    return text


def _alternatives(pattern: str, at: int) -> tuple[str, int]:
    first, at = _sequence(pattern, at)
    while pattern[at : at + 1] == "|":
        _, at = _sequence(pattern, at + 1)
    return first, at


def _sequence(pattern: str, at: int) -> tuple[str, int]:
    said = ""
    while at < len(pattern) and pattern[at] not in "|)":
        part, at = _part(pattern, at)
        least, at = _count(pattern, at)
        said += part * least
    return said, at


def _part(pattern: str, at: int) -> tuple[str, int]:
    char = pattern[at]
    if char == "(":
        if pattern.startswith("(?", at) and not pattern.startswith("(?:", at):
            raise ValueError(f"pattern: expected a plain group at {at}, got {pattern[at : at + 4]!r}")
        text, at = _alternatives(pattern, at + (3 if pattern.startswith("(?:", at) else 1))
        if pattern[at : at + 1] != ")":
            raise ValueError(f"pattern: a group is not closed at {at}")
        return text, at + 1
    if char == "[":
        return _class(pattern, at + 1)
    if char == "\\":
        return _escape(pattern, at + 1)
    if char in "^$*+?{":
        raise ValueError(f"pattern: expected a literal, a class or a group at {at}, got {char!r}")
    return ("x" if char == "." else char), at + 1


def _class(pattern: str, at: int) -> tuple[str, int]:
    negated = pattern[at : at + 1] == "^"
    at += negated
    ranges: list[tuple[str, str]] = []
    while pattern[at : at + 1] != "]" or not ranges:
        if at >= len(pattern):
            raise ValueError("pattern: a class is not closed")
        low, at = _escape(pattern, at + 1) if pattern[at] == "\\" else (pattern[at], at + 1)
        high = low
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] != "]":
            high, at = _escape(pattern, at + 2) if pattern[at + 1] == "\\" else (pattern[at + 1], at + 2)
        ranges.append((low, high))
    if not negated:
        return ranges[0][0], at + 1
    for char in _FROM:
        if not any(low <= char <= high for low, high in ranges):
            return char, at + 1
    raise ValueError(f"pattern: no plain character is left by the class that ends at {at}")


def _escape(pattern: str, at: int) -> tuple[str, int]:
    char = pattern[at : at + 1]
    if char == "x":
        return chr(int(pattern[at + 1 : at + 3], 16)), at + 3
    if not char or (char.isalnum() and char not in _ESCAPED):
        raise ValueError(f"pattern: the escape {char!r} at {at} is not known here")
    return _ESCAPED.get(char, char), at + 1


def _count(pattern: str, at: int) -> tuple[int, int]:
    char = pattern[at : at + 1]
    if char in ("?", "*") and char:
        return 0, at + 1
    if char == "+":
        return 1, at + 1
    if char == "{":
        end = pattern.index("}", at)
        return int(pattern[at + 1 : end].partition(",")[0] or 0), end + 1
    return 1, at
