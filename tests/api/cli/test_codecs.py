"""`mneme memory codecs` prints the trade-off on the vectors of the store, or of a corpus, and what fits."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
import typer
from typer.testing import CliRunner

from api.cli import codecs
from memory.core import Core
from runtime.db import open_database
from runtime.errors import InvalidInput
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.settings import Settings, load
from tests.moving import Encoder, running, texts

DIM = 32


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typer.Typer:
    """The command alone, over the store of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNEME_HOME", str(settings.home))
    monkeypatch.setenv("MNEME_EMBED__MODEL", f"hashing-{DIM}")
    app = typer.Typer()
    app.command()(codecs.codecs)
    return app


async def fill(settings: Settings, count: int) -> None:
    from memory.types import Actor
    from tests.memory.conftest import vault_id

    db = open_database(settings)
    core, local = Core(db, SYSTEM, settings), await KeyStore(db, SYSTEM).local()
    actor = Actor(local.user_id)
    await core.default_vault(actor)
    async with running(core, Encoder(DIM)) as process:
        await process.add(actor, await vault_id(core, actor), *texts(count))
    await db.aclose()


def test_the_table_of_the_own_vectors_and_what_fits(settings: Settings, command: typer.Typer) -> None:
    anyio.run(fill, load(env={"MNEME_HOME": str(settings.home)}).settings, 260)
    done = CliRunner().invoke(command, ["--limit-mb", "0.01"])
    assert done.exit_code == 0, done.output
    assert "| f32 | 128 | 1.0× | 1.0000 | 1.0000 |" in done.stdout
    assert "measured on 260 vectors with 200 questions" in done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("for 260 vectors within 0.01 MB: "))
    assert "recall@10" in line
    assert "mneme memory reembed --codec " in done.stdout
    found = json.loads(CliRunner().invoke(command, ["--json", "--vectors", "1000000", "--limit-mb", "5"]).stdout)
    assert found["vectors"] == 1_000_000
    assert found["choice"]["chosen"]["bytes_per_vector"] <= 5
    none = CliRunner().invoke(command, ["--limit-mb", "0.0001"])
    assert none.exit_code == 1
    assert "none fits" in none.stdout


def test_a_store_with_too_few_vectors_points_to_a_corpus(settings: Settings, command: typer.Typer) -> None:
    done = CliRunner().invoke(command, [])
    assert isinstance(done.exception, InvalidInput)
    assert "--corpus" in done.exception.message
    anyio.run(fill, load(env={"MNEME_HOME": str(settings.home)}).settings, 20)
    done = CliRunner().invoke(command, [])
    assert isinstance(done.exception, InvalidInput)
    assert "20 memories with a vector: too few" in done.exception.message


def test_a_corpus_is_measured_with_the_configured_encoder(
    command: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codecs, "CORPUS_PARAGRAPHS", 600)
    monkeypatch.setattr(codecs, "CORPUS_QUESTIONS", 200)
    done = CliRunner().invoke(command, ["--corpus", "--vectors", "1000000"])
    assert done.exit_code == 0, done.output
    assert "measured on 600 vectors with 200 questions" in done.stdout
    assert "for 1000000 vectors: f32" in done.stdout
    both = CliRunner().invoke(command, ["--corpus", "--vault", "default"])
    assert isinstance(both.exception, InvalidInput)
