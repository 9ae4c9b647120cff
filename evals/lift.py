"""What memory is worth: the same problems with it, without it, with a placebo of equal length, and with as many calls spent
on independent answers and a majority vote.

Each control answers a doubt: without, whether there is a gain at all; placebo, whether any text would have done it; equal
calls, whether the calls would have done as well without memory. "Improves" takes all three, complete and on equal data.
Pure. Source: evaluation sheet §3.6 (controls), §3.7 (equal-budget point), §4 (placebo moves scores).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from pydantic import JsonValue

from evals.compare import Comparison, Side, compare, points, why_not
from evals.cost import cost_of
from evals.summary import curve
from runtime.errors import InvalidInput

Control = Literal["without", "placebo", "equal_calls"]
CONTROLS: Final[tuple[Control, ...]] = get_args(Control)
NAMES: Final[Mapping[Control, str]] = {
    "without": "no memory",
    "placebo": "a placebo of equal length",
    "equal_calls": "a majority vote with as many calls",
}


@dataclass(frozen=True, slots=True)
class Lift:
    """The comparison with each control that there is."""

    memory: Side
    against: Mapping[Control, Comparison]

    @property
    def sentence(self) -> str:
        """What may be said. Refuses the claim while a control is missing, incomplete, on other data, or shows no gain."""
        missing = [NAMES[control] for control in CONTROLS if control not in self.against]
        doubtful = [
            f"{NAMES[control]} ({_told(found)}; {why_not(found.difference)})"
            for control, found in self.against.items()
            if not found.difference.shows_gain
        ]
        other = [NAMES[control] for control, found in self.against.items() if not found.same_data]
        sides = {"the evaluation": self.memory} | {NAMES[control]: found.b for control, found in self.against.items()}
        unfinished = [name for name, side in sides.items() if len(side.records) < side.header.expected]
        n = next(iter(self.against.values())).problems
        if not (missing or doubtful or other or unfinished):
            gains = ", ".join(f"{_told(found)} over {NAMES[control]}" for control, found in self.against.items())
            return f"Memory improves the answers: {gains}; {n} problems."
        parts = []
        if doubtful:
            parts.append(f"no gain against {', '.join(doubtful)}")
        if missing:
            parts.append(f"no control with {', '.join(missing)} was run")
        if other:
            parts.append(f"the problems were not the same against {', '.join(other)}")
        if unfinished:
            parts.append(f"attempts are missing of {', '.join(unfinished)}")
        return f"A gain of memory is not shown on {n} problems: {'; '.join(parts)}."

    def to_json(self) -> dict[str, JsonValue]:
        """As it is shown, with accuracy against tokens and the point of equal budget."""
        arms: dict[str, Side] = {"memory": self.memory}
        arms |= {control: found.b for control, found in self.against.items()}
        curves: list[JsonValue] = [
            {"arm": name, **point} for name, side in arms.items() for point in curve(side.records)
        ]
        return {
            "arms": {
                name: {
                    "id": side.header.id,
                    "accuracy": _accuracy(side),
                    "prompt_tokens": cost_of(side.records).per_attempt("prompt_tokens"),
                    "tokens": cost_of(side.records).per_attempt("tokens"),
                    "calls": cost_of(side.records).per_attempt("calls"),
                }
                for name, side in arms.items()
            },
            "against": {control: found.to_json() for control, found in self.against.items()},
            "tokens": curves,
            "equal_budget": self.equal_budget(),
            "sentence": self.sentence,
        }

    def equal_budget(self) -> JsonValue:
        """The most votes without memory that cost no more tokens than one answer with it; None when one costs more already,
        or there is no such control."""
        without = self.against.get("without")
        if without is None:
            return None
        limit = cost_of(self.memory.records).per_attempt("tokens")
        affordable = [point for point in curve(without.b.records) if float(str(point["tokens"])) <= limit]
        return {"arm": "without", "tokens_of_memory": limit, **affordable[-1]} if affordable else None


def lift(memory: Side, controls: Mapping[Control, Side]) -> Lift:
    """Raises `InvalidInput` when there is no control, or one that has no problem in common."""
    if not controls:
        raise InvalidInput(
            f"evaluation {memory.header.id!r} has no controls; run it with --controls to say what memory is worth",
            param="id",
        )
    ordered = {control: compare(memory, controls[control]) for control in CONTROLS if control in controls}
    return Lift(memory, ordered)


def _told(found: Comparison) -> str:
    difference = found.difference
    return f"{points(difference.mean)} points, 95 % interval {points(difference.low)} to {points(difference.high)}"


def _accuracy(side: Side) -> float:
    return sum(record.score for record in side.records) / len(side.records) if side.records else 0.0
