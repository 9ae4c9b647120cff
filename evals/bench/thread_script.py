"""Trees that are given beforehand, and what is said where in them, in both ways to grow a tree. Pure. Source: ours."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from agents.tim import grammar
from agents.tim.rendering import compact
from runtime.llm.sessions import Bound
from runtime.types import JsonObject

# Common words, so that a word is about a token.
WORDS: Final = """the field grows wheat and rain falls on it each year so some land must rest while other parts give food for
many people who live near here they keep a book in which all work is written down with care by hand every day"""


@dataclass(frozen=True)
class Part:
    """A task of the tree. `shelf`: it calls the tool for that shelf."""

    thought: str
    conclusion: str
    shelf: int | None = None
    below: tuple[Part, ...] = ()


def said(rng: Random, words: int) -> str:
    """A text of so many words."""
    return " ".join(rng.choices(WORDS.split(), k=words))


def tool_tree(calls: int, each: int = 5) -> tuple[Part, ...]:
    """So many tool calls, `each` in the list of one task."""
    rng, made = Random(1), list[Part]()
    for first in range(1, calls + 1, each):
        leaves = [
            Part(said(rng, 16), said(rng, 12), shelf=shelf) for shelf in range(first, min(first + each, calls + 1))
        ]
        made.append(Part(said(rng, 16), said(rng, 16), below=tuple(leaves)))
    return tuple(made)


def long_tree(tokens: int) -> tuple[Part, ...]:
    """Three levels without tools, of about so many tokens: most of them are the thoughts of leaves."""
    rng, left, made = Random(2), tokens, list[Part]()
    while left > 0:
        middles: list[Part] = []
        while left > 0 and len(middles) < 4:
            leaves = tuple(Part(said(rng, 150), said(rng, 16)) for _ in range(4))
            middles.append(Part(said(rng, 24), said(rng, 16), below=leaves))
            left -= 4 * 190 + 65
        made.append(Part(said(rng, 24), said(rng, 16), below=tuple(middles)))
    return tuple(made)


class Script:
    """What is said next, in the order of the document."""

    def __init__(self, tree: Sequence[Part], tool: str, answer: str = "That is all.") -> None:
        self._pieces = _pieces(tree, tool, answer)
        self._replies = _replies(tree, tool, answer)

    def piece(self, bound: Bound | None) -> str:
        """The next piece of a document written in one stream. Pieces that were not asked for are passed by: the program
        writes what has no alternative."""
        pattern = bound.regex if bound is not None and bound.regex is not None else ""
        return next(piece for piece in self._pieces if re.fullmatch(pattern, piece))

    def reply(self) -> str:
        """The next reply of a tree grown in steps."""
        return compact(next(self._replies))


def _pieces(tree: Sequence[Part], tool: str, answer: str) -> Iterator[str]:
    for number, part in enumerate(tree, 1):
        yield f'{part.thought}"'
        if part.shelf is not None:
            yield grammar.tool(tool)
            yield compact({"shelf": part.shelf})
        yield grammar.SUBTASKS if part.below else grammar.CONCLUSION
        yield from _pieces(part.below, tool, "")
        yield f'{part.conclusion}"'
        yield "," if number < len(tree) else "]"
    if answer:
        yield f'{answer}"'


def _replies(tree: Sequence[Part], tool: str, answer: str) -> Iterator[JsonObject]:
    for number, part in enumerate(tree, 1):
        ends: JsonObject = {"conclusion": part.conclusion, "more": number < len(tree)}
        action: JsonObject = {"kind": "descend"} if part.below else {"kind": "conclude", **ends}
        if part.shelf is None:
            yield {"thought": part.thought, "action": action}
        else:
            uses: JsonObject = {"kind": "tool", "tool_name": tool, "parameters": {"shelf": part.shelf}}
            yield {"thought": part.thought, "action": uses}
            yield {"action": action}
        if part.below:
            yield from _replies(part.below, tool, "")
            yield ends
    if answer:
        yield {"answer": answer}
