"""`mneme eval`: run, stopped and gone on with, listed, shown, compared, exported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from api.cli import main
from tests.serving import bare_environment

SCRIPT = r"""
[[rule]]
contains = "question number 1?"
reply = "\\boxed{6}"
[[rule]]
reply = "\\boxed{5}"
first_delay_ms = 300
"""


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Mneme = Callable[..., Result]


class Place(NamedTuple):
    """A home with a scripted model, and a data set."""

    env: dict[str, str]
    folder: Path
    data: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("evals")
    (folder / "script.toml").write_text(SCRIPT, encoding="utf-8")
    lines = [{"id": f"p{n}", "problem": f"question number {n}?", "answer": 5} for n in range(6)]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    env = bare_environment() | {
        "MNEME_HOME": str(folder / "home"),
        "MNEME_LLM__MODEL": f"scripted/{folder / 'script.toml'}",
        "MNEME_TELEMETRY__LOG_LEVEL": "WARNING",
    }
    return Place(env, folder, str(folder / "mine.jsonl"))


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "api.cli", "eval", *arguments]


def execute(place: Place, *arguments: str) -> Result:
    done = subprocess.run(
        command(*arguments),
        env=place.env,
        cwd=place.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def mneme(place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Mneme:
    """Commands that only read, called in this process."""
    for name in set(os.environ) - set(place.env):
        monkeypatch.delenv(name)
    for name, value in place.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["mneme", "eval", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        code = end.value.code
        return Result(code if isinstance(code, int) else int(code is not None), printed.out, printed.err)

    return call


@pytest.fixture(scope="module")
def measured(place: Place) -> dict[str, Any]:
    """An evaluation with memory and its controls."""
    done = execute(
        place, "run", "small", "-S", "tasks=fact_recall", "--limit", "2", "--memory", "warm", "--controls", "--json"
    )
    assert done.code == 0, done.err
    told: dict[str, Any] = done.json
    return told


def results(place: Place) -> list[Path]:
    return sorted((place.folder / "home" / "evals").glob("evl_*/results.jsonl"))


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def until_there_are(lines: int, path: Callable[[], Path | None]) -> Path:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = path()
        if found is not None and lines_of(found) >= lines:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited 60 s for {lines} records")


def test_a_run_prints_its_report_and_leaves_a_log(place: Place, measured: dict[str, Any]) -> None:
    assert (measured["status"], measured["done"], measured["expected"]) == ("complete", 2, 2)
    assert set(measured["lift"]["arms"]) == {"memory", "without", "placebo", "equal_calls"}
    assert "A gain of memory is not shown" in measured["lift"]["sentence"]
    folder = place.folder / "home" / "evals" / measured["id"]
    assert {path.name for path in folder.iterdir()} >= {"header.json", "samples.jsonl", "results.jsonl", "summary.json"}
    assert json.loads((folder / "summary.json").read_text("utf-8"))["lift"]["sentence"] == measured["lift"]["sentence"]


def test_an_interrupted_and_a_killed_evaluation_are_gone_on_with(place: Place) -> None:
    before = set(results(place))

    def fresh() -> Path | None:
        return next(iter(sorted(set(results(place)) - before)), None)

    arguments = ("run", "aime", "--data", place.data, "--jobs", "1")
    with subprocess.Popen(
        command(*arguments), env=place.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        path = until_there_are(1, fresh)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    id_ = path.parent.name
    assert process.returncode == 130, err
    assert f"mneme eval run --resume {id_}" in err
    assert "incomplete:" in out
    first = lines_of(path)
    assert first < 6

    with subprocess.Popen(
        command("run", "--resume", id_, "--jobs", "1"),
        env=place.env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as killed:
        until_there_are(first + 1, lambda: path)
        killed.kill()
        killed.wait(30)
    second = lines_of(path)
    assert first < second < 6

    done = execute(place, "run", "--resume", id_)
    assert done.code == 0, done.err
    assert "complete: 6 of 6 attempts" in done.out
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert sorted(record["item_id"] for record in records) == [f"p{n}" for n in range(6)], "each was recorded once"
    assert sum(record["correct"] for record in records) == 5


def test_a_run_that_lacks_attempts_exits_1_and_says_how_to_go_on(place: Place) -> None:
    gone = place._replace(env=place.env | {"MNEME_LLM__MODEL": "x", "MNEME_LLM__BASE_URL": "http://127.0.0.1:9/v1"})
    env = gone.env | {"MNEME_LLM__RETRIES": "0", "MNEME_HOME": str(place.folder / "other")}
    done = execute(gone._replace(env=env), "run", "aime", "--data", place.data, "--limit", "1")
    assert done.code == 1
    assert "1 of 1 attempts have no record" in done.err
    assert "--resume evl_" in done.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["run"], "exactly one of SUITE and --resume"),
        (["run", "aime", "--resume", "evl_1"], "exactly one"),
        (["run", "aime", "--controls"], "--memory"),
        (["run", "aime", "--build", "aime2021"], "--memory warm"),
        (["run", "aime", "--orders", "2"], "continual"),
        (["run", "aime", "-C", "n"], "KEY=VALUE"),
        (["run", "aime", "--prices", "absent.toml"], "absent.toml"),
        (["show", "evl_0"], "'evl_0'"),
        (["compare", "evl_0", "evl_1"], "'evl_0'"),
        (["export", "evl_0"], "'evl_0'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(mneme: Mneme, arguments: list[str], named: str) -> None:
    done = mneme(*arguments)
    assert done.code == 2, done
    assert named in done.err
    assert done.out == ""


def test_evaluations_are_listed_with_their_controls(mneme: Mneme, measured: dict[str, Any]) -> None:
    rows = mneme("list", "--json").json["items"]
    mine = [row for row in rows if measured["id"] in (row["id"], row["control_of"])]
    assert {row["control"] for row in mine} == {None, "without", "placebo", "equal_calls"}
    printed = mneme("list").out
    assert measured["id"] in printed
    assert "warm (placebo)" in printed


def test_suites_and_data_sets_are_listed_with_licences(mneme: Mneme) -> None:
    told = mneme("list", "--suites", "--json").json
    assert {suite["name"] for suite in told["suites"]} >= {"aime", "math500", "gsm8k", "hmmt", "small"}
    assert all(each["licence"] for each in told["sets"])
    assert "hf:MathArena/aime_2025:train" in mneme("list", "--suites").out


def test_a_report_is_shown_with_prices(mneme: Mneme, measured: dict[str, Any], tmp_path: Path, place: Place) -> None:
    model = measured["models"][0]
    prices = tmp_path / "prices.toml"
    prices.write_text(f'currency = "EUR"\n["{model}"]\nprompt = 1000000.0\ncompletion = 0.0\n', encoding="utf-8")
    told = mneme("show", measured["id"], "--prices", str(prices), "--json").json
    assert told["cost"]["money"] == told["cost"]["prompt_tokens"]
    printed = mneme("show", measured["id"], "--prices", str(prices)).out
    assert "EUR" in printed
    assert "A gain of memory is not shown" in printed
    assert "chance" in printed


def test_two_evaluations_are_compared(mneme: Mneme, measured: dict[str, Any]) -> None:
    other = measured["lift"]["arms"]["without"]["id"]
    told = mneme("compare", measured["id"], other, "--json").json
    assert (told["problems"], told["same_data"]) == (2, True)
    printed = mneme("compare", measured["id"], other).out
    assert "McNemar exact p = 1" in printed
    assert printed.endswith("the interval includes zero.\n")


def test_a_log_is_exported_to_a_file_or_to_stdout(mneme: Mneme, measured: dict[str, Any], tmp_path: Path) -> None:
    assert mneme("export", measured["id"], "--format", "inspect").code == 0
    written = json.loads((tmp_path / f"{measured['id']}.json").read_text("utf-8"))
    assert written["eval"]["eval_id"] == measured["id"]
    assert json.loads(mneme("export", measured["id"], "-o", "-").out) == written
    assert mneme("export", measured["id"], "-o", str(tmp_path / "no" / "folder.json")).code == 2


def test_a_report_is_written_as_one_page_that_needs_nothing_else(
    mneme: Mneme, measured: dict[str, Any], tmp_path: Path
) -> None:
    assert mneme("export", measured["id"], "--format", "html").code == 0
    written = (tmp_path / f"{measured['id']}.html").read_text("utf-8")
    assert "What memory is worth" in written
    assert "<script" not in written
    assert mneme("export", measured["id"], "--format", "html", "-o", "-").out.strip() == written.strip()
