"""`mneme memory export`, `import`, `verify`, `reindex`: what they do to a home, what they print, how they exit."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from api.cli import main
from tests.serving import bare_environment, until

TEXT = "Number {n} of the things that were said in Porto"


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Mneme = Callable[..., Result]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return bare_environment() | {
        "MNEME_HOME": str(tmp_path / "home"),
        "MNEME_EMBED__MODEL": "hashing-384",
        "MNEME_DATABASE__SYNCHRONOUS": "NORMAL",
        "MNEME_TELEMETRY__LOG_LEVEL": "WARNING",
    }


@pytest.fixture
def mneme(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Mneme:
    for name in set(os.environ) - set(env):
        monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, home: str = "home") -> Result:
        monkeypatch.setenv("MNEME_HOME", str(tmp_path / home))
        monkeypatch.setattr(sys, "argv", ["mneme", "memory", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        code = end.value.code
        return Result(code if isinstance(code, int) else int(code is not None), printed.out, printed.err)

    return call


def rows(home: Path, query: str) -> list[Any]:
    with sqlite3.connect(home / "mneme.db") as connection:
        return connection.execute(query).fetchall()


def test_a_vault_moves_to_another_machine(mneme: Mneme, tmp_path: Path) -> None:
    first = mneme("add", "Ana lives in Porto", "--tag", "home").out.strip()
    done = mneme("export", "out.zip")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("out.zip: 1 memories, ")
    told = mneme("export", "folder", "--no-vectors", "--json").json
    assert (told["counts"]["memories"], told["counts"]["vectors"]) == (1, 0)
    assert mneme("export", "out.zip").code == 2

    plain = mneme("import", "out.zip", "--dry-run", home="other")
    assert plain.out.splitlines() == ["1 records of format archive would become:", "what     count", "created  1"]
    assert "only its texts were taken" in plain.err
    done = mneme("import", "out.zip", "--trust", "--json", home="other")
    assert (done.json["trusted"], done.json["counts"]["created"], done.json["counts"]["vectors_reused"]) == (True, 1, 1)
    shown = mneme("show", first, "--json", home="other").json
    assert (shown["content"], shown["tags"], shown["origin"]) == ("Ana lives in Porto", ["home"], "user_input")
    assert mneme("import", "folder", "--trust", "--mode", "fail", home="other").code == 2
    assert mneme("verify", home="other").code == 0


def test_a_damaged_archive_exits_2_and_names_the_file(mneme: Mneme, tmp_path: Path) -> None:
    mneme("add", "Ana lives in Porto")
    mneme("export", "folder")
    file = tmp_path / "folder" / "memories.jsonl"
    file.write_text(file.read_text().replace("Porto", "Lisbo"))
    done = mneme("import", "folder", home="other")
    assert done.code == 2
    assert "archive: memories.jsonl: lines 1 to 1 were changed" in done.err
    assert done.out == ""
    assert mneme("import", "nowhere.zip").code == 2
    assert mneme("import", "builtin:nothing").code == 2


def test_other_programs_and_texts_are_read(mneme: Mneme, tmp_path: Path) -> None:
    (tmp_path / "mem0.json").write_text(json.dumps({"results": [{"memory": TEXT.format(n=1)}, {"memory": "ok"}]}))
    done = mneme("import", "mem0.json")
    assert done.out.splitlines()[1:] == ["what     count", "created  1", "dropped  1"]
    (tmp_path / "odd").write_text('{"a": 1}')
    assert "Name its format" in mneme("import", "odd").err
    assert mneme("import", "odd", "--format", "text", "--json").json["format"] == "text"


def test_ctrl_c_leaves_whole_batches_and_the_same_command_goes_on(
    mneme: Mneme, env: dict[str, str], tmp_path: Path
) -> None:
    mneme("list")
    # So many batches that the key is pressed in the middle on a busy machine too.
    many = 6000
    items = [{"memory": TEXT.format(n=n)} for n in range(many)]
    (tmp_path / "many.json").write_text(json.dumps(items))
    command = [sys.executable, "-m", "api.cli", "memory", "import", "many.json", "--no-embed"]
    home = tmp_path / "home"

    def count() -> int:
        return int(rows(home, "SELECT count(*) FROM memories")[0][0])

    # A shell lets what it starts in the background ignore the key, and the child would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as going:
        until(lambda: count() > 0, "the first batch")
        going.send_signal(signal.SIGINT)
        out, err = going.communicate(timeout=60)
    there = count()
    assert going.returncode == 130, err
    assert out == ""
    told = re.search(rf"interrupted after (\d+) of {many}; the same command goes on from there", err)
    assert told is not None, err
    # A batch that was being written when the key was pressed is whole or not there.
    assert int(told[1]) <= there <= int(told[1]) + 500
    assert there % 500 == 0
    assert 0 < there < many
    counts = mneme("import", "many.json", "--no-embed", "--json").json["counts"]
    assert (counts["created"], counts["resumed"]) == (many - there, there)
    assert [content for (content,) in rows(home, "SELECT content FROM memories ORDER BY seq")] == [
        item["memory"] for item in items
    ]


def test_verify_finds_what_differs_and_repairs_it(mneme: Mneme, tmp_path: Path) -> None:
    mneme("add", "Ana lives in Porto")
    done = mneme("verify")
    assert (done.code, done.out) == (0, "1 memories checked, 0 differences, 0 repaired\n")
    with sqlite3.connect(tmp_path / "home" / "mneme.db") as connection:
        connection.execute("DELETE FROM memory_fts")
    done = mneme("verify")
    assert done.code == 1
    assert "full text is missing" in done.out
    told = mneme("verify", "--repair", "--json")
    assert (told.code, told.json["ok"], told.json["repaired"]) == (0, True, 1)
    assert mneme("verify").code == 0


def test_reindex_says_what_it_made(mneme: Mneme) -> None:
    mneme("add", "Ana lives in Porto")
    told = mneme("reindex", "--json").json
    assert told["points"] == 1
    assert mneme("search", "Porto").out.count("Ana lives") == 1
