"""The documents say what is: settings, metrics, agents, options, links, and examples that run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.requirements import Requirement

from api.demo import print_next
from runtime.llm.scripted_process import scripted_process
from runtime.metrics import metrics
from runtime.settings import FOREIGN, Settings, known_keys, load
from scripts.settings_docs import documented, example, operations
from tests.serving import Running, bare_environment, serving

BASE = "http://127.0.0.1:8642"
ROOT = Path(__file__).resolve().parent.parent
TWICE_IMPORTS = """
from pydantic import BaseModel, ConfigDict, JsonValue
from agents.base import AgentSpec, Answer, Context, Step
from agents.tasks import Task
from runtime.types import Message
"""
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


# -- examples that run ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service in front of the scripted model."""
    folder = tmp_path_factory.mktemp("service")
    with scripted_process() as model:
        env = bare_environment() | {"MNEME_HOME": str(folder), "MNEME_LLM__BASE_URL": model.url}
        with serving(env, folder) as running:
            yield running


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", read(page), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/api.md"])
def test_the_python_examples_run_against_a_service(page: str, service: Running) -> None:
    program = "\n".join(blocks(page, "python"))
    assert BASE in program
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.replace(BASE, service.url)],
        env=bare_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_curl_examples_are_answered_well(service: Running) -> None:
    lines = blocks("docs/api.md", "sh")
    assert len(lines) >= 4
    for line in lines:
        status, body = _as_curl_does(line.replace(BASE, service.url))
        assert status < 300, f"{line}\n{status}: {body}"


def test_the_lines_that_the_demo_ends_with_run(service: Running, capsys: pytest.CaptureFixture[str]) -> None:
    print_next(service.url)
    text = capsys.readouterr().out
    curl = text[text.index("curl ") : text.index("\n\n", text.index("curl "))]
    status, body = _as_curl_does(curl)
    assert status == 200, body
    (program,) = re.findall(r"-c '\n(.*?)'\n", text, flags=re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], env=bare_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def _as_curl_does(command: str) -> tuple[int, str]:
    """Send what a curl line would send; the program itself need not be installed."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words[0] == "curl"
    address, data, headers = "", None, {}
    rest = iter(words[1:])
    for word in rest:
        match word:
            case "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            case "-d":
                data = next(rest).encode()
            case _:
                assert word.startswith("http"), f"{word!r}: an option this test does not know"
                address = word
    with httpx.Client(trust_env=False, timeout=60) as client:
        response = client.request("GET" if data is None else "POST", address, content=data, headers=headers)
    return response.status_code, response.text


def test_the_agent_of_the_contributing_page_works(service: Running) -> None:
    (source,) = [block for block in blocks("CONTRIBUTING.md", "python") if "class Twice" in block]
    names: dict[str, Any] = {}
    exec(compile(TWICE_IMPORTS + textwrap.dedent(source), "CONTRIBUTING.md", "exec"), names)
    spec = names["Twice"].spec
    assert spec.name == "twice"
    assert spec.config.model_validate({}) is not None
