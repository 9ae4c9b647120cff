"""What an evaluation cost: calls, tokens, time, and money by a table of prices.

A table is TOML: `currency = "USD"`, and for each model its prices for a million tokens,

    ["Qwen/Qwen3-8B"]
    prompt = 0.05
    cached = 0.01        # of the prompt, what the server had cached; default: as the rest of the prompt
    completion = 0.20

A model is found by its full reference or by the name behind the backend (`vllm/Qwen/Qwen3-8B` → `Qwen/Qwen3-8B`); for one
that is not there the cost in money is unknown, not zero. Source: evaluation sheet §3.7.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from evals.records import Record
from runtime.errors import SettingsError

MILLION: Final = 1_000_000


class Price(BaseModel):
    """Of one model, for a million tokens."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prompt: float = Field(ge=0)
    cached: float | None = Field(None, ge=0)
    completion: float = Field(ge=0)


@dataclass(frozen=True, slots=True)
class Prices:
    """A table of prices; the empty one knows no model."""

    currency: str = "USD"
    models: Mapping[str, Price] | None = None

    def of(self, model: str) -> Price | None:
        """The price of a model, if it is known."""
        table = self.models or {}
        return table.get(model) or table.get(model.partition("/")[2])


@dataclass(frozen=True, slots=True)
class Cost:
    """Sums over attempts. `cached_tokens` are a part of the prompt tokens; `seconds` are those of the runs, one after the
    other, `model_seconds` those of their calls; `money` is None where the price of a model is unknown."""

    attempts: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    retries: int = 0
    peak_tokens: int = 0
    memory_reads: int = 0
    memory_writes: int = 0
    programs: int = 0
    sandbox_seconds: float = 0.0
    seconds: float = 0.0
    model_seconds: float = 0.0
    money: float | None = None
    currency: str = "USD"
    estimated: bool = False

    @property
    def tokens(self) -> int:
        """Prompt and answer."""
        return self.prompt_tokens + self.completion_tokens

    def per_attempt(self, name: str) -> float:
        """The mean of one of the sums."""
        value = getattr(self, name)
        return float(value) / self.attempts if self.attempts else 0.0

    def to_json(self) -> dict[str, JsonValue]:
        """The sums, and their means over attempts."""
        means: dict[str, JsonValue] = {
            name: round(self.per_attempt(name), 4) for name in ("calls", "tokens", "seconds", "model_seconds")
        }
        if self.money is not None:
            means["money"] = self.money / self.attempts if self.attempts else 0.0
        told: dict[str, JsonValue] = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return told | {"tokens": self.tokens, "per_attempt": means}


def cost_of(records: Sequence[Record], prices: Prices = Prices()) -> Cost:
    """The sums over the records."""
    uses = [record.usage for record in records]
    return Cost(
        attempts=len(records),
        calls=sum(use.calls for use in uses),
        prompt_tokens=sum(use.prompt_tokens for use in uses),
        cached_tokens=sum(use.cached_tokens for use in uses),
        completion_tokens=sum(use.completion_tokens for use in uses),
        reasoning_tokens=sum(use.reasoning_tokens for use in uses),
        retries=sum(use.retries for use in uses),
        peak_tokens=max((use.peak_tokens for use in uses), default=0),
        memory_reads=sum(use.memory_reads for use in uses),
        memory_writes=sum(use.memory_writes for use in uses),
        programs=sum(use.programs for use in uses),
        sandbox_seconds=round(sum(use.sandbox_seconds for use in uses), 3),
        seconds=round(sum(record.ms for record in records) / 1000, 3),
        model_seconds=round(sum(use.model_ms for use in uses) / 1000, 3),
        money=_money(records, prices),
        currency=prices.currency,
        estimated=any(use.estimated for use in uses),
    )


def read_prices(path: Path | None) -> Prices:
    """The table in a file; the empty one without a file. Raises `SettingsError` naming what is wrong in it."""
    if path is None:
        return Prices()
    try:
        table: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
        currency = table.pop("currency", "USD")
        if not isinstance(currency, str):
            raise ValueError(f"currency {currency!r}: expected text")
        return Prices(currency, {model: Price.model_validate(price) for model, price in table.items()})
    except (OSError, UnicodeDecodeError, ValueError, ValidationError) as error:
        raise SettingsError(
            f"prices {str(path)!r}: {error}; expected TOML: for each model `prompt`, `cached` and `completion`"
        ) from error


def _money(records: Sequence[Record], prices: Prices) -> float | None:
    total = 0.0
    for record in records:
        price, use = prices.of(record.model), record.usage
        if price is None:
            return None
        cached = price.prompt if price.cached is None else price.cached
        total += price.prompt * (use.prompt_tokens - use.cached_tokens) + cached * use.cached_tokens
        total += price.completion * use.completion_tokens
    return total / MILLION if records else None
