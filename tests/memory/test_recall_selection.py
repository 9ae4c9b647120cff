"""Recall: what is handed on of what was found: budget, repetitions, measured usefulness, learned weights, reranking."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy import select, update

from memory import store
from memory.core import Core
from memory.ranking import weights
from memory.ranking.fusion import WEIGHTS
from memory.ranking.learn import Sample, observed
from memory.ranking.measured import Draws
from memory.recall import Recaller
from memory.tables import AuditRow, VaultRow
from memory.types import RecallHit
from runtime.errors import ModelUnavailable, UnknownName
from tests.memory.conftest import ANN, BOB, vault_id
from tests.memory.shelves import NoGraph, Shelf, open_shelf

pytestmark = pytest.mark.anyio


@dataclass
class SetDraws:
    """Usefulness as a test wants it; remembers what it was asked."""

    effects: Mapping[str, float]
    doubts: Mapping[str, float] = field(default_factory=dict)
    asked: list[tuple[Sequence[str], int | None]] = field(default_factory=list)

    async def draws(self, vault_ids: Sequence[str], memory_ids: Sequence[str], seed: int | None) -> Draws:
        self.asked.append((tuple(vault_ids), seed))
        return Draws(self.effects, 0.1, self.doubts)


@pytest.fixture
async def shelf(core: Core, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with open_shelf(core, tmp_path) as made:
        yield made


async def test_the_budget_bounds_the_text_and_takes_what_still_fits(shelf: Shelf) -> None:
    await shelf.lab.put("heron " + "in the long, long reeds " * 10)
    await shelf.lab.put("heron here")
    assert len(await shelf.texts("heron reeds")) == 2
    found = await shelf.find("heron reeds", max_tokens=10)
    assert [hit.memory.content for hit in found.hits] == ["heron here"]
    assert found.tokens == 3


async def test_near_repetitions_give_way(shelf: Shelf) -> None:
    for place in range(3):
        await shelf.lab.put("The heron nests in the old willow.", session_id="s", position=place * 10)
    for where in ("mill", "bridge", "lake"):
        await shelf.lab.put(f"An old willow stands at the {where}")
    nests = "The heron nests in the old willow."
    repeated = await shelf.texts("heron nests old willow", mode="lexical", diverse=False)
    assert repeated[:3] == [nests] * 3
    varied = await shelf.texts("heron nests old willow", mode="lexical")
    assert varied[:2] != [nests, nests]
    assert sorted(varied) == sorted(repeated)


async def test_a_raw_memory_gives_way_to_what_was_extracted_from_it(shelf: Shelf, core: Core) -> None:
    raw = await shelf.lab.put("yesterday we saw a heron and then went home", state="generated")
    assert await shelf.texts("heron") == [raw.content]
    child = await shelf.lab.put("A heron was seen")
    await core.write(ANN, lambda tx: store.link(tx, child.id, raw.id, "DERIVED_FROM"))
    assert await shelf.texts("heron") == [child.content]
    assert raw.content in await shelf.texts("heron", states=("generated",))


async def test_without_an_experiment_the_answer_is_the_same(shelf: Shelf, core: Core) -> None:
    cubes = [await shelf.lab.put(f"heron {'reed ' * n}") for n in range(1, 5)]
    plain = await shelf.find("heron reed")
    draws = SetDraws({cubes[3].id: 5.0})
    shelf.recaller = Recaller(core, shelf.lab.spaces, NoGraph(), draws)
    assert await shelf.find("heron reed", explore=0.0) == plain
    home = await vault_id(core)
    await core.write(ANN, lambda tx: tx.connection.execute(update(VaultRow).values(explore=0.0)))
    assert await shelf.find("heron reed") == plain
    assert draws.asked == []
    await core.write(ANN, lambda tx: tx.connection.execute(update(VaultRow).values(explore=0.1)))
    draws.effects = {}
    assert await shelf.find("heron reed", seed=7) == plain
    assert draws.asked == [((home,), 7)]


WORDS = ("reed", "willow", "mill", "stone", "bridge", "lake")


async def test_doubt_moves_a_hit_by_about_a_rank_and_a_measured_effect_by_more(shelf: Shelf, core: Core) -> None:
    for n in range(1, 7):
        await shelf.lab.put("heron " + " ".join(WORDS[:n]))
    order = [hit.memory.id for hit in (await shelf.find(" ".join(WORDS), mode="lexical")).hits]
    chosen = order[4]

    async def moved(draws: SetDraws) -> tuple[int, RecallHit]:
        shelf.recaller = Recaller(core, shelf.lab.spaces, NoGraph(), draws)
        hits = (await shelf.find(" ".join(WORDS), mode="lexical", seed=1)).hits
        assert [hit.memory.id for hit in hits if hit.memory.id != chosen] == [id_ for id_ in order if id_ != chosen]
        place = next(place for place, hit in enumerate(hits) if hit.memory.id == chosen)
        return 4 - place, hits[place]

    ranks, hit = await moved(SetDraws({}, {chosen: 0.11}))
    assert 1 <= ranks <= 2
    assert hit.scores["usefulness"] > 0
    assert hit.why.endswith("helped before")
    ranks, hit = await moved(SetDraws({chosen: 0.11, "other": 1.0}))
    assert ranks == 4


async def test_a_vault_learns_its_weights_from_what_was_used(shelf: Shelf, core: Core) -> None:
    home = await vault_id(core)
    await shelf.lab.put("Ann speaks of nothing", speaker="Ann")
    await shelf.lab.put("the heron and the reed", speaker="Bob")
    samples = [Sample({"lexical": n % 5 / 5, "speaker": float(n % 2)}, used=n % 2 == 1) for n in range(400)]
    assert await weights.learn(core, ANN, "default", samples[:90]) is None
    learned = await weights.learn(core, ANN, "default", samples)
    assert learned is not None
    assert learned["speaker"] > WEIGHTS["speaker"]
    assert learned["date"] == pytest.approx(WEIGHTS["date"])
    assert await core.read(ANN, lambda tx: weights.stored(tx, [home])) == {home: learned}
    before = (await shelf.find("What says Ann of the reed?")).hits
    await core.write(ANN, lambda tx: weights.store(tx, home, {"speaker": 10.0}))
    after = (await shelf.find("What says Ann of the reed?")).hits
    assert after[0].memory.speaker == "Ann"
    assert after[0].score > 9 > before[0].score
    told = select(AuditRow.action).where(AuditRow.chain == home, AuditRow.action == "learn")
    assert await core.read(ANN, lambda tx: tx.connection.execute(told).scalars().all()) == ["learn"]
    with pytest.raises(UnknownName):
        await weights.learn(core, BOB, home, samples)


async def test_the_hits_of_a_recall_become_samples(shelf: Shelf) -> None:
    used = await shelf.lab.put("heron")
    await shelf.lab.put("heron and reed")
    recall = await shelf.find("heron")
    assert sorted(
        (s.used, s.parts == h.scores) for s, h in zip(observed(recall, {used.id}), recall.hits, strict=True)
    ) == [
        (False, True),
        (True, True),
    ]


class Backwards:
    """Likes what is last."""

    async def rerank(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        return [float(place * 100) for place in range(len(texts))]


class Broken:
    async def rerank(self, question: str, texts: Sequence[str]) -> Sequence[float]:
        raise ModelUnavailable("the reranker is down")


async def test_a_reranker_is_one_more_part_and_may_be_down(shelf: Shelf, core: Core) -> None:
    await shelf.lab.put("heron reed")
    await shelf.lab.put("heron stone")
    plain = await shelf.find("heron reed")
    shelf.recaller = Recaller(core, shelf.lab.spaces, NoGraph(), None, Backwards())
    reranked = {hit.memory.id: hit for hit in (await shelf.find("heron reed")).hits}
    last = reranked[plain.hits[-1].memory.id]
    assert last.ranks["rerank"] == 1
    assert last.score > plain.hits[-1].score
    assert last.why.endswith("1st when read with the question")
    shelf.recaller = Recaller(core, shelf.lab.spaces, NoGraph(), None, Broken())
    assert await shelf.find("heron reed") == replace(plain, degraded=("rerank",))
