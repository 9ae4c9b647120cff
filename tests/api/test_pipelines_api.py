"""Learning over HTTP: asked for, done by a job that everybody can look at, and learnt with the purposes of the contract."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import pytest
from starlette.requests import Request

from api import errors
from memory.jobs import TooManyJobs
from tests.api.conftest import Served, serving
from tests.memory.laboratory import rule

UNKNOWN = "mem_" + "0" * 32
SPAN = {"message_id": "m1", "start": 0, "end": 20}
CLAIM = {"key": "home", "text": "Ana lives in Porto", "kind": "user", "confidence": 0.9, "span": SPAN}
SCRIPT = "\n".join(
    [
        rule("memory.extract", "no, not today", contains="Berta"),
        rule("memory.extract", {"memories": [CLAIM]}),
        rule("memory.classify_pair", {"label": "independent", "reason": "r", "quotes": ["a", "b"], "newer": "unknown"}),
        rule("memory.feedback", {"items": []}),
        rule("memory.summarise", {"title": "t", "text": "x", "child_ids": [UNKNOWN]}),
    ]
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("pipelines"), SCRIPT) as running:
        yield running


@pytest.fixture
def vault(served: Served, request: pytest.FixtureRequest) -> str:
    made = served.http.post("/api/vaults", json={"name": request.node.name[:150]})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def add(served: Served, vault: str, content: str, **query: str) -> dict[str, Any]:
    response = served.http.post("/api/memories", json={"content": content, "vault": vault}, params=query)
    assert response.status_code in (201, 202), response.text
    body: dict[str, Any] = response.json()
    return body


def ended(served: Served, job_id: str, state: str = "done") -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        job: dict[str, Any] = served.http.get(f"/api/jobs/{job_id}").json()
        if job["state"] == state:
            return job
        assert time.monotonic() < deadline, job
        time.sleep(0.05)


def contents(served: Served, vault: str) -> list[str]:
    items = served.http.get("/api/memories", params={"vault": vault}).json()["items"]
    return sorted(item["content"] for item in items)


def ask(served: Served, vault: str, what: str, **body: Any) -> httpx.Response:
    return served.http.post(f"/api/vaults/{vault}/{what}", json=body)


def test_raw_material_is_extracted_when_it_is_waited_for(served: Served, vault: str) -> None:
    made = add(served, vault, "My name is Ana and I live in Porto", wait="extracted")
    assert (made["state"], made["admission"]) == ("generated", "generated")
    job = ended(served, made["job"])
    assert (job["kind"], job["args"]["memory_ids"]) == ("memory.extract", [made["id"]])
    assert job["result"] == {"admit": 1, "quarantine": 0, "drop": 0, "duplicate": 0}
    assert contents(served, vault) == ["Ana lives in Porto", "My name is Ana and I live in Porto"]
    found = served.http.post("/api/memories/search", json={"query": "Where does Ana live?", "vaults": [vault]}).json()
    assert [hit["memory"]["content"] for hit in found["hits"]] == ["Ana lives in Porto"], "the raw one gives way"


def test_extraction_is_asked_for_and_an_echo_brings_nothing(served: Served, vault: str) -> None:
    known = add(served, vault, "Ana lives in Porto, as she told us")
    raw = add(served, vault, "Where does Ana live? Somebody knows it")
    response = ask(served, vault, "extract", memories=[raw["id"]], injected=[known["id"]])
    assert response.status_code == 202
    job = response.json()
    assert response.headers["location"] == f"/api/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["total"]) == ("memory.extract", "queued", 1)
    assert job["args"] == {"vault_id": vault, "memory_ids": [raw["id"]], "injected": [known["id"]]}
    assert ended(served, job["id"])["result"] == {"admit": 0, "quarantine": 0, "drop": 1, "duplicate": 0}
    assert len(contents(served, vault)) == 2


def test_classification_and_summaries_are_asked_for(served: Served, vault: str) -> None:
    ids = [add(served, vault, text)["id"] for text in ("Ana sings in a choir", "Ana dances in Faro")]
    job = ask(served, vault, "classify", memories=ids)
    assert (job.status_code, job.json()["kind"]) == (202, "memory.classify")
    assert ended(served, job.json()["id"])["done"] == 2
    job = ask(served, vault, "summarise", memories=ids)
    assert (job.status_code, job.json()["kind"]) == (202, "memory.summarise")
    # The script cites a memory that was not shown: nothing is written, and the job says why.
    failed = ended(served, job.json()["id"], "failed")
    assert failed["error"].startswith("malformed_reply: memory.summarise")
    assert len(contents(served, vault)) == 2


def test_a_model_that_does_not_answer_leaves_the_raw_memory_and_a_job_to_replay(served: Served, vault: str) -> None:
    made = add(served, vault, "My name is Berta and I live in Bern", wait="extracted")
    failed = ended(served, made["job"], "failed")
    assert failed["error"].startswith("malformed_reply: memory.extract: no valid Extraction after 1 repair")
    assert contents(served, vault) == ["My name is Berta and I live in Bern"]
    found = served.http.post("/api/memories/search", json={"query": "Berta Bern", "vaults": [vault]}).json()
    assert [hit["memory"]["id"] for hit in found["hits"]] == [made["id"]]
    replayed = served.http.post(f"/api/jobs/{made['job']}/replay")
    assert (replayed.status_code, replayed.json()["state"]) == (202, "queued")


def test_feedback_in_words_corrects_the_memory(served: Served, vault: str) -> None:
    cube = add(served, vault, "Ana lives in Porto with Momo")
    response = served.http.post(f"/api/memories/{cube['id']}/feedback", json={"text": 'Replace "Porto" with "Lisbon"'})
    assert response.status_code == 202, response.text
    assert ended(served, response.json()["job"])["result"] == {"corrected": 1, "added": 0, "asked": 0}
    assert served.http.get(f"/api/memories/{cube['id']}").json()["content"] == "Ana lives in Lisbon with Momo"


def test_the_model_server_saw_purpose_and_job(served: Served, vault: str) -> None:
    made = add(served, vault, "My name is Ana, and Porto is where I live", wait="extracted")
    ended(served, made["job"])
    assert served.model is not None
    (call,) = [call for call in served.model.requests() if call["run"] == made["job"]]
    assert (call["purpose"], call["body"]["response_format"]["json_schema"]["name"]) == (
        "memory.extract",
        "memory_extract",
    )


def test_the_same_key_asks_once(served: Served, vault: str) -> None:
    raw = add(served, vault, "My name is Ana and I live near Porto")
    key = {"Idempotency-Key": f"once-{vault}"}
    first, second = (
        served.http.post(f"/api/vaults/{vault}/extract", json={"memories": [raw["id"]]}, headers=key) for _ in range(2)
    )
    assert (first.status_code, second.status_code, second.json()["id"]) == (202, 202, first.json()["id"])
    other = served.http.post(f"/api/vaults/{vault}/extract", json={"memories": [UNKNOWN]}, headers=key)
    assert other.status_code == 422


@pytest.mark.parametrize("what", ["extract", "classify", "summarise"])
def test_what_cannot_be_asked_for_is_refused_with_the_field(served: Served, vault: str, what: str) -> None:
    ids = [add(served, vault, f"Ana has {n} cats in Porto")["id"] for n in (2, 3)]
    elsewhere = served.http.post("/api/memories", json={"content": f"Ana sails, {what}"}).json()["id"]
    assert ask(served, vault, what, memories=[]).status_code == 422
    assert ask(served, vault, what, memories=ids, more=1).status_code == 422
    assert ask(served, vault, what, memories=[*ids, UNKNOWN]).status_code == 404
    assert ask(served, vault, what, memories=[*ids, "nonsense"]).status_code == 404
    assert ask(served, "no-such-vault", what, memories=ids).status_code == 404
    wrong = ask(served, vault, what, memories=[*ids, elsewhere])
    assert (wrong.status_code, wrong.json()["errors"][0]["param"]) == (400, "memories")
    gone = served.http.delete(f"/api/memories/{ids[0]}", headers={"If-Match": '"1"'})
    assert gone.status_code == 200
    assert ask(served, vault, what, memories=ids).status_code == 410


def test_too_many_unfinished_jobs_are_a_429_that_says_when_to_try_again() -> None:
    request = Request({"type": "http", "method": "POST", "path": "/api/vaults/x/extract", "headers": []})
    response = anyio.run(errors.on_error, request, TooManyJobs("200 of yours are unfinished", retry_after_s=4.2))
    assert (response.status_code, response.headers["retry-after"]) == (429, "5")
    body = json.loads(bytes(response.body))
    assert (body["code"], body["instance"]) == ("too_many_jobs", "/api/vaults/x/extract")
