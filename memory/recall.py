"""Recall: scope → candidates per index → fuse → late check → near-repetitions → token budget.

Access is decided first, in the transaction that reads the candidates. An index answers ids and scores and is believed in
nothing else: every hit is looked at again in SQL. What cannot be asked is named in `degraded`, and full text answers.
Source: memos §3.2; design storage §4, §4b; design usefulness, "Use".
"""

from __future__ import annotations

from memory import access, rows
from memory.core import Core
from memory.indices import lexical
from memory.indices.base import Filter, VectorHit
from memory.lifecycle import lifetime_over
from memory.ranking.measured import Measured
from memory.ranking.related import Related
from memory.spaces import Spaces
from memory.tx import Tx
from memory.types import SEARCHABLE, Actor, MemCube, Query, Recall, RecallHit
from runtime.errors import ModelError, StorageError
from runtime.llm.estimate import estimate_tokens

PER_INDEX = 100


class Recaller:
    """Finds memories for one question at a time; keeps no state between them."""

    def __init__(self, core: Core, spaces: Spaces, graph: Related, measured: Measured | None = None) -> None:
        self._core = core
        self._spaces = spaces
        self._graph = graph
        self._measured = measured

    async def recall(self, actor: Actor, query: Query) -> Recall:
        """The memories that fit the question best, at most `query.k`. Raises `UnknownName`, `Forbidden`."""

        def first(tx: Tx) -> tuple[list[access.Access], list[lexical.LexicalHit]]:
            allowed = access.vaults(tx, query.vaults, "read")
            ids = [item.vault.id for item in allowed]
            return allowed, lexical.search(tx.connection, query.text, ids, PER_INDEX)

        allowed, found = await self._core.read(actor, first)
        masks = {item.vault.id: item for item in allowed}
        degraded: list[str] = []
        dense: list[VectorHit] = []
        if query.mode != "lexical":
            try:
                where = Filter(tuple(masks), SEARCHABLE, query.kinds, query.tags, query.session_id)
                dense = await self._spaces.nearest(query.text, PER_INDEX, where)
            except (ModelError, StorageError):
                degraded.append("dense")

        def second(tx: Tx) -> list[MemCube]:
            there = rows.cubes(tx, [hit.memory_id for hit in dense]) if dense else {}
            there |= {cube.id: cube for cube in rows.cubes_by_seq(tx, [hit.seq for hit in found]).values()}
            return list(there.values())

        cubes = await self._core.read(actor, second)
        now = self._core.clock.now()
        lexical_rank = {hit.seq: (rank, hit.text_score + hit.fields_score) for rank, hit in enumerate(found, 1)}
        dense_rank = {hit.memory_id: (rank, hit.score) for rank, hit in enumerate(dense, 1)}
        hits: list[RecallHit] = []
        dropped = 0
        for cube in cubes:
            seen = masks.get(cube.vault_id)
            fits = (
                seen is not None
                and seen.sees(cube.sensitivity)
                and cube.state in (query.states or SEARCHABLE)
                and not lifetime_over(cube.state, cube.expires_at, cube.sensitivity, now)
                and (not query.kinds or cube.semantic_type in query.kinds)
                and (not query.tags or set(query.tags) & set(cube.tags))
                and (query.session_id is None or cube.session_id == query.session_id)
            )
            if not fits:
                dropped += 1
                continue
            scores, ranks, total = {}, {}, 0.0
            for name, ranked in (("lexical", lexical_rank.get(cube.seq)), ("dense", dense_rank.get(cube.id))):
                if ranked is not None:
                    ranks[name], scores[name] = ranked
                    total += 1 / (20 + ranked[0])
            hits.append(RecallHit(cube, total, scores, ranks, ", ".join(f"{n}: {r}." for n, r in ranks.items())))
        hits.sort(key=lambda hit: (-hit.score, hit.memory.id))
        kept: list[RecallHit] = []
        tokens = 0
        for hit in hits[: query.k]:
            cost = estimate_tokens(hit.memory.content)
            if query.max_tokens is not None and tokens + cost > query.max_tokens:
                continue
            tokens += cost
            kept.append(hit)
        return Recall(tuple(kept), tuple(degraded), dropped, tokens)
