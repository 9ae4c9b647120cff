"""Three mathematics problems by an agent that learns from its own comparisons.

The problems are ours. Each carries an equation that an answer can be put into, so the checker needs no gold answer and
nothing could leak one. Source: ours.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import httpx

from agents.tasks import parse_input
from agents.verifiers.base import Verifiers
from api.demo.telling import Told, asked, heading, short

AGENT: Final = "empirical-mcts"
CONFIG: Final = {"rollouts": 1, "role": False}
# The packaged model may write until its context is full.
SECONDS_PACKAGED: Final = 30
SECONDS: Final = 120


class Problem(NamedTuple):
    """A problem, and the equations that its answer `x` fulfils."""

    text: str
    equations: tuple[str, ...]

    def task(self) -> dict[str, Any]:
        """The `input` of a run."""
        return {
            "kind": "math",
            "problem": self.text,
            "check": {"equations": list(self.equations), "variable": "x"},
        }


PROBLEMS: Final = (
    Problem("Three bags of flour and a 4 kg melon weigh 19 kg together. How many kilograms is one bag?", ("3*x+4=19",)),
    Problem(
        "A garden is twice as long as it is wide, and the fence around it is 36 metres. How wide is it, in metres?",
        ("2*(x+2*x)=36",),
    ),
    Problem("A cube holds 343 cubic centimetres. How long is its edge, in centimetres?", ("x**3=343",)),
)


async def short_set(client: httpx.AsyncClient, verifiers: Verifiers, told: Told, vault: str, *, packaged: bool) -> None:
    """Ask the problems one after the other; what is learned from one may help with the next."""
    seconds = SECONDS_PACKAGED if packaged else SECONDS
    heading(f"1. Three mathematics problems by {AGENT}, which keeps what it learns; at most {seconds} s each")
    passed = 0
    for problem in PROBLEMS:
        print(f"\n   {problem.text}", flush=True)
        run = await asked(
            client,
            told,
            agent=AGENT,
            input=problem.task(),
            config=CONFIG,
            vaults=[vault],
            seed=7,
            budget={"seconds": seconds},
        )
        passed += await _judged(verifiers, problem, run)
    print(f"\n   {passed} of {len(PROBLEMS)} answers passed their check; memories written so far: {len(told.written)}")
    if not told.written:
        print("   Nothing was learned: that takes two answers and a judgement of them within the time.")


async def _judged(verifiers: Verifiers, problem: Problem, run: dict[str, Any]) -> bool:
    text = str((run["output"] or {}).get("text", ""))
    verdict = await verifiers.verify(parse_input(problem.task()), text) if text else None
    passed = verdict is not None and verdict.score == 1.0
    print(f"   answer: {short(text) or 'none within the time'}")
    print(f"   check:  {'passed' if passed else 'not passed'}{f' ({verdict.detail})' if verdict else ''}")
    print(f"   log:    /ui/runs/{run['id']}")
    return passed
