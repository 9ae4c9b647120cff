"""Records and headers for tests of what is computed from them."""

from __future__ import annotations

from typing import Any

from evals.plan import Plan
from evals.records import Header, Record, Usage


def record(item: str = "a", score: float = 1.0, **fields: Any) -> Record:
    values: dict[str, Any] = {
        "suite": "aime",
        "data_sha256": "d" * 64,
        "set": "one",
        "item_id": item,
        "agent": "direct",
        "model": "scripted/x",
        "seed": 0,
        "order": 0,
        "attempt": 0,
        "place": 0,
        "run_id": f"run_{0:032x}",
        "run_seed": 1,
        "answer": "1" if score else "2",
        "how": "boxed",
        "correct": score == 1.0,
        "score": score,
        "fallback": None,
        "stop_reason": "stop",
        "ms": 1000.0,
        "usage": Usage(calls=1, prompt_tokens=10, completion_tokens=5),
    }
    return Record(**{**values, **fields})


def header(expected: int = 1, id_: int = 1, **fields: Any) -> Header:
    plan = fields.pop("plan", None) or Plan("aime", fields.pop("agent", "direct"))
    values: dict[str, Any] = {
        "id": f"evl_{id_:032x}",
        "owner": "usr_a",
        "created_at": "2030-01-02T03:04:05+00:00",
        "plan": plan,
        "sets": (
            {
                "name": "one",
                "source": "f",
                "licence": "",
                "split": "test",
                "records": 3,
                "asked": 3,
                "sha256": "d" * 64,
            },
        ),
        "data_sha256": "d" * 64,
        "samples": expected,
        "expected": expected,
        "versions": {"mneme": "0"},
        "revision": None,
        "prompts": {},
        "agent_version": 1,
        "suite_version": 1,
    }
    return Header(**{**values, **fields})
