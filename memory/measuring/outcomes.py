"""From draws and outcomes to what a run says: one number for each memory, the outcome, the lift. Pure.

The units of a run are one problem. An outcome is centred with the other units of the problem; where there is only one,
with the mean of the same agent and vault before the run, or with one half when there was none: any centre is fair that
does not know the draw. A unit without an outcome counts for nothing. A person judges a run and not a unit: then every
unit has that outcome, and the centre is the mean before. Source: design usefulness, "Estimate"; the last two are ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from memory.measuring.experiment import others_mean, psi
from memory.measuring.units import NEVER, Draw

OutcomeKind = Literal["verifier", "feedback", "judge"]
KINDS: Final[tuple[OutcomeKind, ...]] = get_args(OutcomeKind)
# A model's opinion is shown and does not rank.
RANKING: Final[tuple[OutcomeKind, ...]] = ("verifier", "feedback")
NO_CENTRE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Observation:
    """What one run says about one memory. `x` goes into its sums; the outcomes are the means of the units on each side,
    None where there was none."""

    memory_id: str
    version: int
    x: float
    p: float
    units: int
    shown: int
    outcome_shown: float | None
    outcome_held_out: float | None


@dataclass(frozen=True, slots=True)
class Problem:
    """What one run says. `lift` is the mean outcome of the units with memories less that of the unit without; None when
    there was no such unit."""

    outcome: float
    units: int
    observations: tuple[Observation, ...]
    lift: float | None


def problem(
    draws: Sequence[Draw],
    outcomes: Mapping[str, float],
    centres: Mapping[str, float],
    *,
    whole: bool = False,
) -> Problem | None:
    """Work out a run. `outcomes` in [0, 1] by unit, `centres` by memory id, `whole`: one outcome for the run.

    None when nothing can be said: no unit has an outcome, or nothing was left to chance.
    """
    by_unit: dict[str, list[Draw]] = defaultdict(list)
    for draw in draws:
        by_unit[draw.unit].append(draw)
    units = [unit for unit in by_unit if unit in outcomes]
    if not units or not any(draw.p < 1 for unit in units for draw in by_unit[unit]):
        return None
    scores = np.array([outcomes[unit] for unit in units])
    together = len(units) > 1 and not whole
    less_others = dict(zip(units, scores - others_mean(scores), strict=True)) if together else {}
    of_memory: dict[str, list[Draw]] = defaultdict(list)
    for unit in units:
        for draw in by_unit[unit]:
            if draw.measured:
                of_memory[draw.memory_id].append(draw)
    observations: list[Observation] = []
    for memory_id in sorted(of_memory):
        # An edit between two recalls of a run: only the newer text has been measured to the end.
        version = max(draw.version for draw in of_memory[memory_id])
        mine = [draw for draw in of_memory[memory_id] if draw.version == version]
        centre = centres.get(memory_id, NO_CENTRE)
        centred = [less_others[d.unit] if together else outcomes[d.unit] - centre for d in mine]
        with_it = [outcomes[draw.unit] for draw in mine if draw.shown]
        without = [outcomes[draw.unit] for draw in mine if not draw.shown]
        observations.append(
            Observation(
                memory_id,
                version,
                float(psi([draw.shown for draw in mine], [draw.p for draw in mine], centred).mean()),
                mine[0].p,
                len(mine),
                len(with_it),
                _mean(with_it),
                _mean(without),
            )
        )
    free = {unit for unit in units if any(draw.p == NEVER for draw in by_unit[unit])}
    with_any, with_none = _mean([outcomes[u] for u in units if u not in free]), _mean([outcomes[u] for u in free])
    lift = with_any - with_none if together and with_any is not None and with_none is not None else None
    return Problem(float(scores.mean()), len(units), tuple(observations), lift)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
