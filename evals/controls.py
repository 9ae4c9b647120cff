"""What belongs to a measurement of memory beside it: the building of its store before, and its controls behind.

The store is built on data that is not the test, in an evaluation of its own, so that its cost is a line of its own. The
controls ask the same items with the same seeds (evals/lift.py says what each is for). Source: evaluation sheet §3.6, §3.7.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio.to_thread

from agents.tasks import parse_input
from evals.lift import CONTROLS, Control
from evals.loading import Loader
from evals.log import Log
from evals.plan import Plan
from evals.preparing import Origin, prepare
from evals.report import controls_of
from evals.runner import Bench
from evals.voting import voter_of
from runtime.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Built:
    """A store that an evaluation has built."""

    log: Log
    vault: str


async def build(bench: Bench, plan: Plan, words: Sequence[str], loader: Loader, *, batch: int = 1) -> Built:
    """Let the agent of `plan` learn on the data of `words`, `batch` items at a time. Raises `InvalidInput` for test data."""
    once = replace(plan, vault=None, placebo=False, seeds=1, orders=1, epochs=1, limit=None)
    learning = replace(once, data=tuple(words), memory="continual", batch=batch)
    prepared = await prepare(learning, loader)
    tests = [sample.id for sample in prepared.samples if sample.split == "test"]
    if tests:
        raise InvalidInput(
            f"build: {tests[0]!r} is of the split 'test', and {len(tests) - 1} others; a store that is measured on a test "
            "must be built on other data",
            param="build",
        )
    log = await bench.run(learning, loader)
    vault = next(str(line["vault"]) for line in log.diary() if line["event"] == "began")
    if not any(line["added"] or line["changed"] for line in log.diary() if line["event"] == "merged"):
        bench.say(f"agent {plan.agent!r} has written no memory while the store was built")
    return Built(log, vault)


def plan_of(control: Control, plan: Plan, main: str, kind: str) -> Plan | None:
    """The plan of a control over tasks of that kind; None where there is no such control of it."""
    off = replace(plan, memory="off", vault=None, placebo=False, orders=1, batch=1)
    match control:
        case "without":
            return off
        case "placebo":
            return replace(plan, placebo=True) if plan.memory == "warm" else None
        case "equal_calls":
            voter = voter_of(kind)
            return replace(off, agent=voter.agent, config=voter.config, equal_calls_to=main)


async def run_controls(bench: Bench, main: Log, loader: Loader) -> list[Log]:
    """Run the controls of an evaluation that are not there yet, and finish those that are incomplete. Raises `InvalidInput`
    for an evaluation without memory."""
    plan = (await anyio.to_thread.run_sync(main.header)).plan
    if plan.memory == "off" or plan.placebo:
        raise InvalidInput("controls: belong to an evaluation with memory; add --memory", param="controls")
    there = await anyio.to_thread.run_sync(controls_of, bench.service.settings.home, main.id)
    first = next(iter((await anyio.to_thread.run_sync(main.samples)).values()))
    kind = parse_input(first["prompt"]).kind
    done = []
    for control in CONTROLS:
        wanted = plan_of(control, plan, main.id, kind)
        if control in there:
            done.append(await bench.resume(there[control], loader))
        elif wanted is not None:
            bench.say(f"control: {control}")
            done.append(await bench.run(wanted, loader, Origin(main.id, control)))
    return done
