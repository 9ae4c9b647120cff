"""What an evaluation is, before anything is asked: which samples, by which agent, how often, in which order, with which
memory. A plan is plain data; it is written down first, and a resumed evaluation is the same plan.

An evaluation is made of slots: one attempt at one sample, for one seed and one order of the items. Slots that do not depend
on each other are run side by side. Where memory is written during the run they do: then each (seed, order, attempt) is a
stream of its own with a store of its own. Source: evaluation sheet §3.6, §3.8; ours.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, NamedTuple, get_args

from evals.base import Sample
from runtime.budget import Budget
from runtime.errors import InvalidInput
from runtime.types import JsonObject

# off: no memory. cold: an empty store for every attempt. warm: a prepared store, read-only. continual: one store that
# grows along the items; the only mode in which an item may read what was learned on another one of the same evaluation.
MemoryUse = Literal["off", "cold", "warm", "continual"]
MEMORY_USES: Final[tuple[MemoryUse, ...]] = get_args(MemoryUse)
MAX_REPEATS: Final = 1000
SEED_BITS: Final = 31


@dataclass(frozen=True, slots=True)
class Plan:
    """`data`: the words of `--data`; `limit`: the first so many of each set. `seed` is the first of `seeds`; `epochs`:
    attempts at each item. `batch`: so many items of a stream see the same store (continual). `vault`: what a warm store is.
    `equal_calls_to`: another evaluation of the same items; each attempt makes as many calls as there."""

    suite: str
    agent: str
    model: str | None = None
    data: tuple[str, ...] = ()
    options: JsonObject = field(default_factory=dict)
    limit: int | None = None
    config: JsonObject = field(default_factory=dict)
    sampling: JsonObject = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    seed: int = 0
    seeds: int = 1
    orders: int = 1
    epochs: int = 1
    memory: MemoryUse = "off"
    vault: str | None = None
    batch: int = 1
    placebo: bool = False
    equal_calls_to: str | None = None

    def check(self) -> None:
        """Raise `InvalidInput` naming what does not go together."""
        for name in ("seeds", "orders", "epochs", "batch"):
            if not 1 <= getattr(self, name) <= MAX_REPEATS:
                raise InvalidInput(f"{name} {getattr(self, name)!r}: expected 1 to {MAX_REPEATS}", param=name)
        if self.limit is not None and self.limit < 1:
            raise InvalidInput(f"limit {self.limit!r}: expected 1 or more", param="limit")
        if not 0 <= self.seed < 2**SEED_BITS:
            raise InvalidInput(f"seed {self.seed!r}: expected 0 to {2**SEED_BITS - 1}", param="seed")
        if self.memory not in MEMORY_USES:
            raise InvalidInput(f"memory {self.memory!r}: expected one of {', '.join(MEMORY_USES)}", param="memory")
        if self.memory != "continual" and (self.orders > 1 or self.batch > 1):
            raise InvalidInput(
                f"orders and batch: the order of the items matters with --memory continual only, not {self.memory!r}",
                param="orders",
            )
        if self.vault is not None and self.memory not in ("warm", "continual"):
            raise InvalidInput(
                f"vault {self.vault!r}: is read with --memory warm, or grown from with --memory continual",
                param="vault",
            )
        if self.placebo and self.memory != "warm":
            raise InvalidInput("placebo: takes the place of a warm store; use --memory warm", param="placebo")
        self.budget.check()

    def to_json(self) -> dict[str, Any]:
        """The form in the header of a log."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Read what `to_json` wrote."""
        return cls(**{**data, "data": tuple(data["data"]), "budget": Budget(**data["budget"])})


class Slot(NamedTuple):
    """One attempt at one sample. `place`: where the sample stands in the order, counted from 0."""

    seed: int
    order: int
    attempt: int
    place: int
    sample: Sample

    @property
    def key(self) -> tuple[int, int, int, str]:
        """What tells it from every other slot of the plan."""
        return (self.seed, self.order, self.attempt, self.sample.id)

    @property
    def run_seed(self) -> int:
        """The seed of its run: the same for the same item, seed and attempt, whichever agent is asked."""
        text = f"{self.seed}/{self.attempt}/{self.sample.id}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> (64 - SEED_BITS)


class Stream(NamedTuple):
    """Slots that come one after the other: the items of one order, each once."""

    name: str
    slots: tuple[Slot, ...]


def chosen(plan: Plan, samples: Sequence[Sequence[Sample]]) -> list[Sample]:
    """The samples that are asked: of each set the first `limit`."""
    return [sample for each in samples for sample in each[: plan.limit]]


def streams(plan: Plan, samples: Sequence[Sample]) -> list[Stream]:
    """Every slot of the plan, in the order in which they are begun. The first order is that of the data, the others are
    shuffled by their number; they do not depend on the seed, so that seeds can be compared."""
    made = []
    for seed in range(plan.seed, plan.seed + plan.seeds):
        for order in range(plan.orders):
            ordered = list(samples)
            if order:
                random.Random(f"order {order}").shuffle(ordered)
            for attempt in range(plan.epochs):
                slots = tuple(Slot(seed, order, attempt, place, sample) for place, sample in enumerate(ordered))
                made.append(Stream(f"{seed}-{order}-{attempt}", slots))
    return made


def batches(plan: Plan, stream: Stream) -> list[tuple[Slot, ...]]:
    """The slots of a stream that see the same store."""
    return [stream.slots[start : start + plan.batch] for start in range(0, len(stream.slots), plan.batch)]
