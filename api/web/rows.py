"""What a person is told about a run and its events, in words and few numbers. Pure: wire values in, values for templates
out. Source: ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from api.web.render import number, seconds
from runtime import textsafe
from runtime.events import TERMINAL_TYPES

DELTAS: Final = frozenset({"text.delta", "reasoning.delta"})
EXCERPT: Final = 140
Wire = Mapping[str, Any]


@dataclass(slots=True)
class Row:
    """One line of the log on screen: one event, or what a step said until it did something else."""

    type: str
    seq: int
    at: str
    step: str
    tone: str
    words: str
    pieces: list[tuple[int, str]] = field(default_factory=list)
    detail: str = ""

    @property
    def key(self) -> str:
        """Two rows that follow each other in a step and have the same key are one; empty: never."""
        return f"{self.type} {self.step}" if self.type in DELTAS else ""


def grouped(events: Iterable[Wire]) -> list[Row]:
    """Events as rows. What a step says in a row is one row, also when steps side by side speak in between."""
    return first_rows(events)[0]


def first_rows(events: Iterable[Wire], most: int | None = None) -> tuple[list[Row], int]:
    """The rows of the first events, at most `most` of them, and how many events stand in them."""
    rows: list[Row] = []
    last_of: dict[str, Row] = {}
    taken = 0
    for event in events:
        row = _row(event)
        before = last_of.get(row.step)
        if before is not None and row.key and before.key == row.key:
            before.pieces += row.pieces
        elif most is not None and len(rows) >= most:
            break
        else:
            rows.append(row)
            last_of[row.step] = row
        taken += 1
    return rows, taken


def reads_of(events: Iterable[Wire]) -> list[dict[str, Any]]:
    """The memories that were read, each once: how often it was shown and held out, its best score, why it was found
    first, and the newest version that was read. Those that were read most often come first."""
    found: dict[str, dict[str, Any]] = {}
    for event in events:
        empty = {
            "id": event["id"],
            "version": 0,
            "shown": 0,
            "held_out": 0,
            "score": event["score"],
            "why": event["why"],
        }
        one = found.setdefault(event["id"], empty)
        one[event["shown"]] += 1
        one["version"] = max(one["version"], event["version"])
        one["score"] = max(one["score"], event["score"])
    return sorted(found.values(), key=lambda one: (-one["shown"] - one["held_out"], -one["score"]))


def writes_of(events: Iterable[Wire]) -> list[dict[str, Any]]:
    """What was done to memories, each once for a memory: how often, and the version that it led to."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for event in events:
        empty = {"id": event["id"], "op": event["op"], "version": 0, "times": 0}
        one = found.setdefault((event["id"], event["op"]), empty)
        one["times"] += 1
        one["version"] = max(one["version"], event["version"])
    return list(found.values())


def live_frame(event: Wire, html: str) -> bytes:
    """A row as a server-sent frame, with what the page must do about it."""
    value = {"html": html, "type": event["type"], "void": event["data"].get("void", [])}
    if event["type"] in TERMINAL_TYPES:
        value["end"] = True
    return b"id: %d\ndata: %s\n\n" % (event["seq"], textsafe.dumps(value).encode())


def shown_run(run: Wire) -> dict[str, Any]:
    """A run for the templates: its wire form, and what a person reads of it."""
    answer = run["output"].get("text", "") if isinstance(run["output"], dict) else ""
    usage = run["usage"]
    return {
        **run,
        "question": question_of(run["input"]),
        "excerpt": _excerpt(question_of(run["input"])),
        "answer": answer,
        "tool_calls": run["output"].get("tool_calls", []) if isinstance(run["output"], dict) else [],
        "tokens": usage["total"]["total_tokens"],
        "purposes": sorted(usage["by_purpose"].items()),
        "took": _took(run),
        "limits": [(name, value) for name, value in run["budget"].items() if value is not None],
        "options": json.dumps(run["config"], ensure_ascii=False) if run["config"] else "",
    }


def question_of(value: Any) -> str:
    """What was asked, as text: the last message of a person, or the heart of a typed task."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        said = [message for message in value if isinstance(message, dict)]
        last = next((m for m in reversed(said) if m.get("role") == "user"), said[-1] if said else {})
        content = last.get("content")
        if isinstance(content, list):
            return "".join(str(part.get("text", "[image]")) for part in content if isinstance(part, dict))
        return str(content or "")
    if isinstance(value, dict):
        for name in ("problem", "question", "task"):
            if isinstance(value.get(name), str):
                return str(value[name])
        if value.get("kind") == "arc":
            return f"ARC task: {len(value['train'])} examples, {len(value['test'])} to solve"
    return json.dumps(value, ensure_ascii=False)


def _row(event: Wire) -> Row:
    kind, data = event["type"], event["data"]
    row = Row(kind, event["seq"], event["at"], event.get("step") or "", _tone(kind, data), _words(kind, data))
    if kind in DELTAS:
        row.pieces = [(event["seq"], data["text"])]
    elif kind not in ("run.queued",):
        row.detail = json.dumps(data, ensure_ascii=False, indent=2)
    return row


def _words(kind: str, data: Wire) -> str:
    match kind:
        case "run.queued":
            return f"{data['agent']} waits for its turn"
        case "run.started":
            return f"{data['agent']} on {data['model']}, seed {data['seed']}"
        case "run.resumed":
            dropped = sum(last - first + 1 for first, last in data["void"])
            why = "after a request" if data["reason"] == "requested" else "after its process was gone"
            return f"goes on {why}, attempt {data['attempt']}" + (f"; {dropped} events are void" if dropped else "")
        case "run.finished":
            return "succeeded" if data["status"] == "succeeded" else str(data.get("reason") or "budget used up")
        case "run.failed":
            return f"{data['code']}: {data['message']}"
        case "run.cancelled":
            return str(data["reason"])
        case "llm.call":
            usage = data["usage"]
            tokens = f"{number(usage['prompt_tokens'])} → {number(usage['completion_tokens'])} tokens"
            cached = f", {number(data['cached_tokens'])} cached" if data["cached_tokens"] else ""
            tries = f", {data['attempts']} tries" if data.get("attempts", 1) > 1 else ""
            failed = f", {data['error']}" if data.get("error") else ""
            return f"{data['purpose']} · {tokens}{cached} · {seconds(data['ms'] / 1000)}{tries}{failed}"
        case "step.completed":
            score = f" · score {data['score']:g}" if data.get("score") is not None else ""
            return f"{data['name']}{score}"
        case "memory.read":
            held_out = " · held out" if data["shown"] == "held_out" else ""
            return (
                f"{_short(data['id'])}, version {data['version']} · score {data['score']:.3f} · {data['why']}{held_out}"
            )
        case "memory.written":
            return f"{data['op']} {_short(data['id'])}, version {data['version']}"
        case "budget.warning":
            return f"{data['used']:g} of {data['of']:g} {data['limit']}"
        case "check.failed":
            return f"{data['name']}: {_excerpt(data['detail'])}"
        case _:
            told = {name: value for name, value in data.items() if not isinstance(value, dict)}
            return _excerpt(", ".join(f"{name} {_value(value)}" for name, value in told.items()))


def _tone(kind: str, data: Wire) -> str:
    if kind in ("run.failed", "check.failed") or data.get("error"):
        return "bad"
    if kind in ("budget.warning", "run.cancelled", "run.resumed") or data.get("status") == "budget_exhausted":
        return "warn"
    if kind == "run.finished":
        return "good"
    return "plain"


def _took(run: Wire) -> str:
    if run["started_at"] is None or run["finished_at"] is None:
        return ""
    begun, ended = (datetime.fromisoformat(run[name]) for name in ("started_at", "finished_at"))
    return seconds((ended - begun).total_seconds())


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _short(id_: str) -> str:
    return f"{id_[:4]}…{id_[-6:]}"


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"
