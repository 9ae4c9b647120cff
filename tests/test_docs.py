"""The documents say what is: settings, metrics, agents, options, links, and examples that run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from runtime.metrics import metrics
from runtime.settings import FOREIGN, Settings, known_keys, load
from scripts.settings_docs import documented, example, operations

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_table_of_settings_is_today_s() -> None:
    page = read("docs/operations.md")
    assert page == operations(page), "run `python -m scripts.settings_docs`"
    assert [key for key, _, _ in documented()] == list(known_keys())


def test_variables_of_other_programs_are_named() -> None:
    for name in FOREIGN:
        assert f"`{name}`" in read("docs/operations.md")


def test_the_example_file_is_today_s_and_changes_nothing() -> None:
    assert read("mneme.example.toml") == example(), "run `python -m scripts.settings_docs`"
    assert load(env={}, toml=ROOT / "mneme.example.toml").settings == Settings()


def test_the_example_file_with_everything_switched_on_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "mneme.toml"
    path.write_text(re.sub(r"^# (?=[a-z_]+ = )", "", example(), flags=re.MULTILINE), encoding="utf-8")
    assert set(load(env={}, toml=path).origins) == set(known_keys())


def test_every_metric_is_documented() -> None:
    named = set(re.findall(r"^# TYPE (mneme_\w+)", metrics.expose().decode(), flags=re.MULTILINE))
    assert named
    for name in sorted(n for n in named if not n.endswith("_created")):
        assert f"`{name}`" in read("docs/operations.md"), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:agents|api|docs|evals|gpu|memory|runtime|scripts|search|tests)/[\w./-]*)`",
        page.read_text(encoding="utf-8"),
    )
    for path in named:
        assert (ROOT / path).exists(), f"{page.name} names {path}"


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_file_fits_the_dependencies_and_names_no_index(lock: str) -> None:
    text = read(lock)
    assert "://" not in text
    assert "--index" not in text
    locked = {
        (requirement := Requirement(line.removesuffix(" \\"))).name: requirement
        for line in text.splitlines()
        if line and not line.startswith((" ", "#"))
    }
    project = tomllib.loads(read("pyproject.toml"))["project"]
    wanted = list(project["dependencies"])
    if lock == "requirements-dev.lock":
        wanted += [r for group in ("dev", "otlp") for r in project["optional-dependencies"][group]]
    for requirement in map(Requirement, wanted):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert name in locked, f"{name} is not in {lock}: run `make lock`"
        (pin,) = locked[name].specifier
        assert requirement.specifier.contains(pin.version), f"{lock}: {name} {pin.version} is not {requirement}"


def test_every_dependency_has_a_floor() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    for requirement in map(Requirement, [r for group in groups for r in group]):
        assert any(s.operator in {">=", "==", "~="} for s in requirement.specifier), str(requirement)
