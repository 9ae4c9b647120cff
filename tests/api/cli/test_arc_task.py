"""`mneme run --task arc:…`: the task is asked without its hidden outputs, and what is submitted is shown and compared."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from api.cli.app import app
from api.cli.arc_task import ArcRun
from evals.suites import arc_data
from runtime.errors import InvalidInput, UnknownName
from tests.serving import bare_environment


def run_of(text: str, **detail: Any) -> dict[str, Any]:
    return {"id": "run_1", "output": {"text": text, "finish_reason": "stop", **({"detail": detail} if detail else {})}}


def test_a_task_is_the_input_of_a_run_without_what_is_hidden() -> None:
    asked = ArcRun.of("arc:v1-eval/00576224")
    assert set(asked.sample.task) == {"kind", "id", "train", "test"}
    assert asked.sample.task["test"] == [{"input": asked.named.record["test"][0]["input"]}]
    assert asked.suite == "arc1/test", "what is learned on it is known as that"
    assert ArcRun.of("arc2:007bbfb7").suite == "arc2/train"


def test_both_attempts_are_shown_and_compared_when_the_run_is_over() -> None:
    asked = ArcRun.of("arc1:67a3c6ac")
    said: list[str] = []
    gold = [pair["output"] for pair in asked.named.record["test"]]
    graded = asked.graded(run_of("", attempts=[[[[1]], gold[0]]]), colour=False, say=said.append)
    assert graded["arc"] == {"set": "arc1-train", "id": "67a3c6ac", "solved": [True], "score": 1.0}
    assert graded["id"] == "run_1"
    assert "attempt 1 ✗   attempt 2 ✓" in said[0]
    assert said[-1] == "arc1-train 67a3c6ac: 1 of 1 test inputs right"


@pytest.mark.parametrize("output", [None, {"text": "no grid", "finish_reason": "stop"}])
def test_a_run_without_a_grid_solves_nothing(output: Any) -> None:
    said: list[str] = []
    graded = ArcRun.of("arc1:67a3c6ac").graded({"output": output}, colour=False, say=said.append)
    assert graded["arc"]["solved"] == [False]
    assert "no attempt" in said[0]
    assert said[-1] == "arc1-train 67a3c6ac: no grid in the reply"


@pytest.mark.parametrize(
    ("arguments", "error", "named"),
    [
        (["--task", "arc:x"], InvalidInput, "expected arc:ID"),
        (["--task", "arc:00000000"], UnknownName, "no such id"),
        (["What?", "--task", "arc1:67a3c6ac"], InvalidInput, "exactly one of PROMPT, --file and --task"),
        ([], InvalidInput, "exactly one of PROMPT, --file and --task"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_opened(
    arguments: list[str], error: type[Exception], named: str
) -> None:
    done = CliRunner().invoke(app, ["run", "direct", *arguments])
    assert isinstance(done.exception, error)
    assert named in str(done.exception)


def test_the_command_runs_the_agent_and_says_how_it_went(tmp_path: Path) -> None:
    gold = arc_data.find("arc1:67a3c6ac").record["test"][0]["output"]
    script = tmp_path / "script.toml"
    script.write_text(f"[[rule]]\nreply = {json.dumps(json.dumps(gold))}\n", encoding="utf-8")
    env = bare_environment() | {
        "MNEME_HOME": str(tmp_path / "home"),
        "MNEME_LLM__MODEL": f"scripted/{script}",
        "MNEME_EMBED__MODEL": "hashing-384",
        "MNEME_TELEMETRY__LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "api.cli", "run", "direct", "--task", "arc:67a3c6ac"]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == gold
    assert "attempt 1 ✓" in done.stderr
    assert "arc1-train 67a3c6ac: 1 of 1 test inputs right" in done.stderr
    assert "\033[48" not in done.stderr, "no colours where no terminal is"
