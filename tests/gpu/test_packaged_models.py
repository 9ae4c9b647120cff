"""Which model is meant, and when a converted folder can be trusted."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gpu.packaged_models import (
    CONVERSION,
    MANIFEST,
    PACKAGED,
    FileEntry,
    Manifest,
    ensure_model,
    is_model_ready,
    verify_model,
)
from runtime.errors import EngineError, UnknownName
from runtime.settings import EngineSettings, Settings

pytestmark = pytest.mark.anyio
NAME = "smollm2-135m-instruct"


def settings(home: Path, model: str = NAME) -> Settings:
    return Settings(home=home, engine=EngineSettings(model=model, device="cpu"))


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / NAME
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    entry = FileEntry(size=7, sha256=hashlib.sha256(b"weights").hexdigest())
    manifest = Manifest(source_sha256=PACKAGED[NAME].sha256, conversion=CONVERSION, files={"model.safetensors": entry})
    (folder / MANIFEST).write_text(manifest.model_dump_json(), encoding="utf-8")
    return folder


async def test_a_converted_model_is_used_as_it_is(tmp_path: Path, converted: Path) -> None:
    assert await ensure_model(settings(tmp_path)) == (str(converted), NAME, True)
    assert await verify_model(settings(tmp_path)) == []


async def test_a_file_of_another_size_makes_it_not_ready(tmp_path: Path, converted: Path) -> None:
    (converted / "model.safetensors").write_bytes(b"cut")
    assert not is_model_ready(settings(tmp_path))
    assert "differs from the manifest" in (await verify_model(settings(tmp_path)))[0]


async def test_changed_content_of_the_same_size_is_found_by_the_full_check(tmp_path: Path, converted: Path) -> None:
    (converted / "model.safetensors").write_bytes(b"wEights")
    assert is_model_ready(settings(tmp_path))
    wrong = await verify_model(settings(tmp_path))
    assert len(wrong) == 1
    assert f"mneme models pull {NAME}" in wrong[0]


async def test_a_folder_without_a_readable_manifest_is_not_ready(tmp_path: Path, converted: Path) -> None:
    (converted / MANIFEST).write_text("{}", encoding="utf-8")
    assert not is_model_ready(settings(tmp_path))
    assert MANIFEST in (await verify_model(settings(tmp_path)))[0]


async def test_a_folder_of_the_users_is_served_under_its_name(tmp_path: Path) -> None:
    own = tmp_path / "my-model"
    own.mkdir()
    (own / "config.json").write_text("{}", encoding="utf-8")
    assert await ensure_model(settings(tmp_path, str(own))) == (str(own), "my-model", True)


async def test_a_folder_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no config\.json"):
        await ensure_model(settings(tmp_path, str(tmp_path)))


async def test_a_hugging_face_name_is_passed_through(tmp_path: Path) -> None:
    assert await ensure_model(settings(tmp_path, "Qwen/Qwen3-8B")) == ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B", False)


@pytest.mark.parametrize("name", ["/no/such/folder", "./models/x", "a/b/c", ""])
async def test_what_is_none_of_the_three_is_an_error_that_names_them(tmp_path: Path, name: str) -> None:
    with pytest.raises((UnknownName, EngineError), match="Hugging Face"):
        await ensure_model(settings(tmp_path, name))


async def test_only_packaged_models_can_be_verified(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=NAME):
        await verify_model(settings(tmp_path, "Qwen/Qwen3-8B"))
