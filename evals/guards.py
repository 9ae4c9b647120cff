"""Keeps what was learned on test items out of a frozen evaluation.

A memory comes from the test split when it says so with the tag `split:test`, when one of its sources is an item of that
split or a run that answered one, or when it was made from such a memory, by copying, extracting or merging. Everything that
an evaluation writes carries such a source, and its runs carry the split in their request. Source: evaluation sheet §3.8;
ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from evals.base import Sample, Split
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


class LeakFound(MnemeError):
    """A frozen evaluation would read, or has read, what was learned on test items."""

    code = "leak_found"


class Leak(NamedTuple):
    """A memory, and why it counts as learned on the test split."""

    memory_id: str
    why: str


def label(suite: str, split: Split) -> str:
    """What the runs of an evaluation carry as their `suite`."""
    return f"{suite}/{split}"


def source_of(eval_id: str, suite: str, sample: Sample, run_id: str | None) -> Source:
    """The source of what was learned on a sample."""
    return Source("run", uri=f"mneme-eval:{eval_id}/{suite}/{sample.split}/{sample.id}", message_id=run_id)


async def refuse_leaks(memory: Memory, runs: RunStore, actor: Actor, vaults: Sequence[str]) -> None:
    """Raise `LeakFound` when one of the vaults holds a memory from the test split."""
    cubes = [cube for vault in vaults for cube in await live(memory, actor, vault)]
    refuse(await leaks(memory, runs, actor, cubes))


def refuse(found: Sequence[Leak]) -> None:
    """Raise `LeakFound` when there is any."""
    if found:
        named = "; ".join(f"{leak.memory_id} ({leak.why})" for leak in found[:NAMED])
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise LeakFound(
            f"memories of the test split: {named}{more}; a frozen evaluation must not read them: use another vault, or run "
            "it with --memory continual, which says so"
        )


async def leaks(memory: Memory, runs: RunStore, actor: Actor, cubes: Sequence[MemCube]) -> list[Leak]:
    """Those of the memories that come from the test split."""
    found: dict[str, str] = {cube.id: f"tag {TAG!r}" for cube in cubes if TAG in cube.tags}
    lineages = await memory.core.read(actor, lambda tx: {cube.id: _lineage(tx, cube) for cube in cubes})
    asked: dict[str, bool] = {}
    for id_, lineage in lineages.items():
        if lineage.tagged is not None:
            found.setdefault(id_, f"made from {lineage.tagged}, which has the tag {TAG!r}")
        for item in (ITEM.fullmatch(source.uri or "") for source in lineage.sources):
            if item is not None and item["split"] == TEST:
                found.setdefault(id_, f"source {item.group()}")
        for run_id in dict.fromkeys(run_id for source in lineage.sources for run_id in _runs(source)):
            if run_id not in asked:
                asked[run_id] = await _answered_test(runs, run_id)
            if asked[run_id]:
                found.setdefault(id_, f"source {run_id}")
    return [Leak(cube.id, found[cube.id]) for cube in cubes if cube.id in found]


class _Lineage(NamedTuple):
    """The sources of a memory and of everything that it was made from; `tagged`: one of those with the tag."""

    sources: list[Source]
    tagged: str | None


def _lineage(tx: Tx, cube: MemCube) -> _Lineage:
    told: list[Source] = []
    tagged: str | None = None
    seen, ahead = {cube.id}, [cube]
    while ahead and len(seen) < MAX_ANCESTORS:
        here = ahead.pop()
        known = explain.provenance(tx, here)
        told += [item.source for item in known.sources]
        before = {edge.dst_id for edge in known.edges if edge.type == "DERIVED_FROM" and edge.src_id == here.id}
        before |= {edge.src_id for edge in known.edges if edge.type == "MERGED_TO" and edge.dst_id == here.id}
        fresh = sorted(before - seen)
        seen.update(fresh)
        ancestors = rows.cubes(tx, fresh) if fresh else {}
        tagged = next((each.id for each in ancestors.values() if TAG in each.tags), tagged)
        ahead += ancestors.values()
    return _Lineage(told, tagged)


def _runs(source: Source) -> Iterable[str]:
    if source.kind != "run":
        return ()
    return dict.fromkeys(RUN.findall(f"{source.uri or ''} {source.message_id or ''}"))


async def _answered_test(runs: RunStore, run_id: str) -> bool:
    try:
        record = await runs.get(run_id, owner=None)
    except UnknownName:
        return False
    return (record.spec.suite or "").endswith(f"/{TEST}")
