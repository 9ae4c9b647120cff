"""Proposes to retire memories that were measured to do harm; a person decides.

A memory is proposed when it is known from 20 problems or more and its estimate is too low for chance, with the false
discovery rate over the vault's memories that are known so well held at 5 %; for each kind of outcome that ranks by itself.
The proposal carries the evidence. One that a person has turned down comes again when there is twice as much evidence, or
when the text has changed. Source: design usefulness, "Retire"; ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from pydantic import JsonValue
from sqlalchemy import select

from memory import reviews, rows
from memory.core import Core
from memory.measuring import effects
from memory.measuring.experiment import harm_p_values, mean_and_square_error, survivors
from memory.measuring.outcomes import RANKING, OutcomeKind
from memory.tables import EffectRow, ReviewRow
from memory.tx import Tx
from memory.workers import SYSTEM
from runtime.ids import new_id

LEAST: Final = 20
LEVEL: Final = 0.05
AGAIN: Final = 2


@dataclass(frozen=True, slots=True)
class Proposal:
    """A memory that does harm, and what shows it."""

    memory_id: str
    reason: str
    evidence: Mapping[str, JsonValue]


async def propose(core: Core) -> int:
    """Put every memory that should be retired into the inbox of its vault; how many are new there. Raises `StorageError`."""
    vaults = await core.read(SYSTEM, _vaults)
    made = 0
    for vault_id in vaults:
        found = await core.read(SYSTEM, partial(proposals, vault_id=vault_id))
        if found:
            made += await core.write(SYSTEM, partial(_ask, found={new_id("rev"): item for item in found}))
    return made


def _ask(tx: Tx, found: Mapping[str, Proposal]) -> int:
    cubes = rows.cubes(tx, [item.memory_id for item in found.values()])
    asked = [
        reviews.ask(tx, review_id, "retirement", cubes[item.memory_id], item.reason, evidence=item.evidence)
        for review_id, item in found.items()
        if cubes[item.memory_id].state == "activated"
    ]
    return sum(review.id in found for review in asked)


def proposals(tx: Tx, vault_id: str) -> list[Proposal]:
    """The memories of a vault that should be retired and about which no person has decided on this evidence."""
    found: dict[str, Proposal] = {}
    for kind in RANKING:
        for item in _harmful(tx, vault_id, kind):
            found.setdefault(item.memory_id, item)
    cubes = rows.cubes(tx, sorted(found))
    return [
        item
        for memory_id, item in sorted(found.items())
        if cubes[memory_id].state == "activated" and not cubes[memory_id].pinned and not _decided(tx, item)
    ]


def _harmful(tx: Tx, vault_id: str, kind: OutcomeKind) -> list[Proposal]:
    known = effects.tested(tx, vault_id, kind, LEAST)
    if not known:
        return []
    sums = [item for _, item in known.values()]
    mean, error = mean_and_square_error(
        [item.n for item in sums], [item.total for item in sums], [item.squares for item in sums]
    )
    p_values = harm_p_values(mean, error)
    rejected = survivors(p_values, LEVEL)
    found: list[Proposal] = []
    for place, (memory_id, (life, item)) in enumerate(known.items()):
        interval = item.interval()
        if not rejected[place] or interval is None:
            continue
        low, high = interval
        found.append(
            Proposal(
                memory_id,
                f"showing it changed the outcome by {item.mean:+.3f} (95 %: {low:+.3f} to {high:+.3f}) over {item.n} "
                f"problems, by {kind}",
                {
                    "kind": kind,
                    "life": life,
                    "n": item.n,
                    "effect": item.mean,
                    "low": low,
                    "high": high,
                    "p_value": float(p_values[place]),
                    "level": LEVEL,
                    "tested": len(known),
                },
            )
        )
    return found


def _decided(tx: Tx, item: Proposal) -> bool:
    query = select(ReviewRow.evidence).where(
        ReviewRow.memory_id == item.memory_id,
        ReviewRow.kind == "retirement",
        ReviewRow.state.in_(("accepted", "rejected", "dismissed")),
    )
    # After an accepted one it was brought back by a person, who knew.
    return any(
        before.get("life") == item.evidence["life"]
        and before.get("kind") == item.evidence["kind"]
        and _number(item.evidence["n"]) < AGAIN * _number(before.get("n"))
        for before in tx.connection.execute(query).scalars()
    )


def _number(value: JsonValue) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _vaults(tx: Tx) -> list[str]:
    return list(tx.connection.execute(select(EffectRow.vault_id).distinct().order_by(EffectRow.vault_id)).scalars())
