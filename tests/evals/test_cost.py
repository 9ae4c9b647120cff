"""Cost: sums, means, and money by a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from evals.cost import cost_of, read_prices
from evals.records import Usage
from runtime.errors import SettingsError
from tests.evals.making import record

TABLE = """
currency = "EUR"
["big/model"]
prompt = 2.0
cached = 0.5
completion = 10.0
["vllm/small"]
prompt = 1.0
completion = 1.0
"""
USE = Usage(
    calls=3,
    prompt_tokens=1000,
    cached_tokens=400,
    completion_tokens=200,
    retries=1,
    peak_tokens=500,
    model_ms=1500.0,
    memory_reads=2,
    memory_writes=1,
    programs=4,
    sandbox_seconds=0.25,
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_sums_and_means() -> None:
    cost = cost_of([record("a", usage=USE, ms=2000.0), record("b", usage=Usage(calls=1, peak_tokens=700), ms=500.0)])
    assert (cost.attempts, cost.calls, cost.tokens, cost.cached_tokens) == (2, 4, 1200, 400)
    assert (cost.retries, cost.memory_reads, cost.memory_writes) == (1, 2, 1)
    assert (cost.programs, cost.sandbox_seconds) == (4, 0.25)
    assert (cost.peak_tokens, cost.seconds, cost.model_seconds) == (700, 2.5, 1.5)
    told = cost.to_json()
    assert told["per_attempt"] == {"calls": 2.0, "tokens": 600.0, "seconds": 1.25, "model_seconds": 0.75}
    assert cost_of([]).per_attempt("calls") == 0


def test_money_counts_cached_tokens_at_their_own_price(table: Path) -> None:
    prices = read_prices(table)
    cost = cost_of([record(model="openai/big/model", usage=USE)], prices)
    assert cost.money == pytest.approx((600 * 2.0 + 400 * 0.5 + 200 * 10.0) / 1e6)
    assert cost.currency == "EUR"
    # Without a price of its own what is cached costs as the rest.
    assert cost_of([record(model="vllm/small", usage=USE)], prices).money == pytest.approx(1200 / 1e6)


def test_an_unknown_price_makes_the_sum_unknown_and_not_smaller(table: Path) -> None:
    known, unknown = record("a", model="vllm/small", usage=USE), record("b", model="vllm/other", usage=USE)
    assert cost_of([known, unknown], read_prices(table)).money is None
    assert cost_of([known]).money is None
    assert "money" not in str(cost_of([known]).to_json()["per_attempt"])


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "currency = 1",
        '["m"]\nprompt = 1.0',
        '["m"]\nprompt = -1.0\ncompletion = 1.0',
        '["m"]\nprice = 1.0',
        "m = 1",
    ],
)
def test_a_table_that_is_broken_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=r"prices\.toml"):
        read_prices(path)


def test_a_table_that_is_not_there_is_named_and_none_is_empty(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.toml"):
        read_prices(tmp_path / "absent.toml")
    assert read_prices(None).of("any") is None
