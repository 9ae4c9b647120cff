"""Placebo memories: as many characters as the real ones, about something that cannot help.

More text in a prompt moves the score of a model by itself, so a gain of memory is a gain over this. The text is about baking
bread; what is kept of the real memory is its kind and the data it is found by. Pure. Source: evaluation sheet §3.6, §4.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pydantic import JsonValue

from memory.types import Draft, MemCube

SENTENCES: Final = (
    "A dough that rests overnight in the cold tastes better than one that is baked at once.",
    "Rye needs more water than wheat, and it rises less.",
    "Salt slows the yeast down, so it is kneaded in late.",
    "An oven that is hot enough makes a loaf rise once more in its first minutes.",
    "Steam keeps the crust soft for as long as the bread still grows.",
    "A loaf is done when it sounds hollow as somebody knocks on its bottom.",
    "Old bread can be soaked and baked into a new loaf, which stays moist for longer.",
    "Flour from the whole grain spoils sooner, because the germ is rich in oil.",
    "Sourdough lives on flour and water and wants to be fed before it is used.",
    "Butter makes the crumb tender, and milk makes the crust brown.",
    "A stone in the oven holds its heat and passes it on to the bottom of the bread.",
    "Seeds are roasted first, or they taste of little.",
    "Kneading by hand takes ten minutes, and folding it every half hour takes none at all.",
    "Cut the loaf before it goes into the oven, or it will tear where it likes.",
    "Fresh bread is hard to slice; it should cool down on a rack first.",
    "Poppy seeds belong into the filling, and sesame on top.",
)
MAX_TRIES: Final = 1000


def text(length: int, rng: random.Random) -> str:
    """So many characters about baking, beginning with any word."""
    order = list(SENTENCES)
    rng.shuffle(order)
    told = " ".join(order).split()
    start = rng.randrange(len(told))
    once = " ".join(told[start:] + told[:start])
    cut = " ".join([once] * (length // len(once) + 1))[:length]
    # A blank at the end would not be kept, and the length would differ.
    return cut[:-1] + "." if cut.endswith(" ") else cut


def drafts(memories: Sequence[Draft | MemCube], *, seed: int = 0) -> list[Draft]:
    """A placebo for each memory, all of different words: of equal ones a store keeps one."""
    rng = random.Random(f"placebo {seed}")
    seen: set[str] = set()
    made = []
    for memory in memories:
        for _ in range(MAX_TRIES):
            words = text(len(memory.content), rng)
            if words.casefold() not in seen:
                break
        seen.add(words.casefold())
        made.append(_draft(memory, words))
    return made


def _draft(memory: Draft | MemCube, words: str) -> Draft:
    data = cast(dict[str, Any], _without(dict(memory.data), memory.content, words))
    return Draft(words, memory.semantic_type, data=data, tags=memory.tags, origin=memory.origin)


def _without(value: JsonValue, content: str, words: str) -> JsonValue:
    """The data with the real text taken out wherever it stands."""
    if isinstance(value, str):
        return value.replace(content, words)
    if isinstance(value, Mapping):
        return {key: _without(item, content, words) for key, item in value.items()}
    return [_without(item, content, words) for item in value] if isinstance(value, list) else value
