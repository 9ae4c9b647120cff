"""Memories over HTTP: stored once, edited by who saw the version, found, taken back, erased."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.conftest import Served, serving

UNKNOWN = "mem_" + "0" * 32


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("memories"), None) as running:
        yield running


@pytest.fixture
def vault(served: Served, request: pytest.FixtureRequest) -> str:
    """An empty vault for the test."""
    made = served.http.post("/api/vaults", json={"name": request.node.name[:150]})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def add(served: Served, content: str, **more: Any) -> dict[str, Any]:
    response = served.http.post("/api/memories", json={"content": content, **more})
    assert response.status_code in (200, 201), response.text
    body: dict[str, Any] = response.json()
    return body


def patch(served: Served, memory: dict[str, Any], **body: Any) -> httpx.Response:
    headers = {"If-Match": f'"{memory["version"]}"'}
    return served.http.patch(f"/api/memories/{memory['id']}", json=body, headers=headers)


def search(served: Served, query: str, **more: Any) -> list[str]:
    response = served.http.post("/api/memories/search", json={"query": query, **more})
    assert response.status_code == 200, response.text
    return [hit["memory"]["id"] for hit in response.json()["hits"]]


def test_a_memory_is_stored_read_and_found(served: Served, vault: str) -> None:
    source = {"kind": "message", "message_id": "m1", "role": "user", "quote": "I live in Porto"}
    response = served.http.post(
        "/api/memories",
        json={
            "content": "Ana lives in Porto",
            "vault": vault,
            "tags": ["home"],
            "entities": ["Ana"],
            "sources": [source],
        },
    )
    assert response.status_code == 201
    made = response.json()
    assert response.headers["location"] == f"/api/memories/{made['id']}"
    assert response.headers["etag"] == '"1"'
    assert (made["vault"], made["state"], made["version"], made["created"]) == (vault, "activated", 1, True)
    read = served.http.get(f"/api/memories/{made['id']}")
    assert read.headers["etag"] == '"1"'
    same = {"content", "tags", "entities", "origin", "provenance", "recorded_at", "id"}
    assert {name: read.json()[name] for name in same} == {name: made[name] for name in same}
    assert search(served, "where does Ana live", vaults=[vault]) == [made["id"]]
    provenance = served.http.get(f"/api/memories/{made['id']}/provenance").json()
    assert [item["quote"] for item in provenance["sources"]] == ["I live in Porto"]


def test_the_same_memory_again_is_the_one_that_is_there(served: Served, vault: str) -> None:
    first = add(served, "The tide turns at noon", vault=vault)
    again = served.http.post("/api/memories", json={"content": "the tide  turns at NOON", "vault": vault})
    assert again.status_code == 200
    assert (again.json()["id"], again.json()["created"]) == (first["id"], False)


def test_two_identical_adds_at_once_make_one_memory(served: Served, vault: str) -> None:
    ids: list[str] = []

    def post() -> None:
        with httpx.Client(base_url=served.url, timeout=30, trust_env=False) as client:
            body = {"content": "Twins are born together", "vault": vault}
            ids.append(client.post("/api/memories", json=body).json()["id"])

    threads = [threading.Thread(target=post) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 6
    assert len(set(ids)) == 1


def test_a_batch_says_what_became_of_each(served: Served, vault: str) -> None:
    contents = ["Bees dance", "Ants walk", "Bees dance"]
    body = {"memories": [{"content": text} for text in contents], "vault": vault}
    response = served.http.post("/api/memories", json=body)
    assert response.status_code == 201, response.text
    items = response.json()["items"]
    assert [(item["index"], item["status"], item["created"]) for item in items] == [
        (0, 201, True),
        (1, 201, True),
        (2, 200, False),
    ]
    assert items[0]["memory"]["id"] == items[2]["memory"]["id"]
    assert [item["error"] for item in items] == [None] * 3


def test_in_a_batch_what_is_not_stored_has_no_id_and_stops_nothing(served: Served, vault: str) -> None:
    bad = {"content": "A file without a path", "semantic_type": "file", "data": {"language": "python"}}
    body = {"memories": [{"content": "Good one"}, bad, {"content": "nul \0 inside"}], "vault": vault}
    response = served.http.post("/api/memories", json=body)
    assert response.status_code == 207, response.text
    items = response.json()["items"]
    assert [item["status"] for item in items] == [201, 400, 400]
    assert [item["memory"] is None for item in items] == [False, True, True]
    assert items[1]["error"]["param"] == "data.path"
    listed = served.http.get("/api/memories", params={"vault": vault}).json()["items"]
    assert [item["content"] for item in listed] == ["Good one"]


@pytest.mark.parametrize("place", ["body", "query"])
def test_waiting_for_the_index_answers_when_it_is_there(served: Served, vault: str, place: str) -> None:
    body: dict[str, Any] = {"content": f"Rivers flow to the {place}", "vault": vault}
    waits = {"wait": "indexed"}
    in_query = place == "query"
    response = served.http.post(
        "/api/memories", json=body if in_query else body | waits, params=waits if in_query else {}
    )
    assert response.status_code == 201, response.text
    made = served.http.get(f"/api/memories/{response.json()['id']}").json()
    assert made["vector_state"] == "synced"
    assert search(served, "streams and the sea", vaults=[vault], mode="dense") == [made["id"]]


def test_an_edit_needs_the_version_that_was_seen(served: Served, vault: str) -> None:
    memory = add(served, "The bridge is green", vault=vault)
    path = f"/api/memories/{memory['id']}"
    missing = served.http.patch(path, json={"content": "x"})
    assert missing.status_code == 428
    assert missing.json()["errors"][0]["param"] == "If-Match"
    for tag in ('"nonsense"', "*", '"1", "2"'):
        assert served.http.patch(path, json={"content": "x"}, headers={"If-Match": tag}).status_code == 400
    edited = patch(served, memory, content="The bridge is red", reason="painted")
    assert edited.status_code == 200, edited.text
    assert (edited.headers["etag"], edited.json()["content"]) == ('"2"', "The bridge is red")
    late = patch(served, memory, content="The bridge is blue")
    assert late.status_code == 412
    problem = late.json()
    assert problem["code"] == "stale"
    assert (problem["seen"]["version"], problem["seen"]["content"]) == (1, "The bridge is green")
    assert (problem["current"]["version"], problem["current"]["content"]) == (2, "The bridge is red")
    assert "-The bridge is green" in problem["diff"]["content"]
    assert "+The bridge is red" in problem["diff"]["content"]
    assert served.http.get(path).json()["content"] == "The bridge is red"
    nobody = served.http.patch(path, json={"content": "x"}, headers={"If-Match": '"99"'})
    assert nobody.status_code == 412
    assert nobody.json()["seen"] is None
    weak = served.http.patch(path, json={"content": "The bridge is old"}, headers={"If-Match": 'W/"2"'})
    assert weak.status_code == 200


def test_of_many_editors_who_saw_the_same_version_one_wins(served: Served, vault: str) -> None:
    memory = add(served, "Everybody edits me", vault=vault)
    codes: list[int] = []

    def edit(number: int) -> None:
        with httpx.Client(base_url=served.url, timeout=30, trust_env=False) as client:
            response = client.patch(
                f"/api/memories/{memory['id']}", json={"content": f"edit {number}"}, headers={"If-Match": '"1"'}
            )
            codes.append(response.status_code)

    threads = [threading.Thread(target=edit, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200, 412, 412, 412, 412, 412]
    assert served.http.get(f"/api/memories/{memory['id']}").json()["version"] == 2


def test_only_what_is_given_changes_and_null_takes_away(served: Served, vault: str) -> None:
    memory = add(served, "The kettle sings", vault=vault, tags=["kitchen"], title="Kettle", priority=1)
    edited = patch(served, memory, title=None, tags=["kitchen", "noise"]).json()
    assert (edited["title"], edited["tags"], edited["priority"], edited["content"]) == (
        None,
        ["kitchen", "noise"],
        1,
        "The kettle sings",
    )
    longer = patch(served, edited, content="and the cat listens", mode="append").json()
    assert longer["content"] == "The kettle sings\nand the cat listens"
    for wrong in ({}, {"reason": "none"}, {"content": None}, {"state": "frozen"}, {"id": UNKNOWN}, {"tags": None}):
        assert patch(served, longer, **wrong).status_code in (400, 422), wrong


def test_a_client_that_has_the_version_gets_304(served: Served, vault: str) -> None:
    memory = add(served, "Nothing new here", vault=vault)
    path = f"/api/memories/{memory['id']}"
    for tag in ('"1"', '"7", "1"', "*", 'W/"1"'):
        known = served.http.get(path, headers={"If-None-Match": tag})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", '"1"')
    assert served.http.get(path, headers={"If-None-Match": '"2"'}).status_code == 200


def test_history_diff_and_restore(served: Served, vault: str) -> None:
    memory = add(served, "one", vault=vault)
    second = patch(served, memory, content="two", tags=["t"]).json()
    path = f"/api/memories/{memory['id']}"
    history = served.http.get(f"{path}/history").json()
    assert [(item["version"], item["content"]) for item in history["items"]] == [(2, "two"), (1, "one")]
    assert history["items"][0]["prev_hash"] == history["items"][1]["hash"]
    first = served.http.get(f"{path}/history", params={"limit": 1}).json()
    rest = served.http.get(f"{path}/history", params={"limit": 1, "cursor": first["next"]}).json()
    assert [first["items"], rest["items"], rest["next"]] == [history["items"][:1], history["items"][1:], None]
    diff = served.http.get(f"{path}/diff", params={"from": 1, "to": 2}).json()
    assert diff["fields"]["tags"] == {"from": [], "to": ["t"]}
    assert "+two" in diff["content"]
    assert served.http.get(f"{path}/diff", params={"from": 1, "to": 9}).status_code == 404
    assert served.http.get(f"{path}/diff", params={"from": 1}).status_code == 422
    assert served.http.post(f"{path}/restore", json={"version": 1}).status_code == 428
    back = served.http.post(f"{path}/restore", json={"version": 1}, headers={"If-Match": f'"{second["version"]}"'})
    assert back.status_code == 200, back.text
    assert (back.json()["content"], back.json()["version"], back.json()["tags"]) == ("one", 3, [])


def test_an_old_version_of_an_archived_memory_comes_back_with_its_text(served: Served, vault: str) -> None:
    memory = add(served, "first words", vault=vault)
    patch(served, memory, content="second words")
    path = f"/api/memories/{memory['id']}"
    assert served.http.post(f"{path}/state", json={"event": "archive"}).json()["version"] == 3
    back = served.http.post(f"{path}/restore", json={"version": 1}, headers={"If-Match": '"3"'})
    assert (back.json()["state"], back.json()["content"]) == ("activated", "first words")
    assert search(served, "first words", vaults=[vault], mode="lexical") == [memory["id"]]


def test_a_deleted_memory_is_gone_without_content_and_can_be_brought_back(served: Served, vault: str) -> None:
    memory = add(served, "The secret ingredient is nutmeg", vault=vault)
    path = f"/api/memories/{memory['id']}"
    assert served.http.delete(path).status_code == 428
    assert served.http.delete(path, headers={"If-Match": '"5"'}).status_code == 412
    deleted = served.http.delete(path, headers={"If-Match": '"1"'})
    assert (deleted.status_code, deleted.json()["state"], deleted.headers["etag"]) == (200, "deleted", '"2"')
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "", {}),
        ("PATCH", "", {"json": {"content": "x"}, "headers": {"If-Match": '"2"'}}),
        ("DELETE", "", {"headers": {"If-Match": '"2"'}}),
    ]
    for method, rest, more in calls:
        response = served.http.request(method, path + rest, **more)
        assert response.status_code == 410, (method, response.text)
        assert response.headers["content-type"] == "application/problem+json"
        assert "nutmeg" not in response.text
    assert search(served, "secret ingredient nutmeg", vaults=[vault]) == []
    listed = served.http.get("/api/memories", params={"vault": vault, "state": "deleted"})
    assert "nutmeg" not in listed.text
    assert served.http.post(f"{path}/state", json={"event": "restore"}).json()["state"] == "activated"
    assert search(served, "secret ingredient nutmeg", vaults=[vault]) == [memory["id"]]


def test_a_purge_erases_every_trace_and_gives_a_receipt(served: Served, vault: str) -> None:
    body = {"content": "Her middle name is Quetzalcoatlus", "vault": vault, "entities": ["Quetzalcoatlus"]}
    headers = {"Idempotency-Key": "purged-later"}
    memory = served.http.post("/api/memories", json=body, headers=headers).json()
    path = f"/api/memories/{memory['id']}"
    patch(served, memory, content="Her middle name is Quetzalcoatlus Maria")
    assert served.http.delete(path, params={"purge": True}, headers={"If-Match": '"1"'}).status_code == 412
    receipt = served.http.delete(path, params={"purge": True})
    assert receipt.status_code == 200, receipt.text
    told = receipt.json()
    assert (told["id"], told["purged"]) == (memory["id"], True)
    assert told["removed"]["versions"] == 3
    assert told["removed"]["stored_answers"] == 1
    assert served.http.get(path).status_code == 410
    history = served.http.get(f"{path}/history")
    assert all(item["redacted"] and item["content"] is None for item in history.json()["items"])
    again = served.http.delete(path, params={"purge": True})
    assert again.status_code == 200
    for file in served.settings.home.rglob("*"):
        if file.is_file():
            assert b"uetzalcoatlus" not in file.read_bytes(), f"the erased text is still in {file}"


def test_an_expired_memory_is_gone_also_before_the_sweep(served: Served, vault: str) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1.2)).isoformat()
    memory = add(served, "Milk is good until today", vault=vault, expires_at=soon)
    path = f"/api/memories/{memory['id']}"
    while datetime.now(UTC) < datetime.fromisoformat(soon):
        assert served.http.get(path).status_code in (200, 410)
    assert served.http.get(path).status_code == 410
    assert search(served, "milk until today", vaults=[vault]) == []


def test_states_move_as_the_table_says(served: Served, vault: str) -> None:
    memory = add(served, "Glaciers move slowly", vault=vault)
    path = f"/api/memories/{memory['id']}"
    frozen = served.http.post(f"{path}/state", json={"event": "freeze", "reason": "settled"})
    assert frozen.json()["state"] == "frozen"
    refused = patch(served, frozen.json(), content="Glaciers run")
    assert refused.status_code == 409
    wrong = served.http.post(f"{path}/state", json={"event": "approve"})
    assert (wrong.status_code, wrong.json()["code"]) == (409, "invalid_transition")
    stale = served.http.post(f"{path}/state", json={"event": "unfreeze"}, headers={"If-Match": '"1"'})
    assert stale.status_code == 412
    assert served.http.post(f"{path}/state", json={"event": "unfreeze"}).json()["state"] == "activated"
    assert served.http.post(f"{path}/state", json={"event": "explode"}).status_code == 422


def test_links_and_merges(served: Served, vault: str) -> None:
    first = add(served, "Oslo is the capital of Norway", vault=vault, tags=["a"])
    second = add(served, "The capital of Norway is Oslo, a city on a fjord", vault=vault, tags=["b"])
    link = served.http.post(f"/api/memories/{first['id']}/link", json={"to": second["id"], "type": "RELATES"})
    assert (link.status_code, link.json()["to"]) == (201, second["id"])
    links = served.http.get(f"/api/memories/{second['id']}/provenance").json()["links"]
    assert [(item["from"], item["to"], item["type"]) for item in links] == [(first["id"], second["id"], "RELATES")]
    assert served.http.post(f"/api/memories/{first['id']}/link", json={"to": first["id"]}).status_code == 400
    assert served.http.post(f"/api/memories/{first['id']}/link", json={"to": UNKNOWN}).status_code == 404
    merged = served.http.post("/api/memories/merge", json={"ids": [first["id"], second["id"]]})
    assert merged.status_code == 200, merged.text
    assert merged.json()["id"] == second["id"]
    assert set(merged.json()["tags"]) == {"a", "b"}
    assert served.http.get(f"/api/memories/{first['id']}").json()["state"] == "merged"


def test_a_text_stays_a_text_and_what_cannot_be_done_is_said(served: Served, vault: str) -> None:
    memory = add(served, "Keep me as I am", vault=vault)
    path = f"/api/memories/{memory['id']}/transform"
    assert served.http.post(path, json={"to": "plaintext"}).status_code == 200
    for form in ("activation", "parametric"):
        refused = served.http.post(path, json={"to": form})
        assert refused.status_code == 409
        assert form in refused.json()["detail"]


def test_search_filters_explains_and_travels_in_time(served: Served, vault: str) -> None:
    old = add(
        served,
        "Ana lives in Porto",
        vault=vault,
        subject="Ana",
        attribute="home",
        valid_from="2024-01-01T00:00:00Z",
        tags=["home"],
    )
    before = datetime.now(UTC).isoformat()
    new = add(
        served,
        "Ana moved to Lisbon",
        vault=vault,
        subject="Ana",
        attribute="home",
        valid_from="2025-03-10T00:00:00Z",
    )
    ask: dict[str, Any] = {"query": "where does Ana live", "vaults": [vault]}
    assert search(served, **ask) == [new["id"]]
    assert search(served, **ask, at="2024-06-01T00:00:00Z") == [old["id"]]
    assert search(served, **ask, as_of=before) == [old["id"]]
    assert search(served, **ask, tags=["home"], as_of=before) == [old["id"]]
    assert search(served, **ask, kinds=["event"]) == []
    body = served.http.post("/api/memories/search", json={**ask, "explain": True, "k": 1}).json()
    (hit,) = body["hits"]
    assert hit["score"] > 0
    assert hit["scores"]
    assert hit["why"]
    assert body["degraded"] == []
    for mode in ("hybrid", "dense", "lexical", "graph"):
        assert served.http.post("/api/memories/search", json={**ask, "mode": mode}).status_code == 200


def test_lists_come_in_pages(served: Served, vault: str) -> None:
    made = [add(served, f"page {number}", vault=vault, session_id="s")["id"] for number in range(5)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        params: dict[str, str | int] = {"vault": vault, "limit": 2, "session_id": "s"}
        if cursor:
            params["cursor"] = cursor
        page = served.http.get("/api/memories", params=params).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == made[::-1]
    wrong = served.http.get("/api/memories", params={"vault": vault, "cursor": UNKNOWN})
    assert wrong.status_code == 400


def test_the_same_idempotency_key_does_a_call_once(served: Served, vault: str) -> None:
    headers = {"Idempotency-Key": "memory-once"}
    body = {"content": "Only once, please", "vault": vault}
    first = served.http.post("/api/memories", json=body, headers=headers)
    again = served.http.post("/api/memories", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = served.http.post("/api/memories", json={**body, "content": "Else"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    path = f"/api/memories/{first.json()['id']}"
    once = {"Idempotency-Key": "edit-once", "If-Match": '"1"'}
    for _ in range(2):
        assert served.http.patch(path, json={"content": "edited"}, headers=once).json()["version"] == 2
    deleting = {"Idempotency-Key": "delete-once", "If-Match": '"2"'}
    assert served.http.delete(path, headers=deleting).status_code == 200
    # The query says what is done, so the same key with another one is another request.
    assert served.http.delete(path, headers=deleting, params={"purge": True}).status_code == 422


def test_the_vault_default_is_there_for_everybody(served: Served) -> None:
    memory = add(served, "No vault was named")
    vaults = {item["id"]: item["name"] for item in served.http.get("/api/vaults").json()["items"]}
    assert vaults[memory["vault"]] == "default"
    assert memory["id"] in search(served, "no vault was named")
    unknown = served.http.post("/api/memories", json={"content": "x", "vault": "nope"})
    assert unknown.status_code == 404
    assert served.http.post("/api/memories/search", json={"query": "x", "vaults": ["nope"]}).status_code == 404


def test_bad_fields_are_named(served: Served) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({}, "content"),
        ({"content": ""}, "content"),
        ({"content": 5}, "content"),
        ({"content": "x", "surprise": 1}, "surprise"),
        ({"content": "x", "semantic_type": "poem"}, "semantic_type"),
        ({"content": "x", "confidence": 2}, "confidence"),
        ({"content": "x", "valid_from": "yesterday"}, "valid_from"),
        ({"content": "x", "valid_from": "2024-01-01T00:00:00"}, "valid_from"),
        ({"content": "x", "valid_from": "2025-01-01T00:00:00Z", "valid_to": "2024-01-01T00:00:00Z"}, "valid_to"),
        ({"content": "x", "tags": [""]}, "tags"),
        ({"content": "x", "kind": "activation"}, "kind"),
        ({"content": "x", "wait": "forever"}, "wait"),
        ({"memories": []}, "memories"),
        ({"memories": [{"content": "x"}, {"text": "y"}]}, "memories.1"),
        ({"content": "x", "user_id": "usr_else"}, "user_id"),
    ]
    for body, param in wrong:
        response = served.http.post("/api/memories", json=body)
        assert response.status_code in (400, 422), (body, response.text)
        assert response.json()["errors"][0]["param"].startswith(param), (body, response.json())
