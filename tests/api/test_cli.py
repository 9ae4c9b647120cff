"""The command line: what it prints, where, and how it exits."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from api.cli import main
from api.cli.run import parse_config
from runtime.errors import InvalidInput
from runtime.llm.scripted_process import ScriptedProcess, scripted_process
from tests.serving import bare_environment, free_port, serving, until

STOP_S = 30.0


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Mneme = Callable[..., Result]


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedProcess]:
    with scripted_process() as process:
        yield process


@pytest.fixture
def env(tmp_path: Path, model: ScriptedProcess) -> dict[str, str]:
    """An environment that knows a home of its own and the scripted model server, and nothing of this machine's."""
    return bare_environment() | {"MNEME_HOME": str(tmp_path / "home"), "MNEME_LLM__BASE_URL": model.url}


@pytest.fixture
def mneme(
    env: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Mneme:
    """Commands called in this process: starting Python costs seconds each time."""
    for name in set(os.environ) - set(env):
        monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, stdin: str = "", **more: str) -> Result:
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["mneme", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        logging.getLogger("dbos").handlers.clear()  # they write to what stood for the terminal in this test
        code = end.value.code
        return Result(code if isinstance(code, int) else int(code is not None), printed.out, printed.err)

    return call


def test_version_is_printed_plain_and_as_json(mneme: Mneme) -> None:
    assert re.fullmatch(r"mneme \d+\.\d+\.\d+\n", mneme("version").out)
    assert set(mneme("version", "--json").json) == {"version", "python"}


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["serve", "--port", "many"], ["run"], ["agents", "show"], ["keys", "create"]],
)
def test_wrong_usage_exits_2(mneme: Mneme, arguments: Sequence[str]) -> None:
    done = mneme(*arguments)
    assert done.code == 2, done
    assert done.out == ""
    assert done.err


def test_an_unknown_setting_exits_2_and_names_the_near_one(mneme: Mneme) -> None:
    done = mneme("doctor", MNEME_LLM__BASEURL="x")
    assert done.code == 2
    assert "MNEME_LLM__BASE_URL" in done.err


def test_an_error_with_json_is_json_on_stdout(mneme: Mneme) -> None:
    done = mneme("agents", "show", "best-of-m", "--json")
    assert done.code == 2
    assert done.json["error"]["code"] == "not_found"
    assert "did you mean 'best-of-n'" in done.err


def test_agents_are_listed_and_shown_with_their_options(mneme: Mneme) -> None:
    names = [item["name"] for item in mneme("agents", "list", "--json").json["items"]]
    assert names == ["arcmemo", "best-of-n", "direct", "empirical-mcts", "self-consistency", "tim"]
    assert mneme("agents", "show", "best-of-n", "--json").json["config_schema"]["properties"]["n"]["default"] == 4
    assert "temperature" in mneme("agents", "show", "best-of-n").out


def test_the_database_is_upgraded_once_and_known_as_current(mneme: Mneme) -> None:
    before = mneme("db", "current")
    assert before.code == 1
    assert "mneme db upgrade" in before.out
    first = mneme("db", "upgrade", "--json").json
    assert first["before"] is None
    assert mneme("db", "upgrade", "--json").json == {"before": first["now"], "now": first["now"]}
    assert mneme("db", "current", "--json").json == {"current": first["now"], "head": first["now"]}
    assert mneme("db", "current").code == 0


def test_a_key_is_shown_once_listed_without_its_text_and_revoked(mneme: Mneme) -> None:
    made = mneme("keys", "create", "laptop", "--scope", "read", "--expires", "30d")
    text = made.out.strip()
    assert text.startswith("mk-")
    assert text not in made.err
    (listed,) = mneme("keys", "list", "--json").json["items"]
    assert listed["name"] == "laptop"
    assert listed["scopes"] == ["read"]
    assert text not in json.dumps(listed)
    assert mneme("keys", "revoke", listed["id"], "--json").json["revoked_at"]
    assert "revoked" in mneme("keys", "list").out


def test_a_key_that_does_not_exist_cannot_be_revoked(mneme: Mneme) -> None:
    done = mneme("keys", "revoke", "key_0")
    assert done.code == 2
    assert "'key_0'" in done.err


@pytest.mark.parametrize(("arguments", "named"), [(["--expires", "soon"], "30d"), (["--scope", "root"], "root")])
def test_a_key_with_a_wrong_option_is_refused(mneme: Mneme, arguments: list[str], named: str) -> None:
    done = mneme("keys", "create", "x", *arguments)
    assert done.code == 2
    assert named in done.err


def test_models_of_the_configured_server_are_listed_and_nothing_is_pulled(mneme: Mneme) -> None:
    listed = mneme("models", "list", "--json").json
    assert listed["server"]["models"]
    assert listed["packaged"][0]["name"] == "smollm2-135m-instruct"
    assert "no model to fetch" in mneme("models", "pull", MNEME_EMBED__MODEL="hashing-384").out


def test_a_model_server_that_is_down_is_said_with_its_address(mneme: Mneme) -> None:
    done = mneme("models", "list", MNEME_LLM__BASE_URL="http://127.0.0.1:9/v1")
    assert done.code == 1
    assert "127.0.0.1:9" in done.err


def test_doctor_is_content_with_a_prepared_home(mneme: Mneme) -> None:
    mneme("db", "upgrade")
    done = mneme("doctor", "--json")
    assert done.code == 0, done.out
    assert {check["name"] for check in done.json["checks"]} >= {"python", "names", "disk", "database", "model server"}
    origins = {row["key"]: row["origin"] for row in done.json["settings"]}
    assert origins["llm.base_url"] == "environment"
    assert origins["server.port"] == "default"


def test_doctor_names_what_is_wrong_and_the_fix_and_masks_secrets(mneme: Mneme) -> None:
    done = mneme(
        "doctor",
        MNEME_LLM__API_KEY="sk-very-secret",
        MNEME_LLM__BASE_URL="http://ada:lovelace@127.0.0.1:9/v1",
        DATABASE_URL="postgresql+psycopg://ada:hunter2@127.0.0.1:9/mneme",
    )
    assert done.code == 1
    for secret in ("sk-very-secret", "lovelace", "hunter2"):
        assert secret not in done.out + done.err
    assert "BAD  database" in done.out
    assert "BAD  model server" in done.out
    assert "fix:" in done.out


def test_a_run_prints_the_answer_on_stdout_and_the_account_on_stderr(mneme: Mneme) -> None:
    done = mneme("run", "direct", "Name a prime number.")
    assert done.code == 0, done.err
    assert done.out.strip()
    assert "tokens" in done.err


def test_a_run_as_json_is_what_the_api_shows(mneme: Mneme) -> None:
    done = mneme("run", "self-consistency", "-", "-C", "n=2", "--seed", "7", "--json", stdin="What is 2 + 2?")
    assert done.code == 0, done.err
    assert done.json["status"] == "succeeded"
    assert done.json["agent"] == "self-consistency"
    assert done.json["output"]["text"]
    assert "self_consistency.answer" in done.json["usage"]["by_purpose"]


def test_a_run_takes_a_typed_task_from_a_file(mneme: Mneme, tmp_path: Path) -> None:
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"kind": "math", "problem": "x + 1 = 3", "check": {"equations": ["x+1=3"]}}))
    done = mneme("run", "best-of-n", "--file", str(task), "-C", "n=1", "--json")
    assert done.code == 0, done.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["no-such-agent", "x"], "'no-such-agent'"),
        (["best-of-n", "x", "-C", "m=4"], "'m'"),
        (["direct", "x", "--model", "no-such-model"], "'no-such-model'"),
    ],
)
def test_a_run_that_cannot_be_is_refused_by_name(mneme: Mneme, arguments: list[str], named: str) -> None:
    done = mneme("run", *arguments)
    assert done.code == 2, done
    assert named in done.err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["x", "-C", "n"], "KEY=VALUE"),
        (["--file", "absent.txt"], "absent.txt"),
        (["x", "--file", "y"], "exactly one"),
        ([], "exactly one"),
    ],
)
def test_a_run_that_cannot_be_read_is_refused_before_anything_starts(
    mneme: Mneme, arguments: list[str], named: str
) -> None:
    done = mneme("run", "direct", *arguments)
    assert done.code == 2, done
    assert named in done.err


def test_a_run_that_fails_exits_1(mneme: Mneme) -> None:
    done = mneme("run", "direct", "x", MNEME_LLM__BASE_URL="http://127.0.0.1:9/v1", MNEME_LLM__RETRIES="0")
    assert done.code == 1
    assert "model_unavailable" in done.err


def test_a_run_interrupted_at_the_terminal_is_cancelled_and_exits_130(env: dict[str, str], tmp_path: Path) -> None:
    script = tmp_path / "slow.toml"
    script.write_text('[[rule]]\nreply = "one two three four five six"\ndelay_ms = 2500\nfirst_delay_ms = 1\n')
    scripted = {name: value for name, value in env.items() if name != "MNEME_LLM__BASE_URL"}
    with subprocess.Popen(
        [sys.executable, "-m", "api.cli", "run", "direct", "Count."],
        env=scripted | {"MNEME_LLM__MODEL": f"scripted/{script}"},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(3) == "one"
        process.send_signal(signal.SIGINT)
        assert process.wait(STOP_S) == 130
        assert "cancelled: interrupted at the terminal" in process.stderr.read()


def test_options_of_an_agent_are_json_where_they_can_be() -> None:
    assert parse_config(["n=4", "mode=fast", "deep=true", "a=b=c"]) == {
        "n": 4,
        "mode": "fast",
        "deep": True,
        "a": "b=c",
    }
    with pytest.raises(InvalidInput, match="KEY=VALUE"):
        parse_config(["=4"])


def test_another_host_is_refused_without_a_key_and_the_fix_is_said(mneme: Mneme) -> None:
    done = mneme("serve", "--host", "0.0.0.0", "--port", str(free_port()))
    assert done.code == 2
    assert "mneme keys create" in done.err


def test_another_host_without_authentication_is_refused_even_with_a_key(mneme: Mneme) -> None:
    mneme("keys", "create", "x")
    done = mneme("serve", "--host", "0.0.0.0", "--port", str(free_port()), MNEME_AUTH__REQUIRED="false")
    assert done.code == 2
    assert "auth.required" in done.err


def test_a_port_that_is_taken_is_said(mneme: Mneme) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        done = mneme("serve", "--port", str(other.getsockname()[1]))
    assert done.code == 1
    assert re.fullmatch(r"mneme: cannot listen on \S+: .*; choose another with --port\n", done.err)


def test_serve_answers_and_ends_politely_on_sigterm(env: dict[str, str], tmp_path: Path) -> None:
    with serving(env, tmp_path) as running:
        assert running.get("/ready")[0] == 200
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(STOP_S) == 0
        assert "Traceback" not in running.remarks.read_text()


def test_serve_interrupted_at_the_terminal_exits_130(env: dict[str, str], tmp_path: Path) -> None:
    with serving(env, tmp_path) as running:
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(STOP_S) == 130


def test_several_workers_share_the_port_and_one_that_is_killed_comes_back(env: dict[str, str], tmp_path: Path) -> None:
    with serving(env, tmp_path, "--workers", "2") as running:
        parent = psutil.Process(running.process.pid)
        until(lambda: len(workers_of(parent)) == 2, "two workers")
        before = workers_of(parent)
        before[0].kill()
        until(lambda: len({p.pid for p in workers_of(parent)} - {p.pid for p in before}) == 1, "another worker")
        assert running.get("/health")[0] == 200
        for _ in range(4):
            running.ask("direct")
        assert 'mneme_runs_total{agent="direct",status="succeeded"} 4.0' in running.get("/metrics")[1]
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(STOP_S) == 0
        assert not [p for p in before if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_workers_end_when_their_parent_is_killed(env: dict[str, str], tmp_path: Path) -> None:
    with serving(env, tmp_path, "--workers", "2") as running:
        parent = psutil.Process(running.process.pid)
        until(lambda: len(workers_of(parent)) == 2, "two workers")
        children = workers_of(parent)
        running.process.kill()
        _, alive = psutil.wait_procs(children, timeout=STOP_S)
        assert alive == []


def workers_of(parent: psutil.Process) -> list[psutil.Process]:
    return [p for p in parent.children() if p.status() != psutil.STATUS_ZOMBIE and "api.child" in p.cmdline()]


def test_a_worker_takes_runs_without_answering_http(env: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "api.cli", "worker"]
    with subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("takes runs" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_S) == 0
