"""`/openapi.json` is true: whatever is sent, the answer is one that it describes, and never a 5xx."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from api.openai import documented as openai_bodies
from api.routes import documented as bodies
from tests.api.conftest import Served, serving

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "missing_required_header",
)
MAX_S = 30


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("schema"), None) as running:
        yield running


def test_whatever_is_sent_the_answer_is_described_and_no_5xx(served: Served, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{served.url}/openapi.json"]
    options = {
        "--checks": ",".join(CHECKS),
        "--max-examples": "15",
        "--max-time": str(MAX_S),
        "--seed": "1",
        "--request-timeout": "20",
        "--generation-database": "none",
    }
    arguments = [word for pair in options.items() for word in pair]
    done = subprocess.run(
        [*command, *arguments, "--no-color"], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "generated" in done.stdout


def test_good_answers_are_as_described(served: Served) -> None:
    http = served.http
    hello = [{"role": "user", "content": "hello"}]
    accepted = http.post("/api/runs", json={"agent": "direct", "input": "hi", "budget": {"tokens": 100}})
    run_id = accepted.json()["id"]
    served.ended(run_id)
    failed = http.post("/api/runs", json={"agent": "self-consistency", "input": "hi", "config": {"n": 2}})
    served.ended(failed.json()["id"])
    made = http.post("/api/keys", json={"name": "described"})
    answers: list[tuple[type[BaseModel], Any]] = [
        (openai_bodies.ModelList, http.get("/v1/models")),
        (openai_bodies.Model, http.get("/v1/models/direct")),
        (openai_bodies.Completion, http.post("/v1/chat/completions", json={"model": "direct", "messages": hello})),
        (openai_bodies.ResponseBody, http.post("/v1/responses", json={"model": "direct", "input": "hello"})),
        (openai_bodies.OpenAIError, http.post("/v1/responses", json={"model": "none", "input": "hello"})),
        (bodies.RunAccepted, accepted),
        (bodies.RunBody, http.get(f"/api/runs/{run_id}")),
        (bodies.RunList, http.get("/api/runs")),
        (bodies.EventList, http.get(f"/api/runs/{run_id}/events")),
        (bodies.RunBody, http.post(f"/api/runs/{run_id}/cancel")),
        (bodies.AgentList, http.get("/api/agents")),
        (bodies.AgentBody, http.get("/api/agents/best-of-n")),
        (bodies.KeyMade, made),
        (bodies.KeyBody, http.delete(f"/api/keys/{made.json()['id']}")),
        (bodies.KeyList, http.get("/api/keys")),
        (bodies.Problem, http.get("/api/runs/run_none")),
        (bodies.Ready, http.get("/ready")),
        (bodies.Health, http.get("/health")),
    ]
    for model, answer in answers:
        model.model_validate_json(answer.content, strict=True)


def test_the_reference_shows_every_operation(served: Served) -> None:
    page = served.http.get("/docs").text
    for path in served.http.get("/openapi.json").json()["paths"]:
        assert path in page


def test_every_reference_of_the_description_is_in_it(served: Served) -> None:
    described = httpx.get(f"{served.url}/openapi.json").json()
    known = {f"#/components/schemas/{name}" for name in described["components"]["schemas"]}

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            for key, value in part.items():
                if key == "$ref" and isinstance(value, str):
                    yield value
                else:
                    yield from references(value)
        elif isinstance(part, list):
            for item in part:
                yield from references(item)

    found = set(references(described))
    assert found
    assert found <= known
