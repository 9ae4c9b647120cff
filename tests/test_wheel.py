"""What is packaged: everything the program reads at run time, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from api.doctor import OURS

ROOT = Path(__file__).resolve().parent.parent
READ_AT_RUN_TIME = ("*.py", "*.md", "*.html", "*.css", "*.js", "*.svg", "*.mako", "*.json", "*.lock", "py.typed")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without network from the build backend that is installed."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = out.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def names(wheel: zipfile.ZipFile) -> set[str]:
    return set(wheel.namelist())


def test_every_file_that_is_read_at_run_time_is_in(names: set[str]) -> None:
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in OURS
        for pattern in READ_AT_RUN_TIME
        for path in (ROOT / package).rglob(pattern)
        if "__pycache__" not in path.parts
    }
    assert len(wanted) > 50
    assert wanted <= names, f"missing: {sorted(wanted - names)}"


@pytest.mark.parametrize(
    "example",
    [
        "agents/best_of_n/prompts/judge.md",
        "runtime/migrations/env.py",
        "runtime/migrations/versions/0001_foundation.py",
        *(f"{package}/py.typed" for package in OURS),
    ],
)
def test_prompts_migrations_and_type_markers_are_in(names: set[str], example: str) -> None:
    assert example in names


@pytest.mark.parametrize("folder", ["api/web/templates/", "api/web/static/"])
def test_pages_are_in(names: set[str], folder: str) -> None:
    assert [name for name in names if name.startswith(folder)]


def test_nothing_else_is_in(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(OURS)
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".db", ".log"))]
    assert not [name for name in names if "tests" in name.split("/")]


def test_licence_notice_and_metadata_are_in(wheel: zipfile.ZipFile, names: set[str]) -> None:
    (folder,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    assert {f"{folder}/licenses/LICENSE", f"{folder}/licenses/NOTICE"} <= names
    metadata = Parser().parsestr(wheel.read(f"{folder}/METADATA").decode())
    assert metadata["Name"] == "mneme"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "mneme = api.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()
