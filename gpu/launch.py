"""How vLLM is started: one function builds command and environment, and all its start-up traps are known here only.

The CPU build's `vllm` command crashes (it asks for the metadata of a distribution named `vllm`), so it is started by
module; the CUDA build by its command. Without a KV space the CPU build takes 92 % of the memory. Eager start-up takes
half a minute, compiling five. A processor without instructions for bfloat16 emulates it: on an AMD EPYC with AVX2 sixteen
answers at once came at 17 tokens a second, in float32 at 93. The CPU build dies of a request with a seed whose prompt is
prefilled in parts: it then rewinds the request's random numbers, which a generator on the CPU cannot do. Sessions in the
engine need our scheduler, which must fit the way a build schedules: the CPU build a step at a time, CUDA a step ahead.
Source: vllm.md §§1, 3, 4, 6; dtype and whole prefill ours, seen with 0.32.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu import child_env
from gpu.engine_env import Engine, plugin_folder
from gpu.packaged_models import ModelFolder
from runtime.settings import Settings

CPU_BLOCK_SIZE = 32
PLUGIN = "mneme_sessions"
CPUINFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@dataclass(frozen=True, slots=True)
class Launch:
    """A command with its whole environment. `fingerprint` is equal when two of them serve the same."""

    command: tuple[str, ...]
    env: Mapping[str, str]
    host: str
    model: str
    fingerprint: str


def vllm(settings: Settings, engine: Engine, model: ModelFolder, *, environ: Mapping[str, str] | None = None) -> Launch:
    """The launch of `model` on `engine`. `environ` defaults to our own environment, of which little is passed on."""
    own = settings.engine
    cpu = engine.device == "cpu"
    folder = engine.folder(settings.home)
    if cpu:
        command = [str(folder / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server", "--model", model.path]
    else:
        command = [str(folder / "bin" / "vllm"), "serve", model.path]
    command += ["--served-model-name", model.served_name, "--host", own.host, "--port", str(own.port)]
    command += ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    if own.max_model_len is not None:
        command += ["--max-model-len", str(own.max_model_len)]
    block_size = CPU_BLOCK_SIZE if own.block_size is None and cpu else own.block_size
    if block_size is not None:
        command += ["--block-size", str(block_size)]
    if cpu if own.enforce_eager is None else own.enforce_eager:
        command.append("--enforce-eager")
    if cpu:
        command.append("--no-enable-chunked-prefill")
    dtype = "float32" if own.dtype is None and cpu and not computes_bfloat16() else own.dtype
    if dtype is not None:
        command += ["--dtype", dtype]
    if own.sessions == "in_engine":
        command += ["--scheduler-cls", f"mneme_vllm.scheduler.{'' if cpu else 'Async'}SessionScheduler"]
    command += own.extra_args

    ours = {
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "VLLM_LOGGING_COLOR": "0",
        "VLLM_CACHE_ROOT": str(settings.home / "engines" / "cache"),
        "VLLM_CONFIG_ROOT": str(settings.home / "engines" / "config"),
    }
    if cpu:
        ours |= {
            "VLLM_CPU_KVCACHE_SPACE": str(own.kv_space_gib),
            "VLLM_CPU_OMP_THREADS_BIND": own.omp_threads_bind,
        }
    if own.sessions == "in_engine":
        # The list allows plug-ins of every kind; those that add routes load only when they stand in it.
        ours |= {
            "PYTHONPATH": str(plugin_folder(settings.home)),
            "VLLM_PLUGINS": PLUGIN,
            "MNEME_SESSION_IDLE_S": str(own.session_idle_s),
        }
    passed = child_env.for_local_model(environ) if model.local else child_env.for_hub(environ)
    return Launch(tuple(command), passed | ours, own.host, model.served_name, fingerprint(command, ours))


def computes_bfloat16(cpuinfo: Path = CPUINFO) -> bool:
    """Whether the processor multiplies bfloat16 itself; True where it does not say, so that the engine decides."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return True
    flags = {flag for line in lines if line.lower().startswith(("flags", "features")) for flag in line.split()}
    return not flags or bool(flags & BFLOAT16_FLAGS)


def plain(command: Sequence[str], settings: Settings, *, environ: Mapping[str, str] | None = None) -> Launch:
    """The launch of another server that speaks the same protocol on the same port."""
    own = settings.engine
    return Launch(tuple(command), child_env.for_local_model(environ), own.host, own.model, fingerprint(command, {}))


def fingerprint(command: Sequence[str], ours: Mapping[str, str]) -> str:
    """Digest of the command and of the variables that we set. What the user's shell adds does not count."""
    return hashlib.sha256(json.dumps([list(command), sorted(ours.items())]).encode()).hexdigest()
