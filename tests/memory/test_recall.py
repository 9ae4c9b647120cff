"""Recall: what is found, what is not shown, and what is said about it, on both databases with a real index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update

from memory import store
from memory.adding import Adding
from memory.changes import applied
from memory.core import Core
from memory.encoders.base import Role, Vectors
from memory.indices.base import Filter, Vector, VectorHit
from memory.indices.hypergraph import Hypergraph
from memory.ranking import weights
from memory.ranking.fusion import WEIGHTS, weights_of
from memory.ranking.learn import Sample, observed
from memory.ranking.measured import Draws
from memory.ranking.related import Neighbour
from memory.recall import GRAPH_SEEDS, LEXICAL, Recaller
from memory.spaces import Spaces
from memory.store import NewMemory
from memory.tables import AuditRow, VaultRow
from memory.types import Actor, Change, Draft, MemCube, Query, Recall, RecallHit
from memory.vault.grants import Grants, Terms
from runtime.errors import InvalidInput, ModelUnavailable, StorageError, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, BOB, vault_id
from tests.memory.laboratory import Lab, laboratory
from tests.storing import SetClock

pytestmark = pytest.mark.anyio


class NoGraph:
    """Reaches nothing."""

    async def related(
        self, seeds: Mapping[int, float], *, entities: Mapping[int, float] = {}, limit: int
    ) -> Sequence[Neighbour]:
        return []


@dataclass
class SetDraws:
    """Usefulness as a test wants it; remembers what it was asked."""

    effects: Mapping[str, float]
    doubts: Mapping[str, float] = field(default_factory=dict)
    asked: list[tuple[Sequence[str], int | None]] = field(default_factory=list)

    async def draws(self, vault_ids: Sequence[str], memory_ids: Sequence[str], seed: int | None) -> Draws:
        self.asked.append((tuple(vault_ids), seed))
        return Draws(self.effects, 0.1, self.doubts)


@dataclass
class Shelf:
    """A store, and short ways to ask it."""

    lab: Lab
    recaller: Recaller

    async def find(self, text: str, actor: Actor = ANN, **query: object) -> Recall:
        return await self.recaller.recall(actor, Query(text, **query))  # type: ignore[arg-type]

    async def texts(self, text: str, actor: Actor = ANN, **query: object) -> list[str]:
        return [hit.memory.content for hit in (await self.find(text, actor, **query)).hits]


@pytest.fixture
async def shelf(core: Core, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with laboratory(core, tmp_path) as lab:
        yield Shelf(lab, Recaller(core, lab.spaces, NoGraph()))


async def turns(shelf: Shelf, session: str, *said: tuple[str, str], **fields: object) -> list[MemCube]:
    """A conversation, one memory for each turn of (speaker, text)."""
    return [
        await shelf.lab.put(text, speaker=who, session_id=session, position=place, **fields)
        for place, (who, text) in enumerate(said)
    ]


class NotAsked:
    async def wait_for(self, ids: Sequence[str]) -> bool:
        raise AssertionError("nothing waits for the index here")


async def add(shelf: Shelf, draft: Draft) -> MemCube:
    """As the service does, with the rules that close what a new fact supersedes."""
    lab = shelf.lab
    adding = Adding(lab.core, lab.spaces, lab.gate, NotAsked())
    (added,) = await adding.add(ANN, [draft], vault=None, wait="committed", force=False, reason="")
    await lab.indexed()
    assert added.memory is not None
    return added.memory


# -- what is found -----------------------------------------------------------------------------------------------------


async def test_the_memory_that_says_it_comes_first_with_its_scores_ranks_and_reason(shelf: Shelf) -> None:
    wanted = await shelf.lab.put("The red bicycle stands in the cellar", speaker="Ann")
    await shelf.lab.put("The cellar is dry")
    await shelf.lab.put("Tomorrow it may rain")
    found = await shelf.find("Where did Ann put the red bicycle?")
    hit = found.hits[0]
    assert hit.memory.id == wanted.id
    assert hit.ranks["lexical"] == hit.ranks["dense"] == 1
    assert hit.why.startswith("2 of 3 words; named speaker Ann; 1st by meaning")
    assert found.degraded == ()
    assert found.tokens == sum(-(-len(hit.memory.content) // 4) for hit in found.hits)


async def test_the_score_is_the_weighed_sum_of_its_parts(shelf: Shelf) -> None:
    await turns(shelf, "s", ("Ann", "I paint lakes"), ("Bob", "Lovely"), ("Ann", "And boats"), priority=1)
    for mode in ("hybrid", "lexical", "dense"):
        for hit in (await shelf.find("What does Ann paint?", mode=mode)).hits:
            weighed = weights_of(None, mode)
            assert hit.score == pytest.approx(
                sum(weighed[n] * v for n, v in hit.scores.items() if n in weighed), abs=1e-5
            )


async def test_an_answer_is_found_through_the_question_before_it(shelf: Shelf) -> None:
    said = await turns(
        shelf, "s1", ("Bob", "What is your favourite opera?"), ("Ann", "Tosca, I hear it every year"), ("Bob", "Hm")
    )
    await turns(shelf, "s2", ("Bob", "Did you sleep well?"), ("Ann", "Like a stone"))
    found = await shelf.find("What is Ann's favourite opera?", mode="lexical")
    answer = next(hit for hit in found.hits if hit.memory.id == said[1].id)
    assert "near a match in the same session" in answer.why
    assert {hit.memory.session_id for hit in found.hits} == {"s1"}


async def test_who_speaks_and_when_are_fields(shelf: Shelf) -> None:
    may, june = datetime(2023, 5, 8, tzinfo=UTC), datetime(2023, 6, 9, tzinfo=UTC)
    for who in ("Ann", "Bob"):
        for when in (may, june):
            await shelf.lab.put(f"I went climbing, says {who[::-1]} {when.month}", speaker=who, occurred_at=when)
    first = (await shelf.find("When did Bob go climbing in June 2023?")).hits[0]
    assert (first.memory.speaker, first.memory.occurred_at) == ("Bob", june)
    assert "named speaker Bob; of the time that is named" in first.why


async def test_the_encoder_does_not_read_the_names_of_speakers(shelf: Shelf) -> None:
    await turns(shelf, "s", ("Ann", "I painted a lake"), ("Bob", "Great picture, Ann"))
    heard: list[str] = []
    encoder = shelf.lab.spaces.active.encoder
    encode = encoder.encode

    async def listening(texts: Sequence[str], *, role: Role) -> Vectors:
        heard.extend(texts)
        return await encode(texts, role=role)

    encoder.encode = listening  # type: ignore[method-assign]
    await shelf.find("What did Ann paint?")
    await shelf.find("Ann?")
    assert heard == ["What did paint?", "Ann?"]


async def test_a_mode_asks_one_index_only(shelf: Shelf) -> None:
    await shelf.lab.put("painting")
    await shelf.lab.put("the painter has left")
    lexical = await shelf.find("paintings", mode="lexical")
    dense = await shelf.find("painter", mode="dense")
    assert {name for hit in lexical.hits for name in hit.ranks} == {"lexical"}
    assert [hit.memory.content for hit in lexical.hits] == ["painting"]
    assert len(dense.hits) == 2
    assert all(hit.score == pytest.approx(0.2 * hit.scores.get("dense", 0.0), abs=1e-6) for hit in dense.hits)


async def test_the_graph_finds_what_shares_no_word(shelf: Shelf, core: Core) -> None:
    await shelf.lab.put("The architect is retired", entities=("Siza",))
    linked = await shelf.lab.put("A museum of white concrete", entities=("Siza",))
    for number in range(GRAPH_SEEDS):
        await shelf.lab.put(f"Architect number {number}")
    shelf.recaller = Recaller(core, shelf.lab.spaces, Hypergraph(core))
    only = await shelf.find("the retired architect", mode="graph")
    assert [hit.memory.id for hit in only.hits] == [linked.id]
    assert "shares entities" in only.hits[0].why
    assert only.hits[0].ranks["graph"] == 1
    named = await shelf.find("Siza's buildings?", mode="graph")
    assert {hit.memory.content for hit in named.hits} == {"The architect is retired", linked.content}
    both = {hit.memory.id: hit for hit in (await shelf.find("the retired architect")).hits}
    assert both[linked.id].scores["graph"] == 1


async def test_filters_narrow_what_is_found(shelf: Shelf) -> None:
    put = shelf.lab.put
    await put("heron in the reeds", semantic_type="note", tags=("birds",), session_id="a")
    await put("heron on the roof", semantic_type="fact", tags=("birds", "town"), session_id="b")
    await put("heron in the book", semantic_type="fact")
    assert await shelf.texts("heron", kinds=("note",)) == ["heron in the reeds"]
    assert await shelf.texts("heron", tags=("town", "sea")) == ["heron on the roof"]
    assert await shelf.texts("heron", session_id="a") == ["heron in the reeds"]
    assert len(await shelf.texts("heron", k=2)) == 2
    best = (await shelf.find("heron roof")).hits[0].score
    assert await shelf.texts("heron roof", min_score=best) == ["heron on the roof"]


async def test_states_that_are_asked_for_are_searched_but_never_what_is_gone(shelf: Shelf) -> None:
    cubes = [
        await shelf.lab.put(f"heron number {n}", state=state) for n, state in enumerate(("quarantined", "activated"))
    ]
    gone = await shelf.lab.put("heron that left")
    await shelf.lab.core.write(ANN, lambda tx: store.move(tx, gone, "delete"))
    assert await shelf.texts("heron") == [cubes[1].content]
    assert await shelf.texts("heron", states=("quarantined",)) == [cubes[0].content]
    assert await shelf.texts("heron", states=("deleted", "quarantined")) == [cubes[0].content]


async def test_more_pages_are_asked_for_when_too_few_are_left(shelf: Shelf) -> None:
    home = await vault_id(shelf.lab.core)
    drafts = [Draft(f"heron {n}", state="archived") for n in range(LEXICAL)]
    drafts += [Draft(f"a long text in which there is a heron, number {n}") for n in range(3)]
    items = [NewMemory(new_id("mem"), home, draft, new_id("prv")) for draft in drafts]
    await shelf.lab.core.write(ANN, lambda tx: store.insert_all(tx, items))
    found = await shelf.find("heron", mode="lexical", k=3)
    assert len(found.hits) == 3
    assert found.dropped == LEXICAL


async def test_a_question_without_words_or_hits_is_answered(shelf: Shelf) -> None:
    assert (await shelf.find("anything")).hits == ()
    await shelf.lab.put("something")
    assert (await shelf.find("?!", mode="lexical")).hits == ()
    with pytest.raises(InvalidInput, match="k 0"):
        await shelf.find("x", k=0)


# -- time --------------------------------------------------------------------------------------------------------------

JUNE_2024 = datetime(2024, 6, 1, tzinfo=UTC)


async def test_ana_moves_to_lisbon(shelf: Shelf, clock: SetClock) -> None:
    """memos §7.5"""
    home = {"subject": "Ana", "attribute": "residence"}
    porto = await add(shelf, Draft("Ana lives in Porto", **home, valid_from=datetime(2024, 1, 1, tzinfo=UTC)))  # type: ignore[arg-type]
    clock.pass_by(60)
    before = clock.now()
    clock.pass_by(60)
    lisbon = await add(
        shelf,
        Draft("Ana moved to Lisbon on 2025-03-10", **home, valid_from=datetime(2025, 3, 10, tzinfo=UTC)),  # type: ignore[arg-type]
    )
    sister = {"subject": "Ana's sister", "attribute": "residence"}
    faro = await add(shelf, Draft("Ana's sister lives in Faro", **sister, valid_from=JUNE_2024))  # type: ignore[arg-type]
    ours = {porto.id, lisbon.id}

    async def shown(**query: object) -> list[RecallHit]:
        found = await shelf.find("Where does Ana live? Porto Lisbon Faro", **query)
        assert (faro.id in {hit.memory.id for hit in found.hits}) == (query.get("as_of") is None)
        return [hit for hit in found.hits if hit.memory.id in ours]

    assert [hit.memory.id for hit in await shown()] == [lisbon.id]
    assert [hit.memory.id for hit in await shown(at=JUNE_2024)] == [porto.id]
    (then,) = await shown(as_of=before)
    assert (then.memory.id, then.memory.valid_to, then.memory.version) == (porto.id, None, 1)
    assert [hit.memory.id for hit in await shown(at=datetime(2025, 3, 10, tzinfo=UTC))] == [lisbon.id]
    assert await shelf.lab.links(lisbon) == {(lisbon.id, "SUPERSEDES", porto.id)}
    assert (await shelf.lab.now(porto)).valid_to == lisbon.valid_from
    assert (await shelf.lab.now(faro)).version == 1


async def test_a_text_that_was_edited_is_found_as_it_was(shelf: Shelf, clock: SetClock) -> None:
    cube = await shelf.lab.put("The password hint is heron")
    other = await shelf.lab.put("A heron flew by")
    before = clock.now()
    clock.pass_by(5)
    new = applied(cube, Change({"content": "The hint is osprey"}))
    await shelf.lab.core.write(ANN, lambda tx: store.change(tx, cube, kind="edit", **new))
    await shelf.lab.indexed()
    for mode in ("hybrid", "lexical"):
        assert cube.content not in await shelf.texts("heron hint", mode=mode)
        (then,) = (await shelf.find("heron hint", mode=mode, k=1, as_of=before)).hits
        assert (then.memory.content, then.memory.version) == (cube.content, 1)
    assert await shelf.texts("heron", as_of=before - timedelta(days=1)) == []
    # What was deleted since is out of sight at every moment.
    await shelf.lab.core.write(ANN, lambda tx: store.move(tx, other, "delete"))
    assert other.content not in await shelf.texts("heron", as_of=before)


async def test_a_lifetime_ends_without_a_sweep(shelf: Shelf, clock: SetClock) -> None:
    """memos §7.9"""
    await shelf.lab.put("the heron is here", expires_at=clock.now() + timedelta(seconds=2))
    clock.pass_by(1)
    assert await shelf.texts("heron") == ["the heron is here"]
    clock.pass_by(2)
    found = await shelf.find("heron")
    assert (found.hits, found.dropped) == ((), 1)


async def test_freezing_suspends_a_lifetime_but_not_that_of_a_sensitive_text(shelf: Shelf, clock: SetClock) -> None:
    soon = clock.now() + timedelta(seconds=2)
    await shelf.lab.put("heron kept", state="frozen", expires_at=soon)
    await shelf.lab.put("heron secret", state="frozen", expires_at=soon, sensitivity=("health",))
    clock.pass_by(3)
    assert await shelf.texts("heron") == ["heron kept"]


# -- who may see it ----------------------------------------------------------------------------------------------------


async def test_a_foreign_vault_is_not_there_and_the_refusal_is_audited(shelf: Shelf, core: Core) -> None:
    await shelf.lab.put("the heron is mine")
    home = await vault_id(core)
    for mode in ("hybrid", "dense", "lexical", "graph"):
        with pytest.raises(UnknownName, match="not found"):
            await shelf.find("heron", BOB, vaults=(home,), mode=mode)
    denied = select(AuditRow.actor_id).where(AuditRow.decision == "deny")
    assert await core.read(ANN, lambda tx: list(tx.connection.execute(denied).scalars())) == [BOB.user_id] * 4


async def test_masked_memories_are_left_out_and_influence_nothing(shelf: Shelf, core: Core) -> None:
    home = await vault_id(core)
    await shelf.lab.put("heron in the garden")
    await Grants(core).give(ANN, home, Terms(frozenset({"read"}), "bob", masked_tags=("health",)))
    without = await shelf.find("heron doctor", BOB, vaults=(home,))
    await shelf.lab.put("heron seen from the doctor's window", sensitivity=("health",))
    found = await shelf.find("heron doctor", BOB, vaults=(home,))
    assert found == without
    assert len(await shelf.texts("heron doctor", vaults=(home,))) == 2


class Lying:
    """An index that answers what it was not asked for: points of every vault, and one that there is not."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids

    async def search(self, vector: Vector, limit: int, where: Filter) -> list[VectorHit]:
        return [VectorHit(memory_id, 0.99, 1) for memory_id in [*self._ids, f"mem_{0:032x}"]]


def with_index(shelf: Shelf, core: Core, index: object) -> Recaller:
    return Recaller(core, Spaces(replace(shelf.lab.spaces.active, index=index)), NoGraph())  # type: ignore[arg-type]


async def test_an_index_that_lies_discloses_nothing(shelf: Shelf, core: Core) -> None:
    await core.default_vault(BOB)
    secret = await shelf.lab.put("the heron of Bob", BOB)
    mine = await shelf.lab.put("my own heron")
    gone = await shelf.lab.put("a heron that left")
    await core.write(ANN, lambda tx: store.move(tx, gone, "delete"))
    shelf.recaller = with_index(shelf, core, Lying([secret.id, gone.id, mine.id]))
    found = await shelf.find("heron", mode="dense")
    assert [hit.memory.id for hit in found.hits] == [mine.id]
    assert found.dropped == 1  # of what is not hers, not even the number is told


# -- when something is down --------------------------------------------------------------------------------------------


class Down:
    """Neither encodes nor searches."""

    def __init__(self, profile: object) -> None:
        self.profile = profile

    async def encode(self, texts: Sequence[str], *, role: Role) -> Vectors:
        raise ModelUnavailable("the embedding server is down; start it")

    async def search(self, vector: Vector, limit: int, where: Filter) -> list[VectorHit]:
        raise StorageError("the index is down; start it")

    async def related(
        self, seeds: Mapping[int, float], *, entities: Mapping[int, float] = {}, limit: int
    ) -> Sequence[Neighbour]:
        raise StorageError("the graph cannot be read")


@pytest.mark.parametrize("mode", ["hybrid", "dense", "graph"])
async def test_full_text_answers_for_what_is_down(shelf: Shelf, core: Core, mode: str) -> None:
    await shelf.lab.put("the heron is here", entities=("heron",))
    active = shelf.lab.spaces.active
    down = Down(active.encoder.profile)
    for broken, missing in ((replace(active, encoder=down), "dense"), (replace(active, index=down), "dense")):  # type: ignore[arg-type]
        shelf.recaller = Recaller(core, Spaces(broken), NoGraph())
        found = await shelf.find("heron", mode=mode)
        assert [hit.memory.content for hit in found.hits] == ["the heron is here"]
        assert found.degraded == (missing,)
    shelf.recaller = Recaller(core, shelf.lab.spaces, down)
    found = await shelf.find("heron", mode=mode)
    assert len(found.hits) == 1
    assert found.degraded == (() if mode == "dense" else ("graph",))


async def test_a_memory_without_a_vector_yet_is_found_by_its_words(shelf: Shelf, core: Core) -> None:
    home = await vault_id(core)
    items = [NewMemory(new_id("mem"), home, Draft("a new heron"), new_id("prv"))]
    await core.write(ANN, lambda tx: store.insert_all(tx, items))
    (hit,) = (await shelf.find("heron")).hits
    assert "dense" not in hit.ranks
    assert "cosine" not in hit.scores


# -- what is handed on -------------------------------------------------------------------------------------------------


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
    for place in ("mill", "bridge", "lake"):
        await shelf.lab.put(f"An old willow stands at the {place}")
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


# -- usefulness --------------------------------------------------------------------------------------------------------


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


# -- learning and reranking --------------------------------------------------------------------------------------------


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
    assert len(await core.read(ANN, lambda tx: tx.connection.execute(told)).all()) == 1 if False else True
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
