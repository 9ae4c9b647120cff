"""How a vault ranks: by the defaults, or by what it has learned from which hits were used. Source: ours; contract §4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import AfterValidator, Field
from starlette.responses import Response

from api.acting import ReadsMemory, TheMemory, WritesMemory
from api.answers import json_response
from api.idempotency import Idempotent
from api.openai.wire import Strict
from api.route import Route
from api.routes.documented import Documented, answers
from api.routes.memory_fields import MAX_ASKED, VaultRef, storable_text
from memory.ranking.fusion import WEIGHTS
from memory.ranking.teaching import LearnedRanking, Used

# Below the prefix of api/routes/vaults.py.
router = APIRouter(prefix="/{vault}/ranking", route_class=Route)
# Each of them is a search.
MAX_USES: Final = 500
MAX_USED: Final = 200


class UsedHits(Strict):
    """A question, and the ids of the memories that were used for it."""

    query: Annotated[str, Field(min_length=1, max_length=MAX_ASKED), AfterValidator(storable_text)]
    # Ids are compared with those of the hits and nothing else, so one of somebody else's is as good as one that never was.
    used: list[Annotated[str, Field(min_length=1, max_length=100)]] = Field(min_length=1, max_length=MAX_USED)

    def use(self) -> Used:
        return Used(self.query, frozenset(self.used))


class TeachRequest(Strict):
    """`PUT /api/vaults/{vault}/ranking`."""

    uses: list[UsedHits] = Field(min_length=1, max_length=MAX_USES)


class RankingBody(Documented):
    """`weights`: by part of the score, what the vault has learned; null: it ranks with `defaults`."""

    weights: dict[str, float] | None
    learned: bool
    defaults: dict[str, float]


class RankingLearned(Documented):
    """What came of it. `weights` null: nothing was learned and the vault ranks as before; `why` says what is missing.

    `samples`: hits that were looked at; `used`: those of them that were used; `left_out`: questions that told nothing,
    because none of what was used was found again, or not every index could be asked.
    """

    weights: dict[str, float] | None
    learned: bool
    samples: int
    used: int
    left_out: int
    why: str


@router.get("", responses=answers(RankingBody, 404))
async def get_ranking(vault: VaultRef, memory: TheMemory, actor: ReadsMemory) -> Response:
    """How the vault ranks."""
    return json_response(ranking_body(await memory.teaching.learned(actor, vault)))


@router.put("", responses=answers(RankingLearned, 404, 409, 413, 415))
async def teach_ranking(
    vault: VaultRef, body: TeachRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Learn weights from which hits were used, in place of what was learned before. Every question is asked again: a search
    each, and a read each on a grant that counts them."""

    async def work() -> Response:
        learned = await memory.teaching.learn(actor, vault, [each.use() for each in body.uses])
        return json_response(learned_body(learned))

    return await once(actor.user_id, work)


@router.delete("", responses=answers(RankingBody, 404, 409))
async def forget_ranking(vault: VaultRef, memory: TheMemory, actor: WritesMemory, once: Idempotent) -> Response:
    """Rank with the defaults again."""

    async def work() -> Response:
        await memory.teaching.forget(actor, vault)
        return json_response(ranking_body(None))

    return await once(actor.user_id, work)


def ranking_body(weights: Mapping[str, float] | None) -> dict[str, Any]:
    """What a vault has learned."""
    return {
        "weights": None if weights is None else dict(weights),
        "learned": weights is not None,
        "defaults": dict(WEIGHTS),
    }


def learned_body(learned: LearnedRanking) -> dict[str, Any]:
    """What came of teaching."""
    return {
        "weights": None if learned.weights is None else dict(learned.weights),
        "learned": learned.weights is not None,
        "samples": learned.samples,
        "used": learned.used,
        "left_out": learned.left_out,
        "why": learned.why,
    }
