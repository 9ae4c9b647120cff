"""The model server's life, with a stand-in for vLLM: shared, restarted, given up, stopped with whoever started it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from gpu.running import RunFolder
from gpu.server import ModelServer
from gpu.server_state import ServerState, Timing
from runtime.errors import EngineError
from runtime.settings import EngineSettings, Settings

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
QUICK = Timing(poll_s=0.05, backoff_s=0.05, backoff_max_s=0.2, unhealthy_s=0.7, grace_s=0.2, give_up_after=3)
Eventually = Callable[..., Awaitable[None]]

# Another service process: brings the server up, says who it is, and lives until it is killed.
OTHER = """
import sys, anyio
from gpu.server import ModelServer
from gpu.server_state import Timing
from runtime.settings import EngineSettings, Settings
home, port, *command = sys.argv[1:]
async def main():
    settings = Settings(home=home, engine=EngineSettings(port=int(port), ready_timeout_s=10))
    timing = Timing(poll_s=0.05, backoff_s=0.05, grace_s=0.2)
    async with ModelServer(settings, command=command, timing=timing) as server:
        await server.wait_ready()
        print("owner" if server.state.owner else "shared", server.state.pid, flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


@contextmanager
def other_process(fake: Any) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", OTHER, str(fake.settings.home), str(fake.port), *fake.command]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=env, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def said_by(process: subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stdout is not None
    role, pid = process.stdout.readline().split()
    return role, int(pid)


def read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def server_of(fake: Any, states: list[ServerState] | None = None, *extra: str) -> ModelServer:
    on_state = None if states is None else states.append
    return ModelServer(fake.settings, command=[*fake.command, *extra], timing=QUICK, on_state=on_state)


async def test_start_returns_at_once_and_the_server_becomes_ready(fake: Any) -> None:
    states: list[ServerState] = []
    server = server_of(fake, states)
    await server.start()
    assert [s.phase for s in states] == ["starting"]
    assert await server.wait_ready() == f"http://127.0.0.1:{fake.port}/v1"
    state = server.state
    assert (state.phase, state.owner, state.restarts) == ("ready", True, 0)
    record = RunFolder(fake.settings.home, fake.port).read()
    assert record is not None
    assert record.pid == state.pid
    await server.stop()
    assert list(dict.fromkeys(s.phase for s in states)) == ["starting", "ready", "stopped"]


async def test_stop_leaves_no_process_of_the_engine_and_no_record(fake: Any, gone: Callable[[int], bool]) -> None:
    async with server_of(fake) as server:
        await server.wait_ready()
        running = await fake.get("/")
    assert gone(running["pid"])
    assert gone(running["child"])
    assert RunFolder(fake.settings.home, fake.port).read() is None
    assert server.state.phase == "stopped"


async def test_the_log_keeps_the_command_and_the_output_of_every_start(fake: Any) -> None:
    for _ in range(2):
        async with server_of(fake) as server:
            await server.wait_ready()
    log = read(server.state.log)
    assert log.count(f"serving on {fake.port}") == 2
    assert log.count("fake_engine.py") == 2


async def test_secrets_do_not_reach_the_engine(fake: Any) -> None:
    environ = {"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql://secret", "OPENAI_API_KEY": "sk-1"}
    environ |= {"MNEME_LLM__API_KEY": "sk-2", "HF_TOKEN": "hf-3"}
    async with ModelServer(fake.settings, command=fake.command, timing=QUICK, environ=environ) as server:
        await server.wait_ready()
        seen = (await fake.get("/"))["env"]
    assert not {"DATABASE_URL", "OPENAI_API_KEY", "MNEME_LLM__API_KEY", "HF_TOKEN"} & set(seen)
    assert seen["HF_HUB_OFFLINE"] == "1"


async def test_a_second_one_with_the_same_settings_shares_and_does_not_stop_it(fake: Any) -> None:
    async with server_of(fake) as first:
        await first.wait_ready()
        async with server_of(fake) as second:
            await second.wait_ready()
            assert (second.state.owner, second.state.pid) == (False, first.state.pid)
        assert (await fake.get("/health"))["pid"]


async def test_two_processes_that_start_at_once_share_one_server(fake: Any) -> None:
    with other_process(fake) as one, other_process(fake) as two:
        (role_one, pid_one), (role_two, pid_two) = said_by(one), said_by(two)
    assert {role_one, role_two} == {"owner", "shared"}
    assert pid_one == pid_two


async def test_a_server_with_other_settings_on_the_port_is_named_with_the_fix(fake: Any) -> None:
    async with server_of(fake) as first:
        await first.wait_ready()
        async with server_of(fake, None, "--mark", "other") as second:
            with pytest.raises(EngineError, match=rf"port {fake.port}: held by a model server with other settings.*"):
                await second.wait_ready()
            assert "set engine.port" in second.state.detail
        assert first.state.phase == "ready"


async def test_another_program_on_the_port_is_named_with_the_fix(fake: Any) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", fake.port))
        holder.listen()
        async with server_of(fake) as server:
            with pytest.raises(EngineError, match=rf"process {os.getpid()}\).*engine\.port.*llm\.base_url"):
                await server.wait_ready()
            assert server.state.phase == "failed"


async def test_a_server_that_dies_is_restarted(fake: Any, eventually: Eventually, gone: Callable[[int], bool]) -> None:
    states: list[ServerState] = []
    async with server_of(fake, states) as server:
        await server.wait_ready()
        before = await fake.get("/")
        await fake.die()
        await eventually(lambda: server.state.restarts == 1 and server.state.phase == "ready", "a restart")
        after = await fake.get("/")
    assert before["pid"] != after["pid"]
    assert gone(before["child"]), "the dead server's child is ended before the next start"
    restarting = next(s for s in states if s.phase == "restarting")
    assert "status 7" in restarting.detail
    assert restarting.log in restarting.detail


async def test_a_server_that_hangs_is_restarted(fake: Any, eventually: Eventually) -> None:
    async with server_of(fake) as server:
        await server.wait_ready()
        await fake.get("/hang")
        await eventually(lambda: server.state.restarts == 1 and server.state.phase == "ready", "a restart")


async def test_one_that_never_starts_is_tried_with_growing_pauses_and_given_up(fake: Any) -> None:
    states: list[ServerState] = []
    async with server_of(fake, states, "--fail", "ValueError: no such model") as server:
        with pytest.raises(EngineError, match=r"given up after 3 failures.*status 1: ValueError: no such model"):
            await server.wait_ready()
    pauses = [s.detail.rsplit("next try in ", 1)[1] for s in states if s.phase == "restarting"]
    assert pauses == ["0.05 s", "0.1 s"]


async def test_after_giving_up_it_can_be_started_again(fake: Any) -> None:
    gate = fake.settings.home / "broken"
    gate.touch()
    script = "import os, sys\nos.path.exists(sys.argv[1]) and sys.exit(1)\nos.execv(sys.argv[2], sys.argv[2:])"
    command = [sys.executable, "-c", script, str(gate), *fake.command]
    async with ModelServer(fake.settings, command=command, timing=QUICK) as server:
        with pytest.raises(EngineError, match="given up"):
            await server.wait_ready()
        gate.unlink()
        await server.ensure_running()


async def test_a_program_that_does_not_exist_is_a_clear_failure(fake: Any) -> None:
    async with ModelServer(fake.settings, command=["/nonexistent/engine"], timing=QUICK) as server:
        with pytest.raises(EngineError, match=r"status 127: .*/nonexistent/engine"):
            await server.wait_ready()


async def test_one_that_is_not_ready_in_time_is_ended(fake: Any, gone: Callable[[int], bool]) -> None:
    engine = EngineSettings(port=fake.port, ready_timeout_s=0.3)
    states: list[ServerState] = []
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    slow = ModelServer(
        Settings(home=fake.settings.home, engine=engine), command=sleeper, timing=QUICK, on_state=states.append
    )
    async with slow:
        with pytest.raises(EngineError, match=r"not ready within 0\.3 s \(engine\.ready_timeout_s\)"):
            await slow.wait_ready()
    assert all(gone(s.pid) for s in states if s.pid is not None)


async def test_kill_9_of_the_owner_leaves_no_engine_process(
    fake: Any, eventually: Eventually, gone: Callable[[int], bool]
) -> None:
    with other_process(fake) as owner:
        _, supervisor = said_by(owner)
        running = await fake.get("/")
        os.kill(owner.pid, signal.SIGKILL)
        for pid in (running["pid"], running["child"], supervisor):
            await eventually(lambda pid=pid: gone(pid), f"process {pid} to end")


async def test_kill_9_of_the_supervisor_too_leaves_nothing_once_the_next_one_starts(
    fake: Any, eventually: Eventually, gone: Callable[[int], bool]
) -> None:
    async with server_of(fake) as server:
        await server.wait_ready()
        before = await fake.get("/")
        assert server.state.pid is not None
        os.kill(server.state.pid, signal.SIGKILL)
        await eventually(lambda: server.state.restarts == 1 and server.state.phase == "ready", "a restart")
        assert gone(before["pid"])
        assert gone(before["child"])


async def test_one_that_shares_starts_its_own_when_the_owner_is_killed(fake: Any, eventually: Eventually) -> None:
    with other_process(fake) as owner:
        _, first = said_by(owner)
        async with server_of(fake) as server:
            await server.wait_ready()
            assert not server.state.owner
            os.kill(owner.pid, signal.SIGKILL)
            await eventually(lambda: server.state.owner and server.state.phase == "ready", "a server of its own")
            assert server.state.pid != first


async def test_a_start_right_after_the_owner_was_killed_waits_for_the_old_server_to_end(fake: Any) -> None:
    with other_process(fake) as owner:
        said_by(owner)
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        async with server_of(fake, None, "--mark", "new settings") as server:
            await server.wait_ready()
            assert server.state.restarts == 0


async def test_stop_while_starting_ends_what_was_started(fake: Any, gone: Callable[[int], bool]) -> None:
    pids: list[int] = []
    started = anyio.Event()

    def note(state: ServerState) -> None:
        if state.pid is not None:
            pids.append(state.pid)
            started.set()

    server = ModelServer(fake.settings, command=fake.command, timing=QUICK, on_state=note)
    await server.start()
    await started.wait()
    await server.stop()
    assert gone(pids[0])
    with pytest.raises(EngineError, match="stopped"):
        await server.wait_ready()


async def test_waiting_has_a_limit_when_one_is_given(fake: Any) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    async with ModelServer(fake.settings, command=sleeper, timing=QUICK) as server:
        with pytest.raises(EngineError, match=r"not ready after 0\.1 s"):
            await server.wait_ready(0.1)
