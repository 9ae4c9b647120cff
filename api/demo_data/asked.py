"""The runs of the demo data: every agent there is, runs that ended badly, and those that measure what a lesson is worth.

Each is a run as any other: executed here, in its order, with the script in the place of the model. An agent of which
nothing is known here answers a plain question, so that none is missing. Source: ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import anyio
import anyio.to_thread
from pydantic import JsonValue

from agents import registry
from agents.service import Service
from api.cli.arc_task import ArcRun
from api.demo.replay import FIRST, SECOND
from api.demo_data.house import Chapter, House
from runtime.budget import Budget
from runtime.errors import MnemeError, SandboxUnavailable
from runtime.run_types import RunSpec
from runtime.sandbox.pool import accepted
from runtime.types import JsonObject

REFUSED: Final = "This is a question that the model server refuses."
ENDLESS: Final = "This is a question without an end: count the waves."
MOORINGS: Final = (
    "Three moorings are set with one crane and one boat in calm weather. Anchor, chain and test of a mooring follow each "
    "other, and the test is made on the way to the next one. How many tides are needed?"
)
ROUTES: Final = (
    "Two inspections and three cleanings of blades share one crane. Which order needs the fewest tides, and how many?"
)
ROWS: Final = "Where should a second row of turbines stand, and what would it bring?"
# Problems whose answer can be put in, so that a verifier says what an answer is worth.
MEASURED: Final = {
    "maths": (
        "The tide falls in six steps of two hours each; a mark is read at every step. How many hours does it fall?",
        "A boat at anchor rises with the tide: six steps of two hours. How many hours until high water?",
        "The gauge prints a line at each of six steps of the tide, two hours apart. How many hours does the roll cover?",
    ),
    "folklore": (
        "A barge has six holds, and each takes two tonnes. How many tonnes does it carry?",
        "Six cranes load two tonnes each onto a barge. How many tonnes are on board?",
        "A barge is unloaded in six lifts of two tonnes. How many tonnes did it bring?",
    ),
}
CHECK: Final = {"equations": ["x/6=2"], "variable": "x"}
LONGEST_S: Final = 60.0
UNITS: Final = 8
PROBLEMS: Final = {False: 24, True: 6}
ROLLOUTS: Final = {False: 40, True: 12}
CHAT: Final = (
    (12.4, "rated", "What is T1 rated at today? Name the source."),
    (8.1, "spacing", "How far apart must the rows of turbines stand?"),
    (2.4, "cleaning", "When should the blades be cleaned next year?"),
)


def chapters(*, small: bool) -> list[Chapter]:
    """Every run, in no order; those that do not end come later (`unfinished`)."""
    told = [
        *(
            _run(ago, key, RunSpec("direct", question, vaults=("research",), memory="read", seed=number))
            for number, (ago, key, question) in enumerate(CHAT)
        ),
        _run(22.6, "failed", RunSpec("direct", REFUSED, seed=1)),
        Chapter(17.3, _cancelled),
        _run(
            11.8,
            "budget",
            RunSpec(
                "best-of-n",
                _checked(MEASURED["maths"][0]),
                vaults=("maths",),
                budget=Budget(calls=2),
                config={"n": 4},
                seed=5,
            ),
        ),
        _run(10.9, "judged", RunSpec("best-of-n", "How does the tide fall in six steps?", config={"n": 3}, seed=3)),
        _run(
            10.2,
            "votes",
            RunSpec(
                "self-consistency",
                _problem("A winch takes in five lengths of cable, seven metres each. How many metres?"),
                seed=2,
            ),
        ),
        _run(9.9, "votes-many", RunSpec("self-consistency", _checked(MEASURED["maths"][1]), config={"n": 9}, seed=21)),
        *_measured(small=small),
        *_searches(small=small),
        *_puzzles(),
        *_threads(),
    ]
    known = {"direct", "best-of-n", "self-consistency", "empirical-mcts", "arcmemo", "tim"}
    return [*told, *(_plain(name) for name in registry.names() if name not in known)]


async def unfinished(service: Service, house: House) -> None:
    """Two runs that nobody has taken yet, and one that breaks off because the service closes while its model is still
    silent: the next process of this home takes all three when it starts."""
    endless = RunSpec("direct", ENDLESS, vaults=("scratch",), memory="read", seed=4)
    live = await service.foreground(endless, owner=house.owner.user_id)
    house.runs["interrupted"] = live.run_id
    # What it has read is written before the model is asked.
    await live.news(LONGEST_S)
    for key, question in (
        ("queued", "Which week was the best one for T2?"),
        ("queued-too", "Summarise the March survey."),
    ):
        spec = RunSpec("direct", question, vaults=("research",), memory="read", seed=4)
        house.runs[key] = (await service.submit(spec, owner=house.owner.user_id)).id


# -- one run -----------------------------------------------------------------------------------------------------------


def _run(ago: float, key: str, spec: RunSpec) -> Chapter:
    return Chapter(ago, partial(_execute, key=key, spec=spec))


async def _execute(house: House, key: str, spec: RunSpec) -> None:
    live = await house.service.foreground(spec, owner=house.owner.user_id)
    house.runs[key] = live.run_id
    async for _ in live.items():
        pass


async def _cancelled(house: House) -> None:
    """Somebody stops the run while the model is still silent."""
    live = await house.service.foreground(RunSpec("direct", ENDLESS, seed=1), owner=house.owner.user_id)
    house.runs["cancelled"] = live.run_id
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            partial(house.service.cancel, live.run_id, owner=house.owner.user_id, reason="it takes too long")
        )
        async for _ in live.items():
            pass


# -- what lessons are worth --------------------------------------------------------------------------------------------


def _measured(*, small: bool) -> list[Chapter]:
    """The same problems with each of two vaults: one lesson helps, one does harm, and some of every eight answers go
    without."""
    made = []
    for place, (vault, problems) in enumerate(MEASURED.items()):
        for number in range(PROBLEMS[small]):
            spec = RunSpec(
                "best-of-n",
                _checked(problems[number % len(problems)]),
                vaults=(vault,),
                memory="read",
                config={"n": UNITS},
                seed=1000 + 37 * number + 500_000 * place,
                suite="demo",
            )
            made.append(_run(12.9 - 0.2 * place - 0.4 * number, f"measured-{vault}-{number + 1}", spec))
    return made


def _checked(text: str) -> dict[str, Any]:
    return {**_problem(text), "check": dict(CHECK)}


def _problem(text: str) -> dict[str, Any]:
    return {"kind": "math", "problem": text}


# -- trees -------------------------------------------------------------------------------------------------------------


def _searches(*, small: bool) -> list[Chapter]:
    config: JsonObject = {"rollouts": ROLLOUTS[small], "stop_at": 1.0}
    spec = RunSpec("empirical-mcts", _problem(MOORINGS), vaults=("maths",), config=config, seed=7)
    other = replace(spec, input=_problem(ROUTES), config={"rollouts": 6 if small else 10, "stop_at": 1.0}, seed=11)
    return [_run(3.9, "search", spec), _run(1.6, "search-small", other)]


def _puzzles() -> list[Chapter]:
    made = []
    for ago, key, reference in ((2.9, "puzzle", FIRST), (2.1, "puzzle-learned", SECOND)):
        task = ArcRun.of(reference)
        spec = RunSpec(
            "arcmemo",
            task.sample.task,
            vaults=("arc",),
            config={"samples": 1, "retries": 1},
            seed=7,
            explore=0.0,
            suite=task.suite,
        )
        made.append(Chapter(ago, partial(_puzzle, key=key, spec=spec)))
    return made


async def _puzzle(house: House, key: str, spec: RunSpec) -> None:
    sandbox = house.service.settings.sandbox
    try:
        await anyio.to_thread.run_sync(partial(accepted, sandbox, serving=False))
    except SandboxUnavailable as error:
        house.notes.append(f"no puzzle {key!r}: {error.message}")
        return
    await _execute(house, key, spec)


def _threads() -> list[Chapter]:
    """One question, with two ways of forgetting; none without the agent."""
    if "tim" not in registry.names():
        return []
    made = []
    tools: JsonValue = ["python", "memory_search"]
    one: JsonObject = {"k": 1}
    none: JsonObject = {"k": 0, "prune_at": "list_close"}
    for ago, key, config in ((2.7, "threads", one), (1.4, "threads-short", none)):
        spec = RunSpec("tim", ROWS, vaults=("research",), memory="read", config={**config, "tools": tools}, seed=7)
        made.append(_run(ago, key, spec))
    return made


def _plain(name: str) -> Chapter:
    """A run of an agent that has come later: a question of a kind that it takes."""
    kinds = registry.get(name).spec.kinds
    inputs: Mapping[str, Any] = {
        "chat": "How far apart must the rows of turbines stand?",
        "math": _problem("A cable is cut into seven pieces of five metres. How long was it?"),
        "qa": {
            "kind": "qa",
            "question": "How far apart must the rows stand?",
            "documents": ["Keep sixteen diameters between rows."],
        },
        "code": {"kind": "code", "task": "Write a function `double(x)`.", "requirements": ["It doubles."]},
    }
    wanted = next((inputs[kind] for kind in inputs if kind in kinds), None)
    if wanted is None:
        raise MnemeError(f"agent {name!r}: the demo data has no task of its kinds {sorted(kinds)}")
    return _run(1.2, f"agent-{name}", RunSpec(name, wanted, vaults=("research",), memory="read", seed=7))
