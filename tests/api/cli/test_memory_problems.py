"""`mneme memory forget-problem`: what a problem left is taken out, and what others use stays."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
import typer
from typer.testing import CliRunner

from agents.arc_memo.concept import Concept, Lesson
from agents.arc_memo.keeping import concept_draft, lesson_draft
from api.cli.memory import app
from api.cli.remembering import opened
from memory.listing import Where
from runtime.errors import UnknownName
from runtime.settings import Settings


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path) -> typer.Typer:
    """The commands over the store of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNEME_HOME", str(settings.home))
    monkeypatch.setenv("MNEME_EMBED__MODEL", "hashing-64")
    monkeypatch.setenv("MNEME_TELEMETRY__LOG_LEVEL", "ERROR")
    return app


async def filled() -> None:
    async with opened() as (memory, actor):
        drafts = [
            concept_draft(Concept("ring", "structure", used_in=("p1", "p2"))),
            concept_draft(Concept("ray", "structure", used_in=("p2",))),
            lesson_draft(Lesson("a ring is there", "fill it", "p2")),
        ]
        await memory.add(actor, drafts, force=True)


async def left() -> dict[str | None, object]:
    async with opened() as (memory, actor):
        items = (await memory.list(actor, Where("default", states=("activated",)))).items
        return {cube.subject: cube.data.get("used_in") for cube in items}


def test_a_problem_is_taken_out_and_what_was_done_is_said(command: typer.Typer) -> None:
    anyio.run(filled)
    done = CliRunner().invoke(command, ["forget-problem", "p2", "--vault", "default", "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert sorted(each["op"] for each in told["items"]) == ["delete", "delete", "modify"]
    assert anyio.run(left) == {"ring": ["p1"]}
    done = CliRunner().invoke(command, ["forget-problem", "p2"])
    assert done.exit_code == 0, done.output
    assert done.stdout == "nothing of problem 'p2' was changed\n"
    done = CliRunner().invoke(command, ["forget-problem", "p1"])
    assert "delete" in done.stdout
    assert anyio.run(left) == {}
    done = CliRunner().invoke(command, ["forget-problem", "p1", "--vault", "none"])
    assert isinstance(done.exception, UnknownName)
