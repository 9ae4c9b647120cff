"""An evaluation as a log of Inspect (inspect_ai), version 2 of its JSON format, for its viewer and its readers.

What Inspect calls a sample and an epoch is here an item and the number of its attempt over all seeds and orders. Written
from the format; Inspect is no dependency. What it has no field for is in `metadata`. Source: Inspect's log format; ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agents.tasks import parse_input
from evals.cost import cost_of
from evals.log import Log
from evals.records import Header, Record, Usage
from evals.summary import items, scores
from runtime.types import JsonObject

VERSION: Final = 2
SCORER: Final = "mneme"
CORRECT: Final = "C"
INCORRECT: Final = "I"


def exported(log: Log) -> dict[str, Any]:
    """The whole log. Raises `MnemeError` for one that is damaged."""
    header, records, asked = log.header(), log.records(), log.samples()
    ordered = sorted(records, key=lambda record: (record.seed, record.order, record.attempt, record.place))
    plan = header.plan
    complete = len(records) == header.expected
    told = scores(ordered)
    model = ordered[0].model if ordered else plan.model or "unknown"
    return {
        "version": VERSION,
        "status": "success" if complete else "cancelled",
        "eval": {
            "eval_id": header.id,
            "run_id": header.id,
            "created": header.created_at,
            "task": plan.suite,
            "task_id": f"{plan.suite}@{header.suite_version}",
            "task_version": header.suite_version,
            "task_args": plan.options,
            "solver": plan.agent,
            "solver_args": plan.config,
            "dataset": {
                "name": ", ".join(str(each["name"]) for each in header.sets),
                "samples": header.samples,
                "sample_ids": list(dict.fromkeys(record.item_id for record in ordered)),
                "shuffled": plan.orders > 1,
            },
            "model": model,
            "model_generate_config": _sampling(plan.sampling),
            "config": {
                "limit": plan.limit,
                "epochs": plan.seeds * plan.orders * plan.epochs,
                "token_limit": plan.budget.tokens,
            },
            "revision": _revision(header),
            "packages": {name: number for name, number in header.versions.items() if name != "python"},
            "metadata": {
                "mneme": {
                    "memory": plan.memory,
                    "vault": plan.vault,
                    "data_sha256": header.data_sha256,
                    "sets": list(header.sets),
                    "prompts": dict(header.prompts),
                }
            },
            "scorers": [{"name": SCORER, "metrics": [{"name": "mneme/accuracy"}]}],
        },
        "plan": {"name": plan.agent, "steps": [{"solver": plan.agent, "params": plan.config}]},
        "results": {
            "total_samples": header.expected,
            "completed_samples": len(records),
            "scores": [_score(told, len(ordered))] if ordered else [],
        },
        "stats": {
            "started_at": header.created_at,
            "completed_at": max((record.finished_at or "" for record in ordered), default=""),
            "model_usage": {name: _summed(part) for name, part in _by_model(ordered).items()},
        },
        "samples": [
            _sample(record, epoch, asked[item])
            for item, each in items(ordered).items()
            for epoch, record in enumerate(each, start=1)
        ],
    }


def _sample(record: Record, epoch: int, asked: JsonObject) -> dict[str, Any]:
    question = "\n\n".join(message.text for message in parse_input(asked["prompt"]).messages())
    sample: dict[str, Any] = {
        "id": record.item_id,
        "epoch": epoch,
        "input": question,
        "target": str(asked["gold"]),
        "messages": [
            {"role": "user", "content": question, "source": "input"},
            {"role": "assistant", "content": record.output, "source": "generate", "model": record.model},
        ],
        "output": {
            "model": record.model,
            "choices": [
                {
                    "message": {"role": "assistant", "content": record.output, "source": "generate"},
                    "stop_reason": _stop(record),
                }
            ],
            "usage": _usage(record.usage),
            "time": round(record.ms / 1000, 3),
        },
        "scores": {
            SCORER: {
                "value": record.score if 0 < record.score < 1 else CORRECT if record.correct else INCORRECT,
                "answer": record.answer,
                "explanation": record.detail or None,
                "metadata": {"how": record.how, "fallback": record.fallback},
            }
        },
        "metadata": {
            "set": record.set,
            "run_id": record.run_id,
            "seed": record.seed,
            "order": record.order,
            "attempt": record.attempt,
            "memory_ids": list(record.memory_ids),
            "chance": record.chance,
            **dict(record.meta),
        },
        "model_usage": {record.model: _usage(record.usage)},
        "completed_at": record.finished_at,
        "total_time": round(record.ms / 1000, 3),
        "working_time": round(record.usage.model_ms / 1000, 3),
        "uuid": record.run_id,
    }
    if record.error is not None:
        sample["error"] = {"message": record.error, "traceback": "", "traceback_ansi": ""}
    return sample


def _score(told: Mapping[str, Any], scored: int) -> dict[str, Any]:
    wanted = {"accuracy": told["accuracy"], "low": told["low"], "high": told["high"]}
    return {
        "name": SCORER,
        "scorer": SCORER,
        "scored_samples": scored,
        "unscored_samples": 0,
        "metrics": {name: {"name": name, "value": value} for name, value in wanted.items()},
    }


def _usage(use: Usage) -> dict[str, Any]:
    return {
        # Inspect counts what was cached apart from the rest of the input.
        "input_tokens": use.prompt_tokens - use.cached_tokens,
        "output_tokens": use.completion_tokens,
        "total_tokens": use.tokens,
        "input_tokens_cache_read": use.cached_tokens,
        "reasoning_tokens": use.reasoning_tokens,
    }


def _summed(records: Sequence[Record]) -> dict[str, Any]:
    cost = cost_of(records)
    return {
        "input_tokens": cost.prompt_tokens - cost.cached_tokens,
        "output_tokens": cost.completion_tokens,
        "total_tokens": cost.tokens,
        "input_tokens_cache_read": cost.cached_tokens,
        "reasoning_tokens": cost.reasoning_tokens,
    }


def _by_model(records: Sequence[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.model, []).append(record)
    return found


def _stop(record: Record) -> str:
    return {"stop": "stop", "length": "max_tokens", "tool_calls": "tool_calls", "content_filter": "content_filter"}.get(
        record.stop_reason, "unknown"
    )


def _sampling(given: JsonObject) -> JsonObject:
    names = ("temperature", "top_p", "max_tokens", "seed", "frequency_penalty", "presence_penalty")
    return {name: given[name] for name in names if name in given}


def _revision(header: Header) -> dict[str, Any] | None:
    if header.revision is None:
        return None
    return {"type": "git", "origin": "", "commit": header.revision["commit"], "dirty": header.revision["dirty"]}
