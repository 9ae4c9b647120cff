"""`mneme memory reembed`: there, back, and what is shown of it. The store is opened with the encoder that it has."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
import typer
from typer.testing import CliRunner

from api.cli.reembedding import reembed
from memory.opening import open_memory
from memory.types import Actor, Draft
from runtime.db import open_database
from runtime.errors import Conflict, InvalidInput, UnknownName
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.settings import Settings, load
from tests.moving import texts


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typer.Typer:
    """The command alone, over a store of forty memories that was made with hashing-64."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MNEME_HOME", str(settings.home))
    monkeypatch.setenv("MNEME_EMBED__MODEL", "hashing-64")
    monkeypatch.setenv("MNEME_TELEMETRY__LOG_LEVEL", "ERROR")

    async def fill() -> None:
        db = open_database(settings)
        user = (await KeyStore(db, SYSTEM).local()).user_id
        async with open_memory(load().settings, db, SYSTEM) as memory:
            await memory.add(Actor(user), [Draft(text) for text in texts(40)], wait="indexed")
        await db.aclose()

    anyio.run(fill)
    app = typer.Typer()
    app.command()(reembed)
    return app


def test_the_store_moves_to_the_configured_encoder_and_back(
    command: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNEME_EMBED__MODEL", "hashing-128")
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 0, done.output
    assert "hashing-128.int8 is searched now" in done.stdout
    assert "of 40 probes it finds 100.0%, the one before 100.0%" in done.stdout
    listed = json.loads(CliRunner().invoke(command, ["--list", "--json"]).stdout)["profiles"]
    assert [(p["slug"], p["state"]) for p in listed] == [
        ("hashing-64.int8", "draining"),
        ("hashing-128.int8", "active"),
    ]
    assert listed[1]["measured"]["recall@10"] > 0.98
    shown = CliRunner().invoke(command, ["--list"]).stdout
    assert "draining until " in shown
    back = CliRunner().invoke(command, ["--back"])
    assert back.stdout == "hashing-64.int8: searched now\n"


def test_a_named_encoder_and_codec_win_and_the_settings_are_asked_for(command: typer.Typer) -> None:
    done = CliRunner().invoke(command, ["--model", "hashing-96", "--codec", "f16", "--json"])
    assert done.exit_code == 0, done.output
    moved = json.loads(done.stdout)
    assert (moved["slug"], moved["state"], moved["dim"]) == ("hashing-96.f16", "active", 96)
    assert moved["measured"] == {"probes": 40, "old_found": 1.0, "found": 1.0, "recall@10": 1.0}
    again = CliRunner().invoke(command, ["--model", "hashing-96", "--codec", "f16"])
    assert "set embed.model to 'hashing-96' before the next start" in again.output


def test_what_cannot_be_is_refused_in_words(command: typer.Typer) -> None:
    for arguments, error, words in (
        (["--back", "--abandon"], InvalidInput, "expected one of them"),
        (["--list", "--force"], InvalidInput, "expected one of them"),
        (["--back"], Conflict, "draining"),
        (["--abandon"], Conflict, "nothing to abandon"),
        (["--model", "nothing"], UnknownName, "no such encoder"),
        (["--codec", "int4"], UnknownName, "codec 'int4'"),
        (["--codec", "pca50_f8"], InvalidInput, "fitted on 320 memories, there are 40"),
    ):
        done = CliRunner().invoke(command, arguments)
        assert isinstance(done.exception, error), (arguments, done.exception)
        assert words in done.exception.message
