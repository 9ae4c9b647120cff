"""Recall: what is found, in which order, and what is said about it, on both databases with a real index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from memory import store
from memory.core import Core
from memory.encoders.base import Role, Vectors
from memory.indices.hypergraph import Hypergraph
from memory.ranking.fusion import weights_of
from memory.ranking.looking import GRAPH_SEEDS
from memory.recall import LEXICAL, Recaller
from memory.store import NewMemory
from memory.tables import VaultRow
from memory.types import Draft
from runtime.errors import InvalidInput, UnknownName
from runtime.ids import new_id
from tests.memory.conftest import ANN, vault_id
from tests.memory.shelves import Shelf, open_shelf

pytestmark = pytest.mark.anyio


OTHER: dict[str, Any] = {
    "id": "vlt_other",
    "owner_id": ANN.user_id,
    "name": "other",
    "kind": "private",
    "default_sensitivity": [],
    "version": 1,
}


@pytest.fixture
async def shelf(core: Core, tmp_path: Path) -> AsyncIterator[Shelf]:
    async with open_shelf(core, tmp_path) as made:
        yield made


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
    await shelf.turns("s", ("Ann", "I paint lakes"), ("Bob", "Lovely"), ("Ann", "And boats"), priority=1)
    for mode in ("hybrid", "lexical", "dense"):
        for hit in (await shelf.find("What does Ann paint?", mode=mode)).hits:
            weighed = weights_of(None, mode)
            assert hit.score == pytest.approx(
                sum(weighed[n] * v for n, v in hit.scores.items() if n in weighed), abs=1e-5
            )


async def test_an_answer_is_found_through_the_question_before_it(shelf: Shelf) -> None:
    said = await shelf.turns(
        "s1", ("Bob", "What is your favourite opera?"), ("Ann", "Tosca, I hear it every year"), ("Bob", "Hm")
    )
    await shelf.turns("s2", ("Bob", "Did you sleep well?"), ("Ann", "Like a stone"))
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
    await shelf.turns("s", ("Ann", "I painted a lake"), ("Bob", "Great picture, Ann"))
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


async def test_a_search_covers_the_vaults_that_are_named(shelf: Shelf, core: Core) -> None:
    await core.write(ANN, lambda tx: tx.connection.execute(insert(VaultRow).values(**OTHER, created_at=tx.now)))
    await shelf.lab.put("heron at home")
    await shelf.lab.put("heron elsewhere", vault=OTHER["id"])
    assert await shelf.texts("heron") == ["heron at home"]
    assert await shelf.texts("heron", vaults=("other",)) == ["heron elsewhere"]
    assert set(await shelf.texts("heron", vaults=("default", OTHER["id"]))) == {"heron at home", "heron elsewhere"}
    with pytest.raises(UnknownName):
        await shelf.find("heron", vaults=("default", "vlt_unknown"))


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
