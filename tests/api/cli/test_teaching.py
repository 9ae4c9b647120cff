"""`mneme memory learn`: a file of uses is read line by line, and what came of it is said."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
import typer
from typer.testing import CliRunner

from api.cli.teaching import learn
from memory.opening import open_memory
from memory.ranking.fusion import WEIGHTS
from memory.types import Actor, Draft
from runtime.db import open_database
from runtime.errors import InvalidInput, UnknownName
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.settings import Settings, load

QUESTION = "What did Ann say about the reed?"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> typer.Typer:
    """The command alone, over the store of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNEME_HOME", str(settings.home))
    monkeypatch.setenv("MNEME_EMBED__MODEL", "hashing-64")
    monkeypatch.setenv("MNEME_TELEMETRY__LOG_LEVEL", "ERROR")
    app = typer.Typer()
    app.command()(learn)
    return app


@pytest.fixture
def of_ann(command: typer.Typer, settings: Settings) -> list[str]:
    """Ids of what Ann says; Bob says as much."""

    async def fill() -> list[str]:
        db = open_database(settings)
        user = (await KeyStore(db, SYSTEM).local()).user_id
        drafts = [
            Draft(f"the reed of {who} by the {by}", speaker=who)
            for who in ("Ann", "Bob")
            for by in ("willow", "mill", "lake")
        ]
        async with open_memory(load().settings, db, SYSTEM) as memory:
            added = await memory.add(Actor(user), drafts, wait="indexed")
        await db.aclose()
        return [item.memory.id for item in added if item.memory is not None and item.memory.speaker == "Ann"]

    return anyio.run(fill)


def written(folder: Path, *lines: str) -> str:
    path = folder / "uses.jsonl"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return str(path)


def test_a_file_teaches_the_vault(command: typer.Typer, of_ann: list[str], tmp_path: Path) -> None:
    line = json.dumps({"query": QUESTION, "used": of_ann})
    lost = json.dumps({"query": QUESTION, "used": ["mem_gone"]})
    path = written(tmp_path, *[line] * 10, "", lost, *[line] * 10)
    done = CliRunner().invoke(command, [path, "--json"])
    assert done.exit_code == 0, done.output
    learned = json.loads(done.stdout)
    assert (learned["learned"], learned["samples"], learned["used"], learned["left_out"]) == (True, 120, 60, 1)
    assert learned["weights"]["speaker"] > WEIGHTS["speaker"]
    done = CliRunner().invoke(command, [path, "--vault", "default"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("learned from 120 hits, of which 60 were used\npart ")
    assert f"speaker   {learned['weights']['speaker']:.3f}" in done.stdout
    assert "1 questions told nothing" in done.stderr


def test_too_little_is_said_in_words(command: typer.Typer, of_ann: list[str], tmp_path: Path) -> None:
    done = CliRunner().invoke(command, [written(tmp_path, json.dumps({"query": QUESTION, "used": of_ann}))])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("nothing was learned: too little to learn from: 3 hits were used and 3 passed over")


GOOD = '{"query": "x", "used": ["mem_a"]}'


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "is empty"),
        ([" "], "is empty"),
        ([GOOD, "{"], "line 2: Invalid JSON"),
        ([GOOD, "", '"x"'], "line 3: Input should be an object"),
        (['{"query": "x"}'], "line 1: used: Field required"),
        (['{"query": 3, "used": ["mem_a"]}'], "line 1: query: Input should be a valid string"),
        (['{"query": "x", "used": []}'], "line 1: used: List should have at least 1 item"),
        (['{"query": "x", "used": "mem_a"}'], "line 1: used: Input should be a valid array"),
        ([GOOD[:-1] + ', "k": 3}'], "line 1: k: Extra inputs"),
    ],
)
def test_a_bad_line_is_named(command: typer.Typer, tmp_path: Path, lines: list[str], words: str) -> None:
    done = CliRunner().invoke(command, [written(tmp_path, *lines)])
    assert isinstance(done.exception, InvalidInput), done.output
    assert words in done.exception.message
    assert 'expected {"query": "…", "used": ["mem_…", …]}' in done.exception.message


def test_what_is_not_there_is_named(command: typer.Typer, tmp_path: Path) -> None:
    done = CliRunner().invoke(command, ["nowhere.jsonl"])
    assert isinstance(done.exception, InvalidInput)
    assert "FILE 'nowhere.jsonl'" in done.exception.message
    done = CliRunner().invoke(command, [written(tmp_path, GOOD), "--vault", "none"])
    assert isinstance(done.exception, UnknownName)
