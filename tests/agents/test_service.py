"""The door to runs: who executes what, what a newer release does with older runs, what ends with the process."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import pytest
from sqlalchemy import update

from agents.build import open_service
from agents.service import Service
from runtime.errors import InvalidInput, StorageError, UnknownName
from runtime.events import RunFailed
from runtime.llm.scripted_process import scripted_process
from runtime.runs import RunSpec
from runtime.settings import Settings
from runtime.tables import Run
from tests.conftest import free_port, make_settings

pytestmark = pytest.mark.anyio


async def owner(service: Service) -> str:
    return (await service.keys.local()).user_id


async def test_a_process_that_takes_no_queued_runs_leaves_them_to_the_next(settings: Settings) -> None:
    async with open_service(settings, take_queued=False) as service:
        waiting = await service.submit(RunSpec("direct", "later"), owner=await owner(service))
        live = await service.foreground(RunSpec("direct", "now"), owner=await owner(service))
        async for _ in live.items():
            pass
        await anyio.sleep(1.0)
        assert (await service.get(live.run_id, owner=None)).status == "succeeded"
        assert (await service.get(waiting.id, owner=None)).status == "queued"
    async with open_service(settings) as service:
        assert (await service.wait(waiting.id, owner=None, timeout_s=30)).status == "succeeded"


async def test_a_run_that_a_shutdown_interrupts_goes_on_in_the_next_process(settings: Settings) -> None:
    spec = RunSpec("direct", "x " * 50, config={})
    slow = settings.home / "slow.toml"
    slow.write_text('[[rule]]\nreply = "one two three four five"\ndelay_ms = 200\n')
    chosen = make_settings(settings.home, llm__model=f"scripted/{slow}")
    async with open_service(chosen) as service:
        live = await service.foreground(spec, owner=await owner(service))
        await anyio.sleep(0.5)
    assert isinstance(live.end, RunFailed)
    assert live.end.code == "interrupted"
    async with open_service(chosen) as service:
        record = await service.wait(live.run_id, owner=None, timeout_s=30)
        assert (record.status, record.attempt) == ("succeeded", 2)
        kinds = [event.type for event in await service.store.events(live.run_id)]
        assert kinds.count("llm.call") == kinds.count("run.resumed") == kinds.count("run.finished") == 1


async def test_a_caller_that_is_cancelled_while_the_run_is_kept_leaves_it_in_somebodys_hand(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_service(settings, take_queued=False) as service:
        me = await owner(service)
        create = service.store.create_started
        kept: list[str] = []

        async def create_while_cancelled(*args: Any, **given: Any) -> Any:
            asking.cancel()
            claim = await create(*args, **given)
            kept.append(claim.record.id)
            return claim

        monkeypatch.setattr(service.store, "create_started", create_while_cancelled)
        with anyio.CancelScope() as asking:
            await service.foreground(RunSpec("direct", "now"), owner=me)
        (run_id,) = kept
        assert (await service.wait(run_id, owner=me, timeout_s=10)).status == "succeeded"


async def test_waiting_for_a_run_that_has_told_something_asks_the_database_now_and_then(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_service(settings, take_queued=False) as service:
        me = await owner(service)
        run = await service.submit(RunSpec("direct", "later"), owner=me)
        get, asked = service.store.get, []

        async def counted(*args: Any, **given: Any) -> Any:
            asked.append(args)
            return await get(*args, **given)

        monkeypatch.setattr(service.store, "get", counted)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(service.wait, run.id, owner=me, timeout_s=0.6))
            await anyio.sleep(0.1)
            service.hub.notify(run.id)
        assert len(asked) < 8


@pytest.mark.parametrize("change", [{"agent_version": 99}, {"agent": "retired-agent"}])
async def test_a_run_of_another_release_fails_cleanly_instead_of_waiting_for_ever(
    settings: Settings, change: dict[str, object]
) -> None:
    async with open_service(settings, take_queued=False) as service:
        run = await service.submit(RunSpec("direct", "old"), owner=await owner(service))
        await service.db.write(lambda connection: connection.execute(update(Run).values(**change)))
    async with open_service(settings) as service:
        record = await service.wait(run.id, owner=None, timeout_s=30)
        assert record.status == "failed"
        assert record.error is not None
        assert str(next(iter(change.values()))) in str(record.error["message"])


async def test_what_the_block_raises_arrives_as_itself(settings: Settings) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_service(settings):
            raise KeyError("mine")


async def test_a_run_that_was_accepted_but_never_queued_is_found(settings: Settings) -> None:
    async with open_service(settings, take_queued=False) as service:
        me = await owner(service)
        record = await service.store.create(RunSpec("direct", "lost"), owner=me, agent_version=1, model="m")
    async with open_service(settings) as service:
        assert (await service.wait(record.id, owner=None, timeout_s=30)).status == "succeeded"


async def test_refused_runs_leave_nothing(settings: Settings) -> None:
    async with open_service(settings) as service:
        me = await owner(service)
        for spec in (RunSpec("nope", "x"), RunSpec("direct", ""), RunSpec("direct", "x", config={"a": 1})):
            with pytest.raises((InvalidInput, UnknownName)):
                await service.submit(spec, owner=me)
            with pytest.raises((InvalidInput, UnknownName)):
                await service.foreground(spec, owner=me)
        assert (await service.store.page(None)).items == []


async def test_a_queued_run_waits_for_a_model_server_that_is_coming_up(settings: Settings) -> None:
    port = free_port()
    chosen = make_settings(
        settings.home, llm__model="scripted", llm__base_url=f"http://127.0.0.1:{port}/v1", runs__model_wait_s=60.0
    )
    async with open_service(chosen) as service:
        waiting = await service.submit(RunSpec("direct", "patience"), owner=await owner(service))
        refused = await service.submit(RunSpec("direct", "never mind"), owner=await owner(service))
        await anyio.sleep(1.5)
        assert (await service.get(waiting.id, owner=None)).status == "queued"
        assert (await service.cancel(refused.id, owner=None)).status == "cancelled"
        with scripted_process(port=port):
            record = await service.wait(waiting.id, owner=None, timeout_s=30)
    assert record.status == "succeeded"
    assert record.output == {"text": "You said: patience", "finish_reason": "stop"}


async def test_a_queued_run_fails_clearly_when_no_model_server_comes_up(settings: Settings) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1"
    chosen = make_settings(
        settings.home, llm__base_url=url, llm__model="x", llm__retry_base_s=0.01, runs__model_wait_s=0.5
    )
    async with open_service(chosen) as service:
        run = await service.submit(RunSpec("direct", "alone"), owner=await owner(service))
        record = await service.wait(run.id, owner=None, timeout_s=30)
    assert (record.status, (record.error or {})["code"]) == ("failed", "model_unavailable")


async def test_a_run_that_could_not_be_claimed_because_the_database_refused_is_queued_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = make_settings(settings.home, runs__heartbeat_s=0.1)
    async with open_service(chosen) as service:
        start = service.store.start
        refusals = 2

        async def refuse(*args: Any, **given: Any) -> Any:
            nonlocal refusals
            if refusals:
                refusals -= 1
                raise StorageError("database is locked")
            return await start(*args, **given)

        monkeypatch.setattr(service.store, "start", refuse)
        run = await service.submit(RunSpec("direct", "now"), owner=await owner(service))
        assert (await service.wait(run.id, owner=None, timeout_s=30)).status == "succeeded"
        assert refusals == 0


async def test_a_queued_run_whose_process_stops_before_it_claims_it_goes_on_in_the_next(settings: Settings) -> None:
    port = free_port()
    chosen = make_settings(
        settings.home, llm__model="scripted", llm__base_url=f"http://127.0.0.1:{port}/v1", runs__model_wait_s=60.0
    )
    async with open_service(chosen) as service:
        run = await service.submit(RunSpec("direct", "patience"), owner=await owner(service))
        await anyio.sleep(1.0)
        assert (await service.get(run.id, owner=None)).status == "queued"
    with scripted_process(port=port):
        async with open_service(chosen) as service:
            assert (await service.wait(run.id, owner=None, timeout_s=20)).status == "succeeded"


async def test_an_agent_whose_options_need_more_than_the_model_can_do_is_refused_at_once(
    settings: Settings,
) -> None:
    plain = make_settings(settings.home, llm__model="openai/plain", llm__base_url=f"http://127.0.0.1:{free_port()}/v1")
    async with open_service(plain, take_queued=False) as service:
        with pytest.raises(InvalidInput, match=r"'stream'.*mode 'steps'") as error:
            await service.submit(RunSpec("tim", "Which?", config={"mode": "stream"}), owner=await owner(service))
        assert error.value.param == "config.mode"
        assert await service.submit(RunSpec("tim", "Which?"), owner=await owner(service))
