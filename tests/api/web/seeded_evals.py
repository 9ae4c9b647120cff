"""Evaluations in the home of a running service, for the tests of their pages."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
from pydantic import JsonValue

from evals import log as logs
from evals import report
from evals.base import Sample
from evals.log import LogWriter
from evals.plan import Plan
from evals.records import Record
from runtime.db import open_database
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.settings import Settings
from runtime.types import JsonObject
from tests.api.conftest import Served
from tests.evals.making import header, record

MARKUP = "<script>document.title='taken over'</script>"
TASK: JsonObject = {"kind": "arc", "train": [{"input": [[1, 2]], "output": [[2, 1]]}], "test": [{"input": [[3, 4]]}]}
RIGHT: JsonValue = [[[4, 3]]]


async def user_id(settings: Settings, name: str) -> str:
    database = open_database(settings)
    try:
        return await KeyStore(database, SYSTEM).user_id(name)
    finally:
        await database.aclose()


def problems(*items: str) -> list[Sample]:
    return [Sample(item, "one", {"kind": "math", "problem": f"What is {item}?"}, "1") for item in items]


def kept(
    served: Served,
    number: int,
    samples: Sequence[Sample],
    records: Sequence[Record],
    *,
    user: str = "local",
    plan: Plan | None = None,
    **fields: Any,
) -> str:
    """An evaluation on disk with its summary; its id."""
    # In a thread, because the browser of a test keeps a loop in this one.
    with ThreadPoolExecutor(1) as thread:
        owner = thread.submit(anyio.run, user_id, served.settings, user).result()
    plan = plan or Plan("small", "direct")
    head = header(len(records), id_=number, owner=owner, plan=plan, samples=len(samples), **fields)
    folder = logs.create(served.settings.home, head, samples)
    with LogWriter(folder) as log:
        for one in records:
            log.add(one)
    report.finish(served.settings.home, logs.Log(folder))
    return head.id


def scored(scores: str, **fields: Any) -> list[Record]:
    """A record for each character of `scores`, `1` right and `0` wrong, of the problems a, b, c, …"""
    return [
        record(item, float(score), suite="small", **fields) for item, score in zip("abcdefgh", scores, strict=False)
    ]


class Evals:
    """With memory and its three controls, a puzzle, one whose every text is markup, and one of somebody else."""

    def __init__(self, served: Served) -> None:
        asked = problems(*"abcdefgh")
        warm = Plan("small", "direct", memory="warm")
        self.memory = kept(served, 1, asked, scored("11111110"), plan=warm)
        for number, control, scores in (
            (2, "without", "00000001"),
            (3, "placebo", "00000011"),
            (4, "equal_calls", "1000001"),
        ):
            kept(served, number, asked, scored(scores), control_of=self.memory, control=control)
        self.without = f"evl_{2:032x}"
        puzzle = record("p", 0.0, suite="arc1", how="grid", answer="[]", parts={"attempts": [[[[4, 4]]]]})
        self.puzzle = kept(served, 5, [Sample("p", "one", TASK, RIGHT)], [puzzle], plan=Plan("arc1", "direct"))
        task: JsonObject = {"kind": "math", "problem": MARKUP}
        texts = {"answer": MARKUP, "output": MARKUP, "detail": MARKUP, "error": MARKUP, "stop_reason": "failed"}
        hostile = record(MARKUP, 0.0, suite="small", set=MARKUP, model=MARKUP, **texts)
        source = {
            "name": MARKUP,
            "source": MARKUP,
            "licence": MARKUP,
            "split": "test",
            "records": 1,
            "asked": 1,
            "sha256": "d",
        }
        self.hostile = kept(served, 6, [Sample(MARKUP, MARKUP, task, MARKUP)], [hostile], sets=(source,))
        self.anns = kept(served, 7, asked, scored("11"), user="ann")
