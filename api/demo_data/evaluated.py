"""The evaluations of the demo data: the same problems by two agents, with a lesson and its controls, and puzzles with grids.

They are made by the runner that `mneme eval run` uses, and read like any other. Source: ours.
"""

from __future__ import annotations

from functools import partial

import anyio.to_thread

from api.demo_data.house import Chapter, House
from api.demo_data.speaking import place_data
from evals import controls, report
from evals import log as logs
from evals.cost import Prices
from evals.hub import Hub
from evals.loading import Loader
from evals.plan import Plan
from evals.runner import Bench
from runtime.settings import Settings

JOBS = 4


def chapters(settings: Settings, *, small: bool) -> list[Chapter]:
    """Every evaluation, in no order. Raises `MnemeError` when the data of ARC is not there."""
    problems, puzzles = (str(path) for path in place_data(settings.home))
    maths = partial(Plan, "small", data=(problems,), seed=3)
    epochs = 1 if small else 3
    plans = (
        (7.0, "direct", maths(agent="direct", epochs=epochs)),
        (6.0, "votes", maths(agent="self-consistency", config={"n": 5}, epochs=epochs)),
        (5.5, "lesson", maths(agent="direct", memory="warm", vault="maths", epochs=epochs)),
        (4.5, "puzzles", Plan("arc1", "direct", data=(puzzles,), seed=3)),
    )
    return [Chapter(ago, partial(_evaluate, key=key, plan=plan)) for ago, key, plan in plans]


async def _evaluate(house: House, key: str, plan: Plan) -> None:
    """Ask everything; where memory is measured its controls as well, as `mneme eval run --controls` does."""
    home = house.service.settings.home
    bench = Bench(house.service, house.owner.user_id, JOBS)
    loader = Loader(Hub(logs.folder_of(home) / "data"), lambda _: None)
    log = await bench.run(plan, loader)
    house.evals[key] = log.id
    made = [log, *(await controls.run_controls(bench, log, loader) if plan.memory != "off" else ())]
    for one in made:
        header = await anyio.to_thread.run_sync(one.header)
        if header.control is not None:
            house.evals[f"{key}-{header.control.replace('_', '-')}"] = one.id
    # The report of an evaluation tells of its controls, so it is written when they are done.
    for one in reversed(made):
        await anyio.to_thread.run_sync(partial(report.finish, home, one, Prices()))
