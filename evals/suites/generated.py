"""Small-model tasks made on the spot, for a machine that has no data set: the same shape, other names and numbers.

A seed decides everything, so the same release makes the same records. They are not those of the published files: the
SHA-256 in a result tells which were asked. Source: evaluation sheet §4; ours.
"""

from __future__ import annotations

import random
from typing import Any, Final

COUNT: Final = 100
FACTS: Final = 20
NAMES: Final = (
    *("Ada", "Boris", "Carla", "Dora", "Emil", "Freya", "Goran", "Helga", "Ines", "Jonas", "Klara", "Ludo", "Mira"),
    *("Nils", "Olga", "Pavel", "Rita", "Selma", "Timo", "Ugo", "Vera", "Wim", "Yara", "Zita"),
)
COLOURS: Final = ("amber", "beige", "black", "blue", "cyan", "gold", "green", "grey", "pink", "red", "violet", "white")
TOWNS: Final = (
    *("Aarhus", "Basel", "Cork", "Dijon", "Essen", "Faro", "Ghent", "Graz", "Lille", "Malmo", "Nice", "Oslo"),
    *("Parma", "Riga", "Seville", "Split", "Tartu", "Turku", "Utrecht", "Varna"),
)
LETTERS: Final = "abcdhkmnpqrxyz"


def fact_recall(seed: int = 1) -> list[dict[str, Any]]:
    """Twenty people's facts about one attribute, and a question about one of them; see the README of the small tasks."""
    rng = random.Random(f"fact_recall {seed}")
    attributes = ("locker code", "desk number", "favourite colour", "home town", "bus line")
    records = []
    for number in range(COUNT):
        attribute = attributes[number % len(attributes)]
        people = rng.sample(NAMES, FACTS)
        values = [_value(attribute, rng) for _ in people]
        # A code that two people share would make a wrong fact as good as the right one.
        while attribute in ("locker code", "desk number", "bus line") and len(set(values)) < FACTS:
            values = [_value(attribute, rng) for _ in people]
        relevant = rng.randrange(FACTS)
        records.append(
            {
                "id": f"recall-made{seed}-{number:03}",
                "attribute": attribute,
                "facts": [f"{who}'s {attribute} is {value}." for who, value in zip(people, values, strict=True)],
                "relevant": relevant,
                "question": f"What is {people[relevant]}'s {attribute}?",
                "answer": values[relevant],
            }
        )
    return records


def equations(seed: int = 1) -> list[dict[str, Any]]:
    """Linear equations with one unknown whose solution is a whole number from 1 to 12."""
    rng = random.Random(f"equations {seed}")
    records = []
    for number in range(COUNT):
        x, a, b = rng.randint(1, 12), rng.choice((1, 1, 2, 3, 4)), rng.randint(2, 20)
        op, letter = rng.choice("+-"), rng.choice(LETTERS)
        c = a * x + b if op == "+" else a * x - b
        left = letter if a == 1 else f"{a}*{letter}"
        records.append(
            {
                "id": f"eq-made{seed}-{number:03}",
                "question": f"Find the value of {letter} in the equation: {left} {op} {b} = {c}",
                "answer": str(x),
                "check": {"a": a, "op": op, "b": b, "c": c},
            }
        )
    return records


def _value(attribute: str, rng: random.Random) -> str:
    match attribute:
        case "locker code":
            return str(rng.randint(1000, 9999))
        case "desk number":
            return str(rng.randint(10, 99))
        case "favourite colour":
            return rng.choice(COLOURS)
        case "home town":
            return rng.choice(TOWNS)
        case _:
            return str(rng.randint(1, 60))
