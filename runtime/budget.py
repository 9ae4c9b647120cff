"""How much a run may spend, and how much it has spent. Source: contract §4 (`budget`), ours."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Budget:
    """Upper limits; None is no limit. `tokens` counts prompt and completion of every call, `seconds` the time of work."""

    tokens: int | None = None
    calls: int | None = None
    seconds: float | None = None

    def check(self) -> None:
        """Raise `InvalidInput` naming the limit that allows no work at all."""
        for name, limit in (("tokens", self.tokens), ("calls", self.calls), ("seconds", self.seconds)):
            if limit is not None and not limit > 0:
                raise InvalidInput(
                    f"budget {name!r}: got {limit!r}, which allows no work; expected a positive number, or leave it out",
                    param=f"budget.{name}",
                )
        if self.tokens is not None and self.calls is not None and self.tokens < self.calls:
            raise InvalidInput(
                f"budget: {self.calls} calls cannot be made with {self.tokens} tokens; a call takes at least one token",
                param="budget",
            )


@dataclass(frozen=True, slots=True)
class Spent:
    """What has been used up, over all executions of the run."""

    tokens: int = 0
    calls: int = 0
    seconds: float = 0.0
