"""What the packaged model can show of memory and of search, with controls: the `small` suite on a real model server.

    mneme serve                                                  # in another terminal: vLLM with the packaged model
    python -m evals.bench.small --base-url http://127.0.0.1:8643/v1 --data FOLDER

Facts: the needed one in no prompt, among 20, among 5, alone, or in the store, where recall has to find it. Sums: one answer,
a majority, and two searches that may check a sum by doing it (not by knowing the gold answer), each with the same number of
calls; the checker earns most of what they gain, so blind guesses with the same checker stand beside them. Every line is an
evaluation of its own, kept in the home and shown again by `mneme eval show`. Source: evaluation sheet §4.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

CALLS: Final = 8
ANSWER_TOKENS: Final = 24
FACTS: Final = {
    "no fact, memory off": ("--memory", "off"),
    "no fact, empty store": ("--memory", "cold"),
    "20 facts in the store": ("--memory", "warm"),
    "20 facts in the prompt": ("-S", "facts=20"),
    "5 facts in the prompt": ("-S", "facts=5"),
    "the fact in the prompt": ("-S", "facts=1"),
}
SEARCH: Final = ("-C", "profile=evidence", "-C", f"rollouts={CALLS - 1}", "-C", "role=false")
SUMS: Final = {
    "one answer": ("--agent", "direct"),
    f"majority of {CALLS}": ("--agent", "self-consistency", "-C", f"n={CALLS}"),
    f"best of {CALLS}, checked": ("--agent", "best-of-n", "-C", f"n={CALLS}"),
    "empirical-mcts, checked": ("--agent", "empirical-mcts", *SEARCH, "--budget-calls", str(CALLS)),
}


def measured(base_url: str, data: Path | None, arguments: Sequence[str]) -> dict[str, Any]:
    """The report of one evaluation. Raises `SystemExit` with what the command said when it fails."""
    settings = {"MNEME_LLM__BASE_URL": base_url, **({"MNEME_EVALS__DATA": str(data)} if data else {})}
    command = [sys.executable, "-m", "api.cli", "eval", "run", "small", "--json", *arguments]
    done = subprocess.run(command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} exited {done.returncode}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def row(name: str, told: dict[str, Any]) -> list[str]:
    """One line: accuracy with its interval, what it cost, and the evaluation."""
    scores, cost = told["scores"]["all"], told["cost"]
    chance = scores["chance"]
    return [
        name,
        str(scores["problems"]),
        f"{scores['accuracy']:.3f} [{scores['low']:.3f}, {scores['high']:.3f}]",
        "" if chance is None else f"{chance:.3f}",
        f"{cost['calls'] / max(1, told['done']):.1f}",
        told["id"],
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True, help="of the model server, …/v1")
    parser.add_argument("--data", type=Path, help="folder of the data sets; without it the records are generated")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=8)
    options = parser.parse_args()
    console = Console(width=140)
    common = ["--limit", str(options.limit), "--jobs", str(options.jobs)]
    for title, task, lines, temperature in (
        ("fact recall, greedy", "fact_recall", FACTS, 0.0),
        ("sums of two digits, temperature 0.8", "sums", SUMS, 0.8),
    ):
        sampling = ["--sampling", f"temperature={temperature}", "--sampling", f"max_tokens={ANSWER_TOKENS}"]
        table = Table(title=f"{title}; 95 % intervals over problems")
        for column in ("way", "problems", "accuracy", "a blind guess", "calls each", "evaluation"):
            table.add_column(column)
        for name, arguments in lines.items():
            told = measured(options.base_url, options.data, [*common, *sampling, "-S", f"tasks={task}", *arguments])
            table.add_row(*row(name, told))
            chance = told["scores"]["all"]["chance"]
        console.print(table)
        if task == "sums" and chance is not None:
            console.print(f"{CALLS} blind guesses with the same checker: {1 - (1 - chance) ** CALLS:.3f}")


if __name__ == "__main__":
    main()
