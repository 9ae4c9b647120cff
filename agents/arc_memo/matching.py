"""What a model selected, matched with what there is: names of concepts, numbers of lessons. Pure.

A name counts when it is exactly that of a concept, else when it is so but for upper and lower case; a number when a
lesson has it. Everything else is dropped, and told. Source: arcmemo §3.6, §5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from agents.arc_memo.concept import ConceptMemory, as_line

T = TypeVar("T", str, int)


@dataclass(frozen=True, slots=True)
class Matched(Generic[T]):
    """What was found, each once, in the order of the selection; and what was dropped."""

    found: tuple[T, ...] = ()
    dropped: tuple[T, ...] = ()


def match_names(names: Iterable[object], memory: ConceptMemory) -> Matched[str]:
    """The concepts that are meant. A name that parses as a mapping because of a colon is a name again."""
    alike: dict[str, str] = {}
    for name in memory.names:
        alike.setdefault(name.casefold(), name)
    found: dict[str, None] = {}
    dropped: dict[str, None] = {}
    for said in map(as_line, names):
        meant = said if said in memory.concepts else alike.get(said.casefold())
        if meant is None:
            dropped[said] = None
        else:
            found[meant] = None
    return Matched(tuple(found), tuple(dropped))


def match_numbers(numbers: Iterable[int], count: int) -> Matched[int]:
    """The numbers from 1 to `count`."""
    said = list(dict.fromkeys(numbers))
    return Matched(
        tuple(number for number in said if 1 <= number <= count),
        tuple(number for number in said if not 1 <= number <= count),
    )
