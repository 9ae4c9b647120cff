"""What a vault has learned about ranking, over HTTP: read, taught from recorded use, forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from api.routes.vault_ranking import RankingBody, RankingLearned
from memory.ranking.fusion import WEIGHTS
from tests.api.conftest import Served, serving

QUESTION = "What did Ann say about the reed?"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("ranking"), None) as running:
        yield running


@pytest.fixture(scope="module")
def ben(served: Served) -> Iterator[httpx.Client]:
    """Another user."""
    key = served.http.post("/api/keys", json={"name": "of Ben", "user": "ben"}).json()["key"]
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False, headers=headers) as client:
        yield client


@pytest.fixture
def vault(served: Served, request: pytest.FixtureRequest) -> str:
    """A vault in which Ann and Bob say three things each."""
    made = ok(served.http.post("/api/vaults", json={"name": request.node.name[:150]}), 201)
    for who in ("Ann", "Bob"):
        memories = [{"content": f"the reed of {who} by the {by}", "speaker": who} for by in ("willow", "mill", "lake")]
        body = {"memories": memories, "vault": made["id"]}
        ok(served.http.post("/api/memories", params={"wait": "indexed"}, json=body), 201)
    return str(made["id"])


def ok(response: httpx.Response, status: int = 200, model: type[BaseModel] | None = None) -> dict[str, Any]:
    """The answer, which must be as `/openapi.json` says."""
    assert response.status_code == status, response.text
    if model is not None:
        model.model_validate_json(response.content, strict=True)
    body: dict[str, Any] = response.json()
    return body


def of_ann(served: Served, vault: str) -> list[str]:
    items = served.http.get("/api/memories", params={"vault": vault}).json()["items"]
    return [item["id"] for item in items if item["speaker"] == "Ann"]


def test_a_vault_learns_from_what_was_used_and_forgets(served: Served, vault: str) -> None:
    path = f"/api/vaults/{vault}/ranking"
    unlearned = {"weights": None, "learned": False, "defaults": dict(WEIGHTS)}
    assert ok(served.http.get(path), 200, RankingBody) == unlearned
    use = {"query": QUESTION, "used": of_ann(served, vault)}
    few = ok(
        served.http.put(path, json={"uses": [use, {"query": QUESTION, "used": ["mem_none"]}]}), 200, RankingLearned
    )
    assert (few["weights"], few["learned"]) == (None, False)
    assert (few["samples"], few["used"], few["left_out"]) == (6, 3, 1)
    assert "3 hits were used and 3 passed over" in few["why"]
    assert ok(served.http.get(path)) == unlearned
    headers = {"Idempotency-Key": "teach-1"}
    taught = served.http.put(path, json={"uses": [use] * 20}, headers=headers)
    learned = ok(taught, 200, RankingLearned)
    assert (learned["learned"], learned["samples"], learned["used"], learned["why"]) == (True, 120, 60, "")
    assert learned["weights"]["speaker"] > WEIGHTS["speaker"]
    again = served.http.put(path, json={"uses": [use] * 20}, headers=headers)
    assert (again.json(), again.headers["Idempotency-Replayed"]) == (learned, "true")
    assert ok(served.http.get(path), 200, RankingBody) == {**unlearned, "weights": learned["weights"], "learned": True}
    assert ok(served.http.delete(path), 200, RankingBody) == unlearned
    assert ok(served.http.get(path)) == unlearned
    lines = served.http.get("/api/audit", params={"limit": 500}).json()["items"]
    assert [line["action"] for line in lines if line["chain"] == vault][-2:] == ["learn", "forget"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "uses"),
        ({"uses": []}, "uses"),
        ({"uses": [{"query": "x", "used": ["a"]}] * 501}, "uses"),
        ({"uses": [{"query": "", "used": ["a"]}]}, "uses.0.query"),
        ({"uses": [{"query": "x\0", "used": ["a"]}]}, "uses.0.query"),
        ({"uses": [{"query": "x", "used": []}]}, "uses.0.used"),
        ({"uses": [{"query": "x", "used": [7]}]}, "uses.0.used.0"),
        ({"uses": [{"query": "x", "used": ["a"], "seen": []}]}, "uses.0.seen"),
    ],
)
def test_bad_fields_are_named(served: Served, body: dict[str, Any], param: str) -> None:
    response = served.http.put("/api/vaults/default/ranking", json=body)
    assert response.status_code in (400, 422)
    assert response.json()["errors"][0]["param"] == param


def test_reading_is_not_enough_to_teach(served: Served, ben: httpx.Client, vault: str) -> None:
    path = f"/api/vaults/{vault}/ranking"
    body = {"uses": [{"query": QUESTION, "used": of_ann(served, vault)}] * 20}
    assert {ben.get(path).status_code, ben.put(path, json=body).status_code, ben.delete(path).status_code} == {404}
    grants = f"/api/vaults/{vault}/grants"
    ok(served.http.post(grants, json={"user": "ben", "verbs": ["read"]}), 201)
    assert [ben.get(path).status_code, ben.put(path, json=body).status_code, ben.delete(path).status_code] == [
        200,
        403,
        403,
    ]
    ok(served.http.post(grants, json={"user": "ben", "verbs": ["read", "write"]}), 201)
    assert ok(ben.put(path, json=body))["learned"] is True
    assert ok(served.http.get(path))["learned"] is True


def test_an_id_of_somebody_else_is_as_good_as_one_that_never_was(served: Served, ben: httpx.Client, vault: str) -> None:
    ok(ben.post("/api/memories", json={"content": "Ben likes figs"}), 201)
    foreign, never = of_ann(served, vault)[0], "mem_" + "0" * 32
    answers = [
        ben.put("/api/vaults/default/ranking", json={"uses": [{"query": "figs", "used": [memory_id]}]}).json()
        for memory_id in (foreign, never)
    ]
    assert answers[0] == answers[1]
    assert (answers[0]["samples"], answers[0]["left_out"]) == (0, 1)
