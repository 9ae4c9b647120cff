"""How much of a prompt stands in a memory, word for word: a sign that the memory was made from the test.

The share of the prompt's sequences of eight words that one memory holds; of a prompt with fewer words, all of it is one
sequence. More than half is flagged; it is a flag and no proof, and stops nothing. Pure. Source: evaluation sheet §3.8.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from pydantic import JsonValue

from memory.text import words
from memory.types import MemCube

WORDS: Final = 8
FLAGGED_ABOVE: Final = 0.5


class Overlap(NamedTuple):
    """The memory that holds most of the prompt of an item."""

    item_id: str
    memory_id: str
    share: float


def overlaps(prompts: Mapping[str, str], memories: Mapping[str, str]) -> list[Overlap]:
    """The flagged items, each with its worst memory. Both arguments map ids to texts."""
    asked: dict[int, dict[tuple[str, ...], list[str]]] = defaultdict(lambda: defaultdict(list))
    sizes: dict[str, int] = {}
    for item_id, prompt in prompts.items():
        told = words(prompt)
        length = min(WORDS, len(told))
        if length:
            sequences = set(_sequences(told, length))
            sizes[item_id] = len(sequences)
            for sequence in sequences:
                asked[length][sequence].append(item_id)
    worst: dict[str, Overlap] = {}
    for memory_id, text in memories.items():
        told = words(text)
        held: Counter[str] = Counter()
        for length, sequences_asked in asked.items():
            for sequence in set(_sequences(told, length)):
                held.update(sequences_asked.get(sequence, ()))
        for item_id, count in held.items():
            share = count / sizes[item_id]
            if share > FLAGGED_ABOVE and (item_id not in worst or share > worst[item_id].share):
                worst[item_id] = Overlap(item_id, memory_id, round(share, 4))
    return [worst[item_id] for item_id in prompts if item_id in worst]


def text_of(cube: MemCube) -> str:
    """Everything that a memory says: its title, its text, and the texts in its data, such as the question it came from."""
    return "\n".join((cube.title or "", cube.content, *_texts(dict(cube.data))))


def _texts(value: JsonValue) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _sequences(told: list[str], length: int) -> Iterable[tuple[str, ...]]:
    return (tuple(told[start : start + length]) for start in range(len(told) - length + 1))
