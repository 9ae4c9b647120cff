"""The demo data as a newcomer has it: made once, small, and looked at through the service."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest

from agents import registry
from agents.base import GrowsTree
from agents.build import open_service
from agents.service import Service
from api.cli.demo_data import told
from api.demo_data import Filled, fill
from api.demo_data.asked import PROBLEMS, ROLLOUTS
from api.demo_data.house import House, StoryClock
from api.demo_data.remembered import BRANCH, SECRET, SNAPSHOT, chapters
from evals import log as logs
from evals import report
from evals.cost import Prices
from memory import reviews
from memory.admitting import secrets
from memory.graph import around_memory
from memory.listing import Where
from memory.types import Actor, MemCube, Query, SemanticType, State
from memory.vault.findings import findings
from runtime.errors import Conflict, Gone
from runtime.ids import SYSTEM
from runtime.settings import Settings
from tests.conftest import make_settings

pytestmark = pytest.mark.anyio
EVERY: tuple[State, ...] = get_args(State)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Settings:
    made = make_settings(tmp_path_factory.mktemp("house"), telemetry__log_level="ERROR")
    shutil.copy(migrated_file, made.home)
    return made


@pytest.fixture(scope="module")
def filled(home: Settings) -> Filled:
    return anyio.run(partial(fill, home, small=True))


@asynccontextmanager
async def opened(home: Settings) -> AsyncIterator[tuple[Service, Actor]]:
    async with open_service(home, take_queued=False, serving=False) as service:
        yield service, Actor((await service.keys.local()).user_id, None, admin=True)


async def every(service: Service, actor: Actor, filled: Filled) -> list[MemCube]:
    found: list[MemCube] = []
    for vault in filled.vaults.values():
        page = await service.memory.list(actor, Where(vault, states=EVERY), limit=500)
        assert page.next is None
        found += page.items
    return found


async def test_memories_of_every_type_and_state_are_there_and_the_store_agrees_with_itself(
    home: Settings, filled: Filled
) -> None:
    async with opened(home) as (service, actor):
        cubes = await every(service, actor, filled)
        states = Counter(cube.state for cube in cubes)
        assert {cube.semantic_type for cube in cubes} == {*get_args(SemanticType)}
        assert states.keys() == {*EVERY}
        by_id = {cube.id: cube for cube in cubes}
        wanted: dict[str, State] = {
            "units": "frozen",
            "retired": "archived",
            "power-old": "archived",
            "parking": "expired",
            "mistake": "deleted",
            "rejected": "deleted",
            "approved": "activated",
            "orders": "quarantined",
            "doubtful": "quarantined",
            "call": "generated",
        }
        assert {key: by_id[filled.memories[key]].state for key in wanted} == wanted
        assert {by_id[filled.memories[key]].state for key in ("coating-a", "coating-b")} == {"activated", "merged"}
        assert by_id[filled.memories["power-old"]].superseded_at is not None
        assert (await service.memory.verify(actor)).drift == ()


async def test_the_dates_are_spread_over_months_and_end_before_now(home: Settings, filled: Filled) -> None:
    async with opened(home) as (service, actor):
        cubes = await every(service, actor, filled)
        now = datetime.now(UTC)
        months = {cube.recorded_at.strftime("%Y-%m") for cube in cubes if cube.vault_id == filled.vaults["research"]}
        assert len(months) >= 5
        assert now - timedelta(days=180) < min(cube.recorded_at for cube in cubes)
        assert max(cube.updated_at for cube in cubes) <= now
        runs = [await service.get(id_, owner=None) for id_ in filled.runs.values()]
        assert max(run.created_at for run in runs) <= now
        assert [run.created_at for run in runs] == sorted(run.created_at for run in runs)


async def test_a_history_has_two_authors_and_a_restored_version(home: Settings, filled: Filled) -> None:
    async with opened(home) as (service, actor):
        history = await service.memory.history(actor, filled.memories["protocol"])
        assert [version.change for version in reversed(history)] == ["create", "edit", "edit", "edit", "restore"]
        assert {version.actor_id for version in history} == {filled.owner, filled.guest}
        assert history[0].content == history[2].content != history[1].content
        (snapshot,) = await service.memory.vaults.snapshots.page(actor, "research")
        (branch,) = await service.memory.vaults.branches.all(actor, "research")
        assert (snapshot.label, branch.name, branch.edits) == (SNAPSHOT, BRANCH, 2)


async def test_the_inbox_holds_what_a_person_must_decide(home: Settings, filled: Filled) -> None:
    async with opened(home) as (service, actor):
        states: tuple[reviews.ReviewState, ...] = ("open", "accepted", "rejected")
        items = await service.memory.core.read(actor, lambda tx: reviews.page(tx, vault="research", states=states))
        found = Counter((item.kind, item.state) for item in items)
        assert found == {
            ("quarantine", "open"): 4,
            ("conflict", "open"): 1,
            ("quarantine", "accepted"): 1,
            ("quarantine", "rejected"): 1,
        }
        assert all(item.reason for item in items if item.state == "open")
        (conflict,) = [item for item in items if item.kind == "conflict"]
        assert (conflict.memory_id, conflict.other_id) == (
            filled.memories["contradicts"],
            filled.memories["gearbox-oil"],
        )
        assert filled.refused == {
            "near duplicate": "duplicate",
            "vague": "dropped",
            "the same words": "duplicate",
            "a key in the text": "quarantined",
        }


async def test_no_secret_is_left_in_any_file_of_the_home(home: Settings, filled: Filled) -> None:
    async with opened(home) as (service, actor):
        cubes = await every(service, actor, filled)
        assert [cube.id for cube in cubes if secrets.find(cube.content)] == []
        with pytest.raises(Gone):
            await service.memory.get(actor, filled.memories["purged"])
    key = SECRET.rpartition(" ")[2].encode()
    held = [path.name for path in home.home.rglob("*") if path.is_file() and key in path.read_bytes()]
    assert held == []


async def test_grants_let_the_other_user_see_what_was_shared_and_no_more(home: Settings, filled: Filled) -> None:
    async with opened(home) as (service, actor):
        guest = Actor(filled.guest)
        names = {shown.vault.name for shown in await service.memory.vaults.list(guest, limit=50)}
        assert names == {"default", "research", "arc", "logbook"}
        assert (await service.memory.get(actor, filled.memories["hydrophone"])).created_by == filled.guest
        seen = await service.memory.list(guest, Where(filled.vaults["research"], states=EVERY), limit=500)
        assert filled.memories["visitor"] not in {cube.id for cube in seen.items}


async def test_runs_of_every_agent_and_every_end(home: Settings, filled: Filled) -> None:
    async with opened(home) as (service, actor):
        runs = {key: await service.get(id_, owner=actor.user_id) for key, id_ in filled.runs.items()}
        assert {run.agent for run in runs.values()} == {*registry.names()}
        odd = {key: run.status for key, run in runs.items() if run.status != "succeeded"}
        assert odd == {
            "failed": "failed",
            "cancelled": "cancelled",
            "budget": "budget_exhausted",
            "interrupted": "interrupted",
            "queued": "queued",
            "queued-too": "queued",
        }
        assert await service.store.steps(filled.runs["interrupted"]), "the next process goes on behind what it has read"
        search: Any = await _tree(service, filled.runs["search"])
        assert (search["kind"], len(search["nodes"])) == ("search", ROLLOUTS[True] + 1)
        threads: Any = await _tree(service, filled.runs["threads"])
        nodes = {node["path"]: node for node in threads["nodes"]}
        assert max(path.count(".") for path in nodes) == 2
        assert nodes["1.2.1"]["pruned_at"] > 0
        assert nodes["1.2.1"]["recalled"] > 0
        assert nodes["3"]["live"]
        assert {nodes[path]["tool"] for path in nodes} == {None, "memory_search", "python", "recall"}


async def _tree(service: Service, run_id: str) -> Any:
    run = await service.get(run_id, owner=None)
    agent = registry.get(run.agent)
    assert isinstance(agent, GrowsTree)
    return agent.tree(run.spec, await service.store.events(run_id, limit=100_000))


async def test_the_puzzle_is_learned_from_and_the_next_one_reads_it(home: Settings, filled: Filled) -> None:
    assert filled.notes == (), "this machine has a sandbox"
    async with opened(home) as (service, actor):
        where = Where("arc", semantic_types=("concept",), subject="lay out turned copies")
        (concept,) = (await service.memory.list(actor, where)).items
        run: Any = await service.get(filled.runs["puzzle-learned"], owner=None)
        assert run.output["detail"]["selected"] == [concept.id]


async def test_one_lesson_was_measured_to_help_and_one_to_do_harm(home: Settings, filled: Filled) -> None:
    async with opened(home) as (service, actor):
        found = {}
        for key in ("helps", "hurts"):
            uses = await service.memory.usefulness.uses(actor, filled.memories[key])
            (estimate,) = [each for each in uses.estimates if each.kind == "verifier"]
            assert (estimate.n, estimate.low is not None, estimate.high is not None) == (PROBLEMS[True], True, True)
            found[key] = estimate.effect
        assert found["helps"] > found["hurts"]


async def test_evaluations_compare_sample_by_sample(home: Settings, filled: Filled) -> None:
    rows = {log.id: report.row_of(log) for log in logs.every(home.home)}
    assert {*rows} == {*filled.evals.values()}
    assert {row["status"] for row in rows.values()} == {"complete"}
    before, after = (
        {record.item_id: record.score for record in logs.find(home.home, filled.evals[key]).records()}
        for key in ("direct", "lesson")
    )
    changes = Counter((after[item] > before[item]) - (after[item] < before[item]) for item in before)
    assert all(changes[sign] for sign in (-1, 0, 1)), "some were fixed, some broken, some are the same"
    compared = report.compared(home.home, filled.evals["direct"], filled.evals["votes"]).to_json(Prices())
    assert compared["problems"] == 12
    puzzles = rows[filled.evals["puzzles"]]
    assert 0 < puzzles["accuracy"] < 1


async def test_what_the_lesson_is_worth_is_said_by_its_controls(home: Settings, filled: Filled) -> None:
    told = report.full(home.home, logs.find(home.home, filled.evals["lesson"]), Prices())
    arms = {arm: made["id"] for arm, made in told["lift"]["arms"].items()}
    assert arms == {
        "memory": filled.evals["lesson"],
        "without": filled.evals["lesson-without"],
        "placebo": filled.evals["lesson-placebo"],
        "equal_calls": filled.evals["lesson-equal-calls"],
    }
    logged = logs.find(home.home, filled.evals["lesson"]).summary()
    assert logged is not None
    assert logged["lift"] == told["lift"], "the report was written when the controls were done"


async def test_the_vault_has_findings_of_every_kind(home: Settings, filled: Filled) -> None:
    async with opened(home) as (service, actor):
        found = await findings(service.memory.core, actor, filled.vaults["research"])
        echoes = [(pair.newer.id, pair.older.id) for pair in found.echoes]
        assert echoes == [(filled.memories["grease"], filled.memories["hub"])]
        copies = [(pair.newer.id, pair.older.id) for pair in found.duplicates]
        assert copies == [(filled.memories["site-again"], filled.memories["site"])]
        assert found.contradictions
        assert found.never_recalled


async def test_what_is_asked_is_found_and_the_graph_is_dense(home: Settings, filled: Filled) -> None:
    async with opened(home) as (service, actor):
        found = await service.memory.search(actor, Query("rated power of turbine T1", vaults=("research",)))
        assert found.degraded == ()
        assert found.hits[0].memory.id == filled.memories["power-new"]
        around = await around_memory(service.memory.core, actor, filled.memories["wake-far"], hops=2)
        assert len(around.edges) > 10
        assert {edge.type for edge in around.links} >= {"CONTRADICTS", "DERIVED_FROM", "PARENT", "RELATES"}


async def test_a_second_call_says_so_and_changes_nothing(home: Settings, filled: Filled) -> None:
    async with opened(home) as (service, actor):
        before = [(cube.id, cube.version, cube.state) for cube in await every(service, actor, filled)]
        runs = {run.id for run in (await service.store.page(actor.user_id, limit=500)).items}
    again = await fill(home, seed=8)
    assert not again.made
    assert (again.seed, again.memories, again.runs) == (7, filled.memories, filled.runs)
    async with opened(home) as (service, actor):
        assert [(cube.id, cube.version, cube.state) for cube in await every(service, actor, filled)] == before
        assert {run.id for run in (await service.store.page(actor.user_id, limit=500)).items} == runs
    assert told(again, home).startswith("This home has the demo data already; nothing was changed")
    assert told(filled, home).endswith(f"Start `mneme serve` on the home {home.home} and open http://127.0.0.1:8642/ui")


async def test_a_store_with_vaults_of_these_names_is_left_alone(settings: Settings) -> None:
    async with opened(settings) as (service, actor):
        await service.memory.vaults.create(actor, "maths")
        house = House(service, actor, actor, "ada", StoryClock(SYSTEM.now()), SYSTEM.now(), seed=7, small=True)
        first = max(chapters(seed=7, small=True), key=lambda chapter: chapter.ago)
        with pytest.raises(Conflict, match="vault 'maths': is there already"):
            await first.work(house)
        assert {shown.vault.name for shown in await service.memory.vaults.list(actor)} == {"default", "maths"}


async def test_a_database_in_use_is_left_alone(settings: Settings) -> None:
    async with opened(settings):
        with pytest.raises(Conflict, match="in use by 1 other process"):
            await fill(settings, small=True)


def test_the_clock_of_the_story_goes_forward_only() -> None:
    clock = StoryClock(datetime(2026, 1, 1, tzinfo=UTC))
    first = clock.now()
    clock.move_to(datetime(2025, 1, 1, tzinfo=UTC))
    assert clock.now() > first
    clock.move_to(SYSTEM.now())
    assert clock.now() - first > timedelta(days=1)
