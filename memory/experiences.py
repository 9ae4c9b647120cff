"""Experiences found again by the questions that they came from.

An experience carries its questions as keys (memory/payloads.py), which full text knows. Both indexes name candidates; what
counts then is an exact cosine: of the question with the keys, or also with the text. Several methods may keep experiences
in one vault: a tag parts them, and nobody finds those of another method. Source: empirical_mcts §3.7, §3.10; design
usefulness, "Use"; ours.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from memory import access, rows
from memory.access import Access
from memory.core import Core
from memory.encoders.base import Encoder, Role
from memory.indices import lexical
from memory.indices.base import Filter
from memory.measuring.usefulness import Usefulness
from memory.payloads import names
from memory.ranking.ranking import moved
from memory.ranking.scope import Scope
from memory.spaces import Space, Spaces
from memory.tx import Tx
from memory.types import Actor, MemCube, Query, RecallHit
from memory.vault.grants import count_reads
from runtime.errors import ModelError, SettingsError, StorageError
from runtime.telemetry import get_logger

By = Literal["key", "key_or_text"]
Vector = NDArray[np.float32]
# So many at least each index may name; full text does not know which of them are experiences.
BY_WORDS: Final = 200
BY_MEANING: Final = 64
# Of two texts that are so close the second says nothing new.
SAME: Final = 0.95
KEPT_VECTORS: Final = 8192

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for. `by`: what the question is compared with; `threshold`: hits below this cosine are left out.

    `distinct`: of texts that say the same only the best. `measured`: measured usefulness moves the hits, with a `seed` by a
    draw from its doubt; the threshold stays one of the cosine.
    """

    question: str
    method: str
    vaults: tuple[str, ...] = ()
    k: int = 5
    by: By = "key_or_text"
    threshold: float = -1.0
    distinct: bool = True
    measured: bool = True
    seed: int | None = None


class Experiences:
    """See the module; reached as `Memory.experiences`."""

    def __init__(self, core: Core, spaces: Spaces, usefulness: Usefulness) -> None:
        self._core = core
        self._spaces = spaces
        self._usefulness = usefulness
        self._vectors: OrderedDict[tuple[str, Role, str], Vector] = OrderedDict()

    async def find(self, actor: Actor, wanted: Wanted) -> list[RecallHit]:
        """The experiences that fit the question best, at most `k`, best first; ties go to the older one.

        Nothing while the encoder cannot be asked. Raises `UnknownName` and `Forbidden` for a vault that may not be read.
        """
        space = self._spaces.active
        await self._core.default_vault(actor)
        allowed = await self._core.read(actor, lambda tx: access.vaults(tx, wanted.vaults, "read"))
        try:
            me = (await self._encoded(space.encoder, [wanted.question], "query"))[wanted.question]
            cubes = await self._candidates(actor, wanted, space, me, allowed)
            hits = await self._scored(wanted, space.encoder, me, cubes)
        except (ModelError, SettingsError) as error:
            log.warning("memory.experiences_without_encoder", code=error.code, error=error.message)
            return []
        await count_reads(self._core, actor, allowed)
        if wanted.measured and hits:
            vaults = sorted({hit.memory.vault_id for hit in hits})
            hits = moved(hits, await self._usefulness.draws(vaults, [hit.memory.id for hit in hits], wanted.seed))
        hits.sort(key=lambda hit: (-hit.score, hit.memory.seq))
        return hits[: wanted.k]

    async def _candidates(
        self, actor: Actor, wanted: Wanted, space: Space, me: Vector, allowed: Sequence[Access]
    ) -> list[MemCube]:
        query = Query(wanted.question, kinds=("experience",), tags=(tag_of(wanted.method),))
        vault_ids = tuple(item.vault.id for item in allowed)
        where = Filter(vault_ids, semantic_types=query.kinds, tags=query.tags)
        more = max(1, wanted.k // 10)
        try:
            near = [hit.memory_id for hit in await space.index.search(me, more * BY_MEANING, where)]
        except StorageError as error:
            log.warning("memory.experiences_without_index", error=error.message)
            near = []

        def work(tx: Tx) -> list[MemCube]:
            scope = Scope({item.vault.id: item for item in allowed}, query, tx.now)
            said = lexical.search(tx.connection, wanted.question, vault_ids, more * BY_WORDS)
            found = rows.cubes_by_seq(tx, [hit.seq for hit in said])
            known = {cube.id: cube for cube in found.values()} | rows.cubes(tx, near)
            return [cube for cube in known.values() if scope.sees(cube)]

        return await self._core.read(actor, work)

    async def _scored(self, wanted: Wanted, encoder: Encoder, me: Vector, cubes: Sequence[MemCube]) -> list[RecallHit]:
        keys = [names(cube.semantic_type, cube.data) for cube in cubes]
        questions = await self._encoded(encoder, [key for each in keys for key in each], "query")
        texts: dict[str, Vector] = {}
        if wanted.by == "key_or_text" or wanted.distinct:
            texts = await self._encoded(encoder, [cube.content for cube in cubes], "doc")
        hits: list[RecallHit] = []
        for cube, mine in zip(cubes, keys, strict=True):
            scores = {"key": max((float(me @ questions[key]) for key in mine), default=-1.0)}
            if wanted.by == "key_or_text":
                scores["text"] = float(me @ texts[cube.content])
            best = max(scores, key=lambda name: scores[name])
            if scores[best] >= wanted.threshold:
                why = f"{'came from a question like this' if best == 'key' else 'speaks of this'} ({scores[best]:.2f})"
                hits.append(RecallHit(cube, scores[best], scores, {}, why))
        hits.sort(key=lambda hit: (-hit.score, hit.memory.seq))
        return _distinct(hits, texts) if wanted.distinct else hits

    async def _encoded(self, encoder: Encoder, texts: Sequence[str], role: Role) -> dict[str, Vector]:
        slug = encoder.profile.slug
        known = {text: self._vectors[slug, role, text] for text in texts if (slug, role, text) in self._vectors}
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known |= dict(zip(new, await encoder.encode(new, role=role), strict=True))
        for text, vector in known.items():
            self._vectors[slug, role, text] = vector
            self._vectors.move_to_end((slug, role, text))
        while len(self._vectors) > KEPT_VECTORS:
            self._vectors.popitem(last=False)
        return known


def tag_of(method: str) -> str:
    """The tag of the experiences of a method."""
    return f"method:{method}"


def _distinct(hits: Sequence[RecallHit], texts: dict[str, Vector]) -> list[RecallHit]:
    kept: list[RecallHit] = []
    for hit in hits:
        mine = texts[hit.memory.content]
        if all(float(mine @ texts[other.memory.content]) < SAME for other in kept):
            kept.append(hit)
    return kept
