"""The agent `arcmemo` along 25 puzzles whose store grows behind every tenth one: what is read when, one concept a name."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agents.arc_memo.wording import concept_of
from evals import report
from evals.plan import Plan
from runtime.settings import Settings
from tests.conftest import make_settings
from tests.evals.conftest import MakeLab

pytestmark = pytest.mark.anyio
NUMBERS = range(1, 26)
K = 10


def row(number: int) -> list[int]:
    """What tells the puzzle from the others."""
    return [number // 10, number % 10, 7]


def rule(purpose: str, contains: str, **said: Any) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in said.items() if name != "json"]
    told = [f"json = {said['json']}"] if "json" in said else []
    return "\n".join(
        ["[[rule]]", f'purpose = "arcmemo.{purpose}"', f"contains = {json.dumps(contains)}", *lines, *told]
    )


def script() -> str:
    """Each puzzle teaches `concept N`, and more of `turn grid`; the first of a batch are the last to be solved."""
    rules = []
    for n in NUMBERS:
        program = f"def transform(g):\n    # puzzle {n:02}\n    return [r[::-1] for r in g]"
        grid = " ".join(map(str, row(n)))
        rules += [
            rule("solve", grid, reply=f"```python\n{program}\n```", first_delay_ms=6 * (K - n % K)),
            rule("pseudocode", f"# puzzle {n:02}", json=f'{{ pseudocode = "turn {n:02}", summary = "It is turned." }}'),
            rule(
                "abstract",
                f"turn {n:02}",
                json=f'{{ concepts = [{{ name = "turn grid", kind = "routine", cues = ["cue {n:02}"] }}, '
                f'{{ name = "concept {n:02}", kind = "structure" }}] }}',
            ),
        ]
    rules.append(rule("select_concepts", "concept 03", json='{ names = ["concept 03"] }'))
    rules.append(rule("consolidate", "", json="{ cues = [], implementation = [] }"))
    return "\n".join(rules)


@pytest.fixture(scope="module")
def lab_settings(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Settings:
    home = tmp_path_factory.mktemp("growing")
    (home / "script.toml").write_text(script(), encoding="utf-8")
    shutil.copy(migrated_file, home)
    return make_settings(home, llm__model=f"scripted/{home / 'script.toml'}", llm__retries=0, runs__flush_ms=5)


def puzzles(path: Path) -> str:
    """Written down in an order that is not that of their ids, batch by batch."""
    numbers = [n for start in range(1, 26, K) for n in reversed(range(start, min(26, start + K)))]
    records = [
        {
            "id": f"p{n:02}",
            "train": [{"input": [row(n)], "output": [row(n)[::-1]]}],
            "test": [{"input": [[8, 8, 9]], "output": [[9, 8, 8]]}],
            "split": "train",
        }
        for n in numbers
    ]
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return str(path)


async def test_g_writes_are_seen_behind_every_tenth_puzzle_and_no_name_is_there_twice(
    lab: MakeLab, tmp_path: Path
) -> None:
    bench = lab(8)
    config: dict[str, Any] = {"samples": 1, "retries": 0}
    plan = Plan("arc1", "arcmemo", data=(puzzles(tmp_path / "tiny.jsonl"),), config=config, memory="continual", batch=K)
    log = await bench.run(plan)
    assert all(record.correct for record in log.records())

    seen: dict[int, set[int]] = {}
    for line in log.diary():
        if line["event"] == "copied":
            seen.setdefault(line["place"] // K, set()).add(len(line["ids"]))
    assert seen == {0: {0}, 1: {K + 1}, 2: {2 * K + 1}}, "writes come in behind 10, 20 and 25"

    cubes = await bench.cubes(f"{log.id} memory 0-0-0")
    names = Counter(cube.subject for cube in cubes)
    assert names == {"turn grid": 1} | {f"concept {n:02}": 1 for n in NUMBERS}

    # J: by the ids of the problems, whichever of them was quicker and wherever it stood in its batch.
    (shared,) = (cube for cube in cubes if cube.subject == "turn grid")
    concept = concept_of(shared)
    assert concept.used_in == tuple(f"p{n:02}" for n in NUMBERS)
    assert concept.cues == tuple(f"cue {n:02}" for n in NUMBERS)
    assert shared.tags == ("reused",)
    told = await bench.service.memory.provenance(bench.actor, shared.id)
    items = {str(each.source.uri) for each in told.sources}
    assert {f"mneme-eval:{log.id}/arc1/train/p{n:02}" for n in NUMBERS} <= items
    assert {str(record.run_id) for record in log.records()} <= items

    taught = next(cube.id for cube in cubes if cube.subject == "concept 03")
    read = {record.item_id: record.memory_ids for record in log.records()}
    assert read["p09"] == (), "problem 9 cannot select what problem 3 taught"
    assert read["p11"] == read["p25"] == (taught,), "problem 11 can"
    assert "write gate: train" in report.text(report.full(bench.home, log))

    again = await bench.run(replace(plan, vault=f"{log.id} memory 0-0-0", limit=2, batch=2))
    assert [len(line["ids"]) for line in again.diary() if line["event"] == "copied"] == [len(cubes)] * 2
    assert Counter(cube.subject for cube in await bench.cubes(f"{again.id} memory 0-0-0")) == names
