"""An exported log has what Inspect's format asks for; `evals/bench/inspect_log.py` opens one with Inspect itself."""

from __future__ import annotations

import json

import pytest

from evals.export_inspect import exported
from evals.plan import Plan
from runtime import textsafe
from tests.evals.conftest import MakeLab, Problems

pytestmark = pytest.mark.anyio


async def test_a_log_is_exported_with_what_was_asked_answered_and_scored(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    data = problems([5, 6, 7])
    log = await bench.run(Plan("aime", "direct", data=(data,), epochs=2, sampling={"temperature": 0.3, "top_k": 4}))
    told = json.loads(textsafe.dumps(exported(log)))
    assert (told["version"], told["status"]) == (2, "success")
    assert told["eval"]["task"] == "aime"
    assert told["eval"]["model_generate_config"] == {"temperature": 0.3}
    assert told["eval"]["dataset"]["sample_ids"] == ["problems-0", "problems-1", "problems-2"]
    assert {(s["id"], s["epoch"]) for s in told["samples"]} == {(f"problems-{n}", e) for n in range(3) for e in (1, 2)}
    first = next(sample for sample in told["samples"] if sample["id"] == "problems-0")
    assert "problems question number 0?" in first["input"]
    assert (first["target"], first["scores"]["mneme"]["value"]) == ("5", "C")
    assert first["output"]["choices"][0]["stop_reason"] == "stop"
    assert first["output"]["choices"][0]["message"]["content"] == "\\boxed{5}"
    usage = told["stats"]["model_usage"]
    (total,) = usage.values()
    assert total["total_tokens"] == sum(record.usage.tokens for record in log.records())
    (score,) = told["results"]["scores"]
    assert score["metrics"]["accuracy"]["value"] == pytest.approx((log.summary() or {})["scores"]["all"]["accuracy"])
    assert told["stats"]["completed_at"] > told["stats"]["started_at"]


async def test_an_agent_that_failed_is_an_error_of_its_sample(lab: MakeLab, problems: Problems, scribes: None) -> None:
    log = await lab().run(Plan("aime", "scribe", data=(problems([5], name="break"),)))
    (sample,) = exported(log)["samples"]
    assert sample["error"]["message"] == "malformed_reply: the scribe broke its pen"
    assert sample["scores"]["mneme"]["value"] == "I"


async def test_an_evaluation_that_is_not_over_is_exported_as_such(lab: MakeLab, problems: Problems) -> None:
    bench = lab()
    log = await bench.bench.open(Plan("aime", "direct", data=(problems([5]),)), bench.loader())
    told = exported(log)
    assert (told["status"], told["samples"], told["results"]["scores"]) == ("cancelled", [], [])
