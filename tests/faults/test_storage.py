"""The database refuses in the middle of a run: a clear failure, the service stays up, the run goes on later."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import Serve, Served

SCRIPT = """
[[rule]]
contains = "long"
reply = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
delay_ms = 40
"""


def ask(served: Served, text: str) -> tuple[int, dict[str, Any]]:
    body = {"model": "direct", "messages": [{"role": "user", "content": text}]}
    response = served.http.post("/v1/chat/completions", json=body)
    return response.status_code, response.json()


@pytest.mark.slow
def test_a_database_that_is_locked_for_too_long_is_a_clear_503_and_passes(serve: Serve, tmp_path: Path) -> None:
    with serve(SCRIPT, database__busy_timeout_s=0.3) as served:
        assert ask(served, "before")[0] == 200
        holder = sqlite3.connect(tmp_path / "mneme.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            status, body = ask(served, "while locked")
            assert status == 503
            assert "locked" in body["error"]["message"]
            assert served.http.get("/health").status_code == 200
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        assert ask(served, "after")[0] == 200
        runs = served.http.get("/api/runs").json()["items"]
        assert len(runs) == 2, "nothing of the refused one was kept"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_log_that_refuses_in_the_middle_of_a_run_fails_it_clearly_and_the_run_goes_on_later(
    serve: Serve, tmp_path: Path
) -> None:
    """Every write of the event log is refused from some moment on, as on a full disk, and later is not."""
    with serve(SCRIPT, database__busy_timeout_s=0.2, runs__heartbeat_s=0.3) as served:
        assert ask(served, "before")[0] == 200
        answers: list[tuple[int, dict[str, Any]]] = []
        asking = threading.Thread(target=lambda: answers.append(ask(served, "long")))
        asking.start()
        time.sleep(0.4)
        holder = sqlite3.connect(tmp_path / "mneme.db", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            asking.join(20)
            assert answers[0][0] == 503, answers
            assert answers[0][1]["error"]["code"] == "storage_error"
            assert served.http.get("/health").status_code == 200
        finally:
            holder.execute("ROLLBACK")
            holder.close()
        assert ask(served, "after")[0] == 200
        for _ in range(100):
            runs = {str(run["input"]): run for run in served.http.get("/api/runs").json()["items"]}
            stuck = next(run for text, run in runs.items() if "long" in text)
            if stuck["status"] in ("succeeded", "failed"):
                break
            time.sleep(0.2)
        assert stuck["status"] in ("succeeded", "failed"), stuck
        ends = [e for e in served.events(stuck["id"]) if e["type"] in ("run.finished", "run.failed")]
        assert len(ends) == 1
