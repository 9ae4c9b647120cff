"""Vaults over HTTP: made, shared, taken back, tried out on a branch, copied, erased."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from api.routes import vault_documented as bodies
from api.routes.memory_documented import MemoryBody, MemoryList
from tests.api.conftest import Served, serving

UNKNOWN = "0" * 32


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("vaults"), None) as running:
        yield running


@pytest.fixture(scope="module")
def ben(served: Served) -> Iterator[httpx.Client]:
    """Another user."""
    key = served.http.post("/api/keys", json={"name": "of Ben", "user": "ben"}).json()["key"]
    with httpx.Client(
        base_url=served.url, timeout=60, trust_env=False, headers={"Authorization": f"Bearer {key}"}
    ) as client:
        yield client


@pytest.fixture
def vault(served: Served, request: pytest.FixtureRequest) -> dict[str, Any]:
    """An empty vault for the test."""
    return ok(served.http.post("/api/vaults", json={"name": request.node.name[:150]}), 201, bodies.VaultBody)


def ok(response: httpx.Response, status: int = 200, model: type[BaseModel] | None = None) -> dict[str, Any]:
    """The answer, which must be as `/openapi.json` says."""
    assert response.status_code == status, response.text
    if model is not None:
        model.model_validate_json(response.content, strict=True)
    body: dict[str, Any] = response.json()
    return body


def add(served: Served, vault: str, content: str, **more: Any) -> dict[str, Any]:
    return ok(served.http.post("/api/memories", json={"content": content, "vault": vault, **more}), 201)


def tag(version: int) -> dict[str, str]:
    return {"If-Match": f'"{version}"'}


def grant(served: Served, vault: str, **terms: Any) -> dict[str, Any]:
    given = {"user": "ben", "verbs": ["read"]} | terms
    return ok(served.http.post(f"/api/vaults/{vault}/grants", json=given), 201, bodies.GrantBody)


def test_a_vault_is_made_read_changed_and_listed(served: Served) -> None:
    fields = {"kind": "expert", "default_ttl_s": 3600, "default_sensitivity": ["work"], "explore": 0.25}
    response = served.http.post("/api/vaults", json={"name": "Research", **fields})
    made = ok(response, 201, bodies.VaultBody)
    path = f"/api/vaults/{made['id']}"
    assert (response.headers["location"], response.headers["etag"]) == (path, '"1"')
    assert {name: made[name] for name in fields} == fields
    assert (made["verbs"], made["memories"], made["version"]) == (["read", "write", "share", "delete"], 0, 1)
    for where in (path, "/api/vaults/Research"):
        assert ok(served.http.get(where), 200, bodies.VaultBody) == made
    assert served.http.get(path, headers={"If-None-Match": '"1"'}).status_code == 304
    assert served.http.post("/api/vaults", json={"name": "Research"}).status_code == 409
    assert served.http.patch(path, json={"name": "Study"}).status_code == 428
    changed = ok(served.http.patch(path, json={"name": "Study", "default_ttl_s": None}, headers=tag(1)))
    assert (changed["name"], changed["default_ttl_s"], changed["explore"], changed["version"]) == (
        "Study",
        None,
        0.25,
        2,
    )
    stale = served.http.patch(path, json={"explore": 0.5}, headers=tag(1))
    assert (stale.status_code, stale.json()["current"]["name"]) == (412, "Study")
    archived = ok(served.http.patch(path, json={"archived": True}, headers=tag(2)))
    assert archived["archived_at"] is not None
    assert served.http.post("/api/memories", json={"content": "x", "vault": made["id"]}).status_code == 409
    listed: list[str] = []
    cursor: str | None = None
    while True:
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = ok(served.http.get("/api/vaults", params=params), 200, bodies.VaultList)
        listed += [item["name"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert listed[0] == "default"
    assert "Study" in listed


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "vlt_" + UNKNOWN}, "name"),
        ({"name": "x", "kind": "public"}, "kind"),
        ({"name": "x", "explore": 2}, "explore"),
        ({"name": "x", "default_ttl_s": 0}, "default_ttl_s"),
        ({"name": "x", "owner": "ben"}, "owner"),
    ],
)
def test_bad_fields_are_named(served: Served, body: dict[str, Any], param: str) -> None:
    response = served.http.post("/api/vaults", json=body)
    assert response.status_code in (400, 422)
    assert response.json()["errors"][0]["param"] == param


def test_the_defaults_of_a_vault_hold_for_what_is_stored_in_it(served: Served) -> None:
    made = ok(
        served.http.post(
            "/api/vaults", json={"name": "strict", "default_ttl_s": 3600, "default_sensitivity": ["work"]}
        ),
        201,
    )
    memory = add(served, made["id"], "one", sensitivity=["private"])
    assert memory["sensitivity"] == ["private", "work"]
    assert memory["expires_at"] is not None


def test_a_grant_gives_what_it_says_and_no_more(served: Served, ben: httpx.Client, vault: dict[str, Any]) -> None:
    path = f"/api/vaults/{vault['id']}"
    seen, masked = add(served, vault["id"], "seen"), add(served, vault["id"], "ill", sensitivity=["health"])
    assert ben.get(path).status_code == 404
    given = grant(served, vault["id"], masked_tags=["health"], verbs=["read"])
    assert (given["user"], given["verbs"], given["masked_tags"]) == ("ben", ["read"], ["health"])
    shown = ok(ben.get(path), 200, bodies.VaultBody)
    assert (shown["verbs"], shown["memories"]) == (["read"], None)
    assert vault["id"] in [item["id"] for item in ok(ben.get("/api/vaults"))["items"]]
    assert ben.get(f"/api/memories/{seen['id']}").json()["content"] == "seen"
    assert ben.get(f"/api/memories/{masked['id']}").status_code == 404
    found = ben.post("/api/memories/search", json={"query": "seen ill", "vaults": [vault["id"]]}).json()["hits"]
    assert [hit["memory"]["id"] for hit in found] == [seen["id"]]
    for response in (
        ben.patch(path, json={"name": "mine"}, headers=tag(1)),
        ben.delete(path, headers=tag(1)),
        ben.get(f"{path}/grants"),
        ben.post(f"{path}/grants", json={"user": "ben", "verbs": ["write"]}),
        ben.post(f"{path}/snapshots", json={}),
        ben.post("/api/memories", json={"content": "x", "vault": vault["id"]}),
    ):
        assert response.status_code == 403, response.text
    listed = ok(served.http.get(f"{path}/grants"), 200, bodies.GrantList)["items"]
    assert [item["id"] for item in listed] == [given["id"]]
    assert ok(served.http.delete(f"{path}/grants/{given['id']}"), 200, bodies.Revoked) == {"revoked": [given["id"]]}
    assert ben.get(path).status_code == 404
    assert ben.get(f"/api/memories/{seen['id']}").status_code == 404


def test_a_grant_bound_to_a_context_fails_from_another(
    served: Served, ben: httpx.Client, vault: dict[str, Any]
) -> None:
    memory = add(served, vault["id"], "for the bot")
    grant(served, vault["id"], context="support-bot")
    path = f"/api/memories/{memory['id']}"
    assert ben.get(path, headers={"X-Mneme-Context": "support-bot"}).status_code == 200
    for context in ({"X-Mneme-Context": "sales-bot"}, {}):
        assert ben.get(path, headers=context).status_code == 404


def test_twenty_readers_at_once_do_not_read_more_than_was_granted(
    served: Served, ben: httpx.Client, vault: dict[str, Any]
) -> None:
    memory = add(served, vault["id"], "read me")
    given = grant(served, vault["id"], max_reads=7)
    with ThreadPoolExecutor(20) as pool:
        codes = list(pool.map(lambda _: ben.get(f"/api/memories/{memory['id']}").status_code, range(20)))
    assert (codes.count(200), codes.count(404)) == (7, 13)
    (left,) = ok(served.http.get(f"/api/vaults/{vault['id']}/grants"))["items"]
    assert (left["id"], left["reads_used"]) == (given["id"], 7)


def test_what_is_granted_is_checked(served: Served, vault: dict[str, Any]) -> None:
    path = f"/api/vaults/{vault['id']}/grants"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"verbs": ["read"]}, "user"),
        ({"user": "nobody", "verbs": ["read"]}, "user"),
        ({"user": "ben", "verbs": []}, "verbs"),
        ({"user": "ben", "verbs": ["own"]}, "verbs.0"),
        ({"user": "ben", "verbs": ["read"], "max_reads": 0}, "max_reads"),
        ({"user": "ben", "verbs": ["read"], "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ]
    for body, param in wrong:
        response = served.http.post(path, json=body)
        assert response.status_code in (400, 404, 422), body
        assert response.json()["errors"][0]["param"] == param
    assert served.http.delete(f"{path}/grt_{UNKNOWN}").status_code == 404


def test_a_vault_is_taken_back_to_a_snapshot(served: Served, vault: dict[str, Any]) -> None:
    path = f"/api/vaults/{vault['id']}"
    memories = [add(served, vault["id"], f"original {number}") for number in range(10)]
    response = served.http.post(f"{path}/snapshots", json={"label": "before"})
    snapshot = ok(response, 201, bodies.SnapshotBody)
    assert response.headers["location"] == f"{path}/snapshots/{snapshot['id']}"
    for memory in memories[:3]:
        ok(
            served.http.patch(
                f"/api/memories/{memory['id']}", json={"content": f"edited {memory['id']}"}, headers=tag(1)
            )
        )
    newcomers = [add(served, vault["id"], f"newcomer {number}") for number in range(2)]
    ok(served.http.delete(f"/api/memories/{memories[9]['id']}", headers=tag(1)))
    diff = ok(served.http.get(f"{path}/snapshots/{snapshot['id']}/diff"), 200, bodies.SnapshotDiff)
    assert sorted(item["what"] for item in diff["items"]) == ["changed"] * 4 + ["new"] * 2
    once = {"Idempotency-Key": f"rollback-{vault['id']}"}
    told = ok(
        served.http.post(f"{path}/rollback", json={"snapshot": snapshot["id"]}, headers=once), 200, bodies.RolledBack
    )
    assert (told["restored"], told["archived"], told["equal"], told["job"]) == (4, 2, True, None)
    again = served.http.post(f"{path}/rollback", json={"snapshot": snapshot["id"]}, headers=once)
    assert (again.json(), again.headers["idempotency-replayed"]) == (told, "true")
    now = [ok(served.http.get(f"/api/memories/{memory['id']}")) for memory in memories]
    assert [(item["content"], item["version"]) for item in now] == [
        (f"original {number}", 3 if number in (0, 1, 2, 9) else 1) for number in range(10)
    ]
    states = [ok(served.http.get(f"/api/memories/{memory['id']}"))["state"] for memory in newcomers]
    assert states == ["archived", "archived"]
    shown = ok(served.http.get(f"{path}/snapshots/{snapshot['id']}", params={"limit": 4}), 200, bodies.SnapshotShown)
    assert ([item["memory"] for item in shown["items"]], shown["next"]) == (
        [memory["id"] for memory in memories[:4]],
        memories[3]["id"],
    )
    listed = ok(served.http.get(f"{path}/snapshots"), 200, bodies.SnapshotList)["items"]
    assert [item["label"] for item in listed] == ["before"]
    # The vectors of the texts that are back are made again, so that they are found by their meaning.
    deadline = time.monotonic() + 20
    while ok(served.http.get(f"/api/memories/{memories[0]['id']}"))["vector_state"] != "synced":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ok(served.http.delete(f"{path}/snapshots/{snapshot['id']}"), 200, bodies.SnapshotBody)
    for missing in (snapshot["id"], f"snp_{UNKNOWN}", "nonsense"):
        assert served.http.post(f"{path}/rollback", json={"snapshot": missing}).status_code == 404


def test_a_branch_is_not_seen_on_main_until_it_is_merged(served: Served, vault: dict[str, Any]) -> None:
    path = f"/api/vaults/{vault['id']}"
    first, second = add(served, vault["id"], "first"), add(served, vault["id"], "second")
    made = ok(served.http.post(f"{path}/branch", json={"name": "what-if"}), 201, bodies.BranchBody)
    assert (made["name"], made["edits"]) == ("what-if", 0)
    memories = f"{path}/branch/what-if/memories"
    assert served.http.patch(f"{memories}/{first['id']}", json={"content": "x"}).status_code == 428
    edited = ok(
        served.http.patch(f"{memories}/{first['id']}", json={"content": "first, if"}, headers=tag(1)), 200, MemoryBody
    )
    assert (edited["content"], edited["version"]) == ("first, if", 2)
    stale = served.http.patch(f"{memories}/{first['id']}", json={"content": "late"}, headers=tag(1))
    assert (stale.status_code, stale.json()["current"]["content"]) == (412, "first, if")
    added = ok(served.http.post(memories, json={"content": "third, if"}), 201, MemoryBody)
    ok(served.http.delete(f"{memories}/{second['id']}", headers=tag(1)), 200, bodies.BranchDeleted)
    assert served.http.get(f"{memories}/{second['id']}").status_code == 410
    seen = ok(served.http.get(memories), 200, MemoryList)["items"]
    assert [item["content"] for item in seen] == ["third, if", "first, if"]
    assert served.http.get(f"/api/memories/{first['id']}").json()["content"] == "first"
    assert served.http.get(f"/api/memories/{added['id']}").status_code == 404
    listed = ok(served.http.get(f"{path}/branch"), 200, bodies.BranchList)["items"]
    assert [(item["name"], item["edits"]) for item in listed] == [("what-if", 3)]
    merged = ok(served.http.post(f"{path}/merge", json={"branch": "what-if"}), 200, bodies.MergedBody)
    assert merged == {
        "branch": "what-if",
        "changed": [first["id"]],
        "added": [added["id"]],
        "deleted": [second["id"]],
        "settled": [],
    }
    assert served.http.get(f"/api/memories/{added['id']}").json()["content"] == "third, if"
    assert served.http.get(f"/api/memories/{second['id']}").status_code == 410
    assert served.http.post(f"{path}/merge", json={"branch": "what-if"}).status_code == 404


def test_a_merge_with_a_conflict_changes_nothing_and_says_why(served: Served, vault: dict[str, Any]) -> None:
    path = f"/api/vaults/{vault['id']}"
    first, second = add(served, vault["id"], "first"), add(served, vault["id"], "second")
    ok(served.http.post(f"{path}/branch", json={"name": "b"}), 201)
    assert served.http.post(f"{path}/branch", json={"name": "b"}).status_code == 409
    for memory in (first, second):
        where = f"{path}/branch/b/memories/{memory['id']}"
        ok(served.http.patch(where, json={"content": f"{memory['content']} on the branch"}, headers=tag(1)))
    ok(served.http.patch(f"/api/memories/{first['id']}", json={"content": "first on main"}, headers=tag(1)))
    refused = served.http.post(f"{path}/merge", json={"branch": "b"})
    assert refused.status_code == 409
    assert refused.headers["content-type"] == "application/problem+json"
    bodies.MergeProblem.model_validate_json(refused.content, strict=True)
    assert [(item["memory"], item["base"], item["branch"], item["main"]) for item in refused.json()["conflicts"]] == [
        (first["id"], 1, 2, 2)
    ]
    contents = [ok(served.http.get(f"/api/memories/{memory['id']}"))["content"] for memory in (first, second)]
    assert contents == ["first on main", "second"]
    ok(served.http.delete(f"{path}/branch/b"), 200, bodies.BranchBody)
    assert ok(served.http.get(f"{path}/branch"))["items"] == []


def test_vaults_are_composed_copied_and_fused(served: Served, vault: dict[str, Any]) -> None:
    near = vault["id"]
    far = ok(served.http.post("/api/vaults", json={"name": "far"}), 201)["id"]
    slot = {"subject": "Ana", "attribute": "home"}
    lisbon = add(served, near, "Ana lives in Lisbon", **slot)
    porto = add(served, far, "Ana lives in Porto", **slot)
    bees = add(served, far, "Bees dance", sensitivity=["private"])
    view = ok(served.http.post("/api/vaults/compose", json={"vaults": [near, far]}), 200, MemoryList)
    assert [item["id"] for item in view["items"]] == [lisbon["id"], bees["id"]]
    pages: list[str] = []
    cursor: str | None = None
    while True:
        asked = {"vaults": [far, near], "limit": 1} | ({"cursor": cursor} if cursor else {})
        page = ok(served.http.post("/api/vaults/compose", json=asked))
        pages += [item["id"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert pages == [bees["id"], porto["id"]]
    moved = ok(
        served.http.post(f"/api/vaults/{far}/migrate", json={"to": near, "ids": [bees["id"]]}), 200, bodies.MigratedBody
    )
    assert (moved["copied"], moved["duplicates"], moved["job"]) == (1, 0, None)
    copy = ok(served.http.get(f"/api/memories/{moved['ids'][bees['id']]}"))
    assert (copy["vault"], copy["content"], copy["sensitivity"]) == (near, "Bees dance", ["private"])
    links = ok(served.http.get(f"/api/memories/{copy['id']}/provenance"))["links"]
    assert [(item["to"], item["type"]) for item in links] == [(bees["id"], "DERIVED_FROM")]
    fused = ok(served.http.post(f"/api/vaults/{far}/fuse", json={"to": near}), 200, bodies.MigratedBody)
    assert (fused["copied"], fused["duplicates"], fused["revoked"]) == (1, 1, [])
    assert served.http.post(f"/api/vaults/{far}/migrate", json={"to": far}).status_code == 400
    assert (
        served.http.post(f"/api/vaults/{far}/migrate", json={"to": near, "ids": [f"mem_{UNKNOWN}"]}).status_code == 404
    )
    assert served.http.post("/api/vaults/compose", json={"vaults": [near, f"vlt_{UNKNOWN}"]}).status_code == 404


def test_a_vault_is_erased_with_a_receipt_and_default_only_emptied(served: Served, vault: dict[str, Any]) -> None:
    path = f"/api/vaults/{vault['id']}"
    memory = add(served, vault["id"], "Her middle name is Quetzalcoatlus", entities=["Quetzalcoatlus"])
    ok(served.http.post(f"{path}/branch", json={"name": "b"}), 201)
    ok(served.http.post(f"{path}/branch/b/memories", json={"content": "Quetzalcoatlus indeed"}), 201)
    assert served.http.delete(path).status_code == 428
    assert served.http.delete(path, headers=tag(7)).json()["current"]["version"] == 1
    emptied = ok(served.http.delete(path, params={"only_contents": True}, headers=tag(1)), 200, bodies.VaultErased)
    assert (emptied["memories"], emptied["deleted"], emptied["removed"]["versions"]) == (1, False, 2)
    assert ok(served.http.get(path))["memories"] == 0
    assert served.http.get(f"/api/memories/{memory['id']}").status_code == 410
    add(served, vault["id"], "Quetzalcoatlus again")
    once = {**tag(2), "Idempotency-Key": f"delete-{vault['id']}"}
    deleted = ok(served.http.delete(path, headers=once), 200, bodies.VaultErased)
    assert (deleted["memories"], deleted["deleted"]) == (1, True)
    assert ok(served.http.delete(path, headers=once)) == deleted
    for response in (served.http.get(path), served.http.delete(path, headers=tag(3))):
        assert response.status_code == 404
    assert served.http.get(f"/api/memories/{memory['id']}").status_code == 404
    for file in served.settings.home.rglob("*"):
        if file.is_file():
            assert b"uetzalcoatlus" not in file.read_bytes(), f"the erased text is still in {file}"
    default = ok(served.http.get("/api/vaults/default"))
    refused = served.http.delete("/api/vaults/default", headers=tag(default["version"]))
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


def test_a_large_vault_is_erased_by_a_job(served: Served, vault: dict[str, Any]) -> None:
    path = f"/api/vaults/{vault['id']}"
    drafts = [{"content": f"one of many, number {number}"} for number in range(130)]
    ok(served.http.post("/api/memories", json={"memories": drafts, "vault": vault["id"]}), 201)
    response = served.http.delete(path, headers=tag(1))
    told = ok(response, 202, bodies.VaultErased)
    assert response.headers["location"] == f"/api/jobs/{told['job']}"
    assert served.http.get(path).status_code == 404
    deadline = time.monotonic() + 60
    while (job := ok(served.http.get(f"/api/jobs/{told['job']}")))["state"] != "done":
        assert job["state"] in ("queued", "running"), job
        assert time.monotonic() < deadline, job
        time.sleep(0.1)
    assert (job["result"]["memories"], job["done"], job["total"]) == (130, 130, 130)


def test_what_waits_for_a_decision_is_listed_and_decided_once(served: Served, vault: dict[str, Any]) -> None:
    path = f"/api/vaults/{vault['id']}/reviews"
    secret = "The key is AKIAIOSFODNN7EXAMPLE and nobody may see it"
    memory = add(served, vault["id"], secret)
    assert memory["state"] == "quarantined"
    (review,) = ok(served.http.get(path), 200, bodies.ReviewList)["items"]
    assert (review["kind"], review["memory"], review["state"]) == ("quarantine", memory["id"], "open")
    item = f"{path}/{review['id']}"
    assert (
        served.http.post(f"/api/vaults/default/reviews/{review['id']}", json={"decision": "accept"}).status_code == 404
    )
    assert served.http.post(item, json={"decision": "dismiss"}).status_code == 400
    assert served.http.post(item, json={"decision": "perhaps"}).status_code == 422
    decided = ok(served.http.post(item, json={"decision": "accept", "reason": "an example"}), 200, bodies.ReviewBody)
    assert decided["state"] == "accepted"
    assert ok(served.http.get(f"/api/memories/{memory['id']}"))["state"] == "activated"
    assert served.http.post(item, json={"decision": "reject"}).status_code == 409
    assert ok(served.http.get(path))["items"] == []
    assert [each["id"] for each in ok(served.http.get(path, params={"state": "accepted"}))["items"]] == [review["id"]]
    assert served.http.post(f"{path}/rev_{UNKNOWN}", json={"decision": "accept"}).status_code == 404


def test_what_is_unknown_is_404_whatever_it_looks_like(served: Served) -> None:
    for ref in (f"vlt_{UNKNOWN}", "nope", "x" * 150, "%00", "compose"):
        for method, rest, body in (
            ("GET", "", None),
            ("PATCH", "", {"explore": 0.1}),
            ("DELETE", "", None),
            ("GET", "/grants", None),
            ("GET", "/snapshots", None),
            ("GET", f"/snapshots/snp_{UNKNOWN}", None),
            ("GET", "/branch", None),
            ("GET", "/branch/b/memories", None),
            ("POST", "/merge", {"branch": "b"}),
            ("POST", "/migrate", {"to": "default"}),
            ("GET", "/reviews", None),
        ):
            response = served.http.request(method, f"/api/vaults/{ref}{rest}", json=body, headers=tag(1))
            assert response.status_code == 404, (method, ref, rest, response.text)
            assert response.headers["content-type"] == "application/problem+json"
