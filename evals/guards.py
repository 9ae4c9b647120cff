"""Keeps what was learned on test items out of a frozen evaluation.

A memory comes from the test split when it says so with the tag `split:test`, when one of its sources is an item of that
split or a run that answered one, or when it was made from such a memory, by copying, extracting or merging. Everything that
an evaluation writes carries such a source, and its runs carry the split in their request.

Where an id names the same problem in every data set (`SuiteSpec.by_id`), a memory of a problem that is asked is kept out as
well, whatever split it was learned on: its source, or what it was made from, ends in the id, its data names it, or the run
that wrote it was asked the very same. Source: evaluation sheet §2, §3.8; ArcMemo sheet §3.2; ours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from pydantic import JsonValue

from evals.base import Sample, Split, SuiteSpec
from evals.plan import Plan
from evals.vaults import live
from memory import explain, rows
from memory.service import Memory
from memory.tx import Tx
from memory.types import Actor, MemCube, Source
from runtime.errors import MnemeError, UnknownName
from runtime.runs import RunStore

TAG: Final = "split:test"
TEST: Final[Split] = "test"
ITEM: Final = re.compile(r"mneme-eval:evl_[0-9a-f]{32}/[^/]+/(?P<split>[^/]+)/.*", re.DOTALL)
RUN: Final = re.compile(r"run_[0-9a-f]{32}")
# Lines of a lineage longer than this are not followed further.
MAX_ANCESTORS: Final = 10_000
NAMED: Final = 5
# What stands before an id, in the URI of a source or in the data of a memory: `arc1:`, `…/test/`.
BEFORE_ID: Final = re.compile(r"[/:#]")


class LeakFound(MnemeError):
    """A frozen evaluation would read, or has read, what was learned on test items."""

    code = "leak_found"


class Leak(NamedTuple):
    """A memory, and why it counts as learned on the test split."""

    memory_id: str
    why: str


class Asked(NamedTuple):
    """The problems of which an evaluation must not read a memory: their ids, and what is asked as JSON."""

    ids: frozenset[str] = frozenset()
    inputs: frozenset[str] = frozenset()


NOTHING: Final = Asked()


def asked_of(plan: Plan, spec: SuiteSpec, samples: Iterable[Sample]) -> Asked:
    """What must not be remembered: all that a frozen evaluation asks, and the test items of one whose store grows; another
    pass over training items may begin with what the first has learned."""
    if not spec.by_id:
        return NOTHING
    held = [sample for sample in samples if plan.memory == "warm" or sample.split == TEST]
    return Asked(frozenset(sample.id for sample in held), frozenset(_canonical(sample.task) for sample in held))


def label(suite: str, split: Split) -> str:
    """What the runs of an evaluation carry as their `suite`."""
    return f"{suite}/{split}"


def source_of(eval_id: str, suite: str, sample: Sample, run_id: str | None) -> Source:
    """The source of what was learned on a sample."""
    return Source("run", uri=f"mneme-eval:{eval_id}/{suite}/{sample.split}/{sample.id}", message_id=run_id)


async def refuse_leaks(
    memory: Memory, runs: RunStore, actor: Actor, vaults: Sequence[str], asked: Asked = NOTHING
) -> None:
    """Raise `LeakFound` when one of the vaults holds a memory from the test split, or of a problem that is asked."""
    cubes = [cube for vault in vaults for cube in await live(memory, actor, vault)]
    refuse(await leaks(memory, runs, actor, cubes, asked))


def refuse(found: Sequence[Leak]) -> None:
    """Raise `LeakFound` when there is any."""
    if found:
        named = "; ".join(f"{leak.memory_id} ({leak.why})" for leak in found[:NAMED])
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise LeakFound(
            f"memories of the test split: {named}{more}; an evaluation must not begin with them: use another vault, or "
            "delete them"
        )


async def leaks(
    memory: Memory, runs: RunStore, actor: Actor, cubes: Sequence[MemCube], asked: Asked = NOTHING
) -> list[Leak]:
    """Those of the memories that come from the test split, or from a problem that is asked."""
    found: dict[str, str] = {cube.id: f"tag {TAG!r}" for cube in cubes if TAG in cube.tags}
    lineages = await memory.core.read(actor, lambda tx: {cube.id: _lineage(tx, cube) for cube in cubes})
    answered: dict[str, str | None] = {}
    for id_, lineage in lineages.items():
        if lineage.tagged is not None:
            found.setdefault(id_, f"made from {lineage.tagged}, which has the tag {TAG!r}")
        for item in (ITEM.fullmatch(source.uri or "") for source in lineage.sources):
            if item is not None and item["split"] == TEST:
                found.setdefault(id_, f"source {item.group()}")
        for problem in sorted(lineage.problems & asked.ids):
            found.setdefault(id_, f"of the problem {problem!r}, which is asked")
        for run_id in dict.fromkeys(run_id for source in lineage.sources for run_id in _runs(source)):
            if run_id not in answered:
                answered[run_id] = await _what_was_asked(runs, run_id, asked)
            if (why := answered[run_id]) is not None:
                found.setdefault(id_, f"source {run_id}{why}")
    return [Leak(cube.id, found[cube.id]) for cube in cubes if cube.id in found]


class _Lineage(NamedTuple):
    """The sources of a memory and of everything that it was made from; `tagged`: one of those with the tag; `problems`: the
    ids that all of them name."""

    sources: list[Source]
    tagged: str | None
    problems: set[str]


def _lineage(tx: Tx, cube: MemCube) -> _Lineage:
    told: list[Source] = []
    tagged: str | None = None
    problems: set[str] = set()
    seen, ahead = {cube.id}, [cube]
    while ahead and len(seen) < MAX_ANCESTORS:
        here = ahead.pop()
        problems |= _problems(here)
        known = explain.provenance(tx, here)
        told += [item.source for item in known.sources]
        before = {edge.dst_id for edge in known.edges if edge.type == "DERIVED_FROM" and edge.src_id == here.id}
        before |= {edge.src_id for edge in known.edges if edge.type == "MERGED_TO" and edge.dst_id == here.id}
        fresh = sorted(before - seen)
        seen.update(fresh)
        ancestors = rows.cubes(tx, fresh) if fresh else {}
        tagged = next((each.id for each in ancestors.values() if TAG in each.tags), tagged)
        ahead += ancestors.values()
    return _Lineage(told, tagged, problems | {_last(source.uri) for source in told if source.uri})


def _problems(cube: MemCube) -> set[str]:
    """The problems that the data of a memory names (memory/payloads.py)."""
    used, keys = cube.data.get("used_in"), cube.data.get("keys")
    named = [cube.data.get("source"), *(used if isinstance(used, list) else [])]
    named += [key.get("problem_id") for key in (keys if isinstance(keys, list) else []) if isinstance(key, dict)]
    return {_last(name) for name in named if isinstance(name, str)}


def _last(name: str) -> str:
    return BEFORE_ID.split(name)[-1]


def _canonical(value: JsonValue) -> str:
    """A task as text, without the name that it may carry."""
    told = {key: item for key, item in value.items() if key != "id"} if isinstance(value, dict) else value
    return json.dumps(told, sort_keys=True)


def _runs(source: Source) -> Iterable[str]:
    if source.kind != "run":
        return ()
    return dict.fromkeys(RUN.findall(f"{source.uri or ''} {source.message_id or ''}"))


async def _what_was_asked(runs: RunStore, run_id: str, asked: Asked) -> str | None:
    """Why what the run has learned must not be read; None when it may."""
    try:
        spec = (await runs.get(run_id, owner=None)).spec
    except UnknownName:
        return None
    if (spec.suite or "").endswith(f"/{TEST}"):
        return ""
    return ", which was asked the same" if asked.inputs and _canonical(spec.input) in asked.inputs else None
