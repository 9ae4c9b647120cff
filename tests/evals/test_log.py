"""The files of an evaluation: whole or not there, one writer, and a crash in the middle of a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from evals import log as logs
from evals.base import Sample
from evals.log import Log, LogWriter
from evals.plan import Plan
from evals.records import Header, Record
from runtime.errors import Conflict, MnemeError, UnknownName
from tests.evals.making import header, record

SAMPLE = Sample("a", "one", {"kind": "math", "problem": "p"}, "1")
KILLED = """
import os, sys
from pathlib import Path
from evals.log import LogWriter
from tests.evals.making import record
log = LogWriter(Path(sys.argv[1]))
for n in range(5):
    log.add(record(f"item-{n}", output="x" * 1000))
os.write(log._results, b'{"suite": "aime", "data_sh')
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return logs.create(tmp_path, header(), [SAMPLE])


def test_header_samples_and_records_are_read_as_they_were_written(folder: Path) -> None:
    wanted = [record("a"), record("b", 0.0, answer=None, how=None, memory_ids=("mem_1",), meta={"level": 3})]
    with LogWriter(folder) as log:
        for each in wanted:
            log.add(each)
        log.note({"event": "began"})
    read = Log(folder)
    assert read.header() == header()
    assert read.samples() == {"a": SAMPLE.normal()}
    assert read.records() == wanted
    assert read.diary() == [{"event": "began"}]


def test_a_header_with_everything_survives_its_file(tmp_path: Path) -> None:
    whole = header(
        plan=Plan("aime", "direct", memory="warm", vault="v"),
        built_by="evl_x",
        control="placebo",
        overlaps=({"item_id": "a"},),
        revision={"commit": "c", "dirty": True},
    )
    assert Header.from_json(json.loads(json.dumps(whole.to_json()))) == whole


def test_whatever_a_model_says_is_kept(folder: Path) -> None:
    odd = record(output="line\nbreak \ud83d \x00 \u2028 end", detail="ü")
    with LogWriter(folder) as log:
        log.add(odd)
    assert Log(folder).records() == [odd]
    assert len((folder / logs.RESULTS).read_bytes().splitlines()) == 1


def test_a_process_that_is_killed_leaves_whole_records_and_the_next_goes_on_behind_them(folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], env=environment, check=False, timeout=60)
    assert done.returncode == -9
    assert len(Log(folder).records()) == 5, "the half line is no record"
    with LogWriter(folder) as log:
        log.add(record("next"))
    assert [each.item_id for each in Log(folder).records()] == [*(f"item-{n}" for n in range(5)), "next"]


def test_a_later_record_of_a_slot_takes_the_place_of_the_earlier_one(folder: Path) -> None:
    with LogWriter(folder) as log:
        log.add(record("a", 0.0))
        log.add(record("b"))
        log.add(record("a", 1.0))
    assert [(each.item_id, each.score) for each in Log(folder).records()] == [("a", 1.0), ("b", 1.0)]


def test_two_cannot_write_one_log(folder: Path) -> None:
    with LogWriter(folder), pytest.raises(Conflict, match="another process"):
        LogWriter(folder)
    with LogWriter(folder) as log:
        log.add(record())


def test_a_line_that_was_damaged_is_named(folder: Path) -> None:
    (folder / logs.RESULTS).write_text("{}x\n", encoding="utf-8")
    with pytest.raises(MnemeError, match="line 1"):
        Log(folder).records()


def test_a_summary_is_replaced_as_a_whole(folder: Path) -> None:
    log = Log(folder)
    assert log.summary() is None
    log.write_summary({"a": 1})
    log.write_summary({"a": 2})
    assert log.summary() == {"a": 2}
    assert sorted(path.name for path in folder.iterdir()) == ["header.json", "samples.jsonl", "summary.json"]


def test_evaluations_are_listed_newest_first_and_what_is_none_is_not(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        logs.create(tmp_path, header(id_=number), [SAMPLE])
    (tmp_path / "evals" / f"evl_{9:032x}").mkdir()
    (tmp_path / "evals" / "data").mkdir()
    assert [log.id for log in logs.every(tmp_path)] == [f"evl_{n:032x}" for n in (3, 2, 1)]
    assert logs.every(tmp_path / "nowhere") == []


@pytest.mark.parametrize("id_", ["evl_0", "../../etc/passwd", f"evl_{7:032x}", ""])
def test_an_unknown_evaluation_is_refused_and_an_id_is_no_path(tmp_path: Path, id_: str) -> None:
    with pytest.raises(UnknownName, match="mneme eval list"):
        logs.find(tmp_path, id_)


def test_an_agent_that_failed_is_told_from_one_that_was_wrong() -> None:
    assert not record(score=0.0).failed
    assert replace(record(score=0.0), error="malformed_reply: x").failed
    assert isinstance(Record.from_json(json.loads(json.dumps(_plain(record())))), Record)


def _plain(each: Record) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(each)
