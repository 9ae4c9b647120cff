"""What belongs to Ann is, for Ben, exactly what never existed: same status, same body, same headers.

Every route of the application has a case here or is named as one without anything of anybody; a new route without
either fails the test.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import anyio
import httpx
import pytest

from api.app import create_app
from evals import log as logs
from runtime.db import open_database
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from runtime.settings import Settings
from tests.api.conftest import Served, serving
from tests.evals.making import header

SECRET: Final = "Ann keeps the blue folder behind the piano"
WORDS: Final = ("piano", "blue folder", "ann-private", "annual-plan")
# Headers that differ between any two answers.
VOLATILE: Final = frozenset({"date", "content-length"})


@dataclass(frozen=True)
class Case:
    """One call: `{name}` in path, query and body is replaced by an id of Ann's, then by one that never was."""

    route: str
    body: Any = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None

    @property
    def method(self) -> str:
        return self.route.split()[0]


TAG: Final = {"If-Match": '"1"'}
MEMORY: Final = "/api/memories/{memory_id}"
VAULT: Final = "/api/vaults/{vault}"
RUN: Final = "/api/runs/{run_id}"
CASES: list[Case] = [
    Case(f"GET {MEMORY}"),
    Case(f"GET {MEMORY}", headers={"If-None-Match": '"1"'}),
    Case(f"PATCH {MEMORY}", {"content": "x"}, headers=TAG),
    Case(f"PATCH {MEMORY}", {"content": "x"}, headers={"If-Match": '"7"'}),
    Case(f"PATCH {MEMORY}", {"content": "x"}),
    Case(f"DELETE {MEMORY}", headers=TAG),
    Case(f"DELETE {MEMORY}", headers={"If-Match": '"7"'}),
    Case(f"DELETE {MEMORY}", query={"purge": "true"}),
    Case(f"DELETE {MEMORY}", query={"purge": "true"}, headers={"If-Match": '"7"'}),
    Case(f"GET {MEMORY}/history"),
    Case(f"GET {MEMORY}/diff", query={"from": "1", "to": "1"}),
    Case(f"GET {MEMORY}/provenance"),
    Case(f"GET {MEMORY}/uses"),
    Case(f"POST {MEMORY}/restore", {"version": 1}, headers=TAG),
    Case(f"POST {MEMORY}/restore", {"version": 7}, headers=TAG),
    Case(f"POST {MEMORY}/state", {"event": "archive"}),
    Case(f"POST {MEMORY}/state", {"event": "archive"}, headers={"If-Match": '"7"'}),
    Case(f"POST {MEMORY}/link", {"to": "{memory_id}"}),
    Case(f"POST {MEMORY}/link", {"to": "{mine}"}),
    Case(f"POST {MEMORY}/link", {"to": "{memory_id}"}, path="/api/memories/{mine}/link"),
    Case(f"POST {MEMORY}/supersede", {"by": "{mine}"}),
    Case(f"POST {MEMORY}/supersede", {"by": "{memory_id}"}, path="/api/memories/{mine}/supersede"),
    Case(f"POST {MEMORY}/transform", {"to": "activation"}),
    Case(f"POST {MEMORY}/feedback", {"helpful": True}),
    Case("POST /api/memories", {"content": "x", "vault": "{vault}"}),
    Case("POST /api/memories", {"content": "x", "vault": "{vault_name}"}),
    Case("POST /api/memories", {"memories": [{"content": "x"}], "vault": "{vault}"}),
    Case("GET /api/memories", query={"vault": "{vault}"}),
    Case("GET /api/memories", query={"vault": "{vault_name}"}),
    Case("GET /api/memories", query={"cursor": "{memory_id}"}),
    Case("POST /api/memories/search", {"query": SECRET, "vaults": ["{vault}"]}),
    Case("POST /api/memories/search", {"query": SECRET, "vaults": ["default", "{vault}"]}),
    Case("POST /api/memories/search", {"query": SECRET, "vaults": ["{vault_name}"]}),
    Case("POST /api/memories/merge", {"ids": ["{memory_id}", "{mine}"]}),
    Case("POST /api/memories/merge", {"ids": ["{mine}", "{memory_id}"]}),
    Case(f"GET {RUN}"),
    Case(f"GET {RUN}/events"),
    Case(f"GET {RUN}/stream"),
    Case(f"GET {RUN}/tree"),
    Case(f"POST {RUN}/wait", {"timeout_s": 0}),
    Case(f"POST {RUN}/cancel"),
    Case(f"POST {RUN}/resume"),
    Case(f"POST {RUN}/fork", {"from_event": 1}),
    Case("GET /api/runs", query={"cursor": "{run_id}"}),
    Case("GET /api/jobs/{job_id}"),
    Case("POST /api/jobs/{job_id}/replay"),
    Case("GET /api/jobs", query={"cursor": "{job_id}"}),
    Case("GET /api/graph", query={"memory": "{memory_id}"}),
    Case("GET /api/graph", query={"entity": "piano", "vault": "{vault}"}),
    Case("GET /api/timeline", query={"vault": "{vault}"}),
    Case("GET /api/timeline", query={"vault": "{vault_name}"}),
    Case("GET /api/audit"),
    Case("GET /api/vaults"),
    Case("GET /api/runs"),
    Case(f"GET {VAULT}"),
    Case(f"GET {VAULT}", path="/api/vaults/{vault_name}"),
    Case(f"PATCH {VAULT}", {"name": "taken"}, headers=TAG),
    Case(f"PATCH {VAULT}", {"name": "taken"}, headers={"If-Match": '"7"'}),
    Case(f"DELETE {VAULT}", headers=TAG),
    Case(f"GET {VAULT}/grants"),
    Case(f"POST {VAULT}/grants", {"user": "ben", "verbs": ["read"]}),
    Case(f"DELETE {VAULT}/grants/{{grant_id}}"),
    Case(f"DELETE {VAULT}/grants/{{grant_id}}", path="/api/vaults/default/grants/{grant_id}"),
    Case(f"GET {VAULT}/snapshots"),
    Case(f"POST {VAULT}/snapshots", {"label": "mine now"}),
    Case(f"POST {VAULT}/rollback", {"snapshot": "{snapshot_id}"}),
    Case(f"POST {VAULT}/rollback", {"snapshot": "{snapshot_id}"}, path="/api/vaults/default/rollback"),
    Case(f"GET {VAULT}/usefulness"),
    Case(f"GET {VAULT}/ranking"),
    Case(f"GET {VAULT}/ranking", path="/api/vaults/{vault_name}/ranking"),
    Case(f"PUT {VAULT}/ranking", {"uses": [{"query": SECRET, "used": ["{memory_id}"]}]}),
    Case(f"DELETE {VAULT}/ranking"),
    Case(f"GET {VAULT}/reviews"),
    Case(f"POST {VAULT}/reviews/{{review_id}}", {"decision": "accept"}),
    Case(f"POST {VAULT}/reviews/{{review_id}}", {"decision": "accept"}, path="/api/vaults/default/reviews/{review_id}"),
]
BRANCH: Final = f"{VAULT}/branch/{{branch}}"
SNAPSHOT: Final = f"{VAULT}/snapshots/{{snapshot_id}}"
CASES += [
    Case(f"GET {SNAPSHOT}"),
    Case(f"GET {SNAPSHOT}", path="/api/vaults/default/snapshots/{snapshot_id}"),
    Case(f"GET {SNAPSHOT}/diff"),
    Case(f"DELETE {SNAPSHOT}"),
    Case(f"GET {VAULT}/branch"),
    Case(f"POST {VAULT}/branch", {"name": "mine now"}),
    Case(f"DELETE {BRANCH}"),
    Case(f"GET {BRANCH}/memories"),
    Case(f"POST {BRANCH}/memories", {"content": "x"}),
    Case(f"GET {BRANCH}/memories/{{memory_id}}"),
    Case(f"PATCH {BRANCH}/memories/{{memory_id}}", {"content": "x"}, headers=TAG),
    Case(f"DELETE {BRANCH}/memories/{{memory_id}}", headers=TAG),
    Case(f"POST {VAULT}/merge", {"branch": "{branch}"}),
    Case("POST /api/vaults/compose", {"vaults": ["default", "{vault}"]}),
    Case(f"POST {VAULT}/migrate", {"to": "default"}),
    Case(f"POST {VAULT}/migrate", {"to": "{vault}"}, path="/api/vaults/default/migrate"),
    Case(f"POST {VAULT}/fuse", {"to": "default"}),
    Case(f"POST {VAULT}/fuse", {"to": "{vault}"}, path="/api/vaults/default/fuse"),
    Case(f"POST {VAULT}/extract", {"memories": ["{memory_id}"]}),
    Case(f"POST {VAULT}/extract", {"memories": ["{memory_id}"]}, path="/api/vaults/default/extract"),
    Case(f"POST {VAULT}/classify", {"memories": ["{memory_id}"]}),
    Case(f"POST {VAULT}/classify", {"memories": ["{memory_id}"]}, path="/api/vaults/default/classify"),
    Case(f"POST {VAULT}/summarise", {"memories": ["{memory_id}", "{mine}"]}),
    Case(f"POST {VAULT}/summarise", {"memories": ["{memory_id}", "{mine}"]}, path="/api/vaults/default/summarise"),
    Case(f"POST {VAULT}/export"),
    Case(f"POST {VAULT}/import"),
    Case("POST /api/runs", {"agent": "direct", "input": SECRET, "vaults": ["{vault}"]}),
    Case("POST /api/runs", {"agent": "direct", "input": SECRET, "vaults": ["{vault_name}"]}),
    Case(
        "POST /v1/chat/completions",
        {
            "model": "direct",
            "messages": [{"role": "user", "content": SECRET}],
            "mneme": {"vaults": ["{vault}"]},
        },
    ),
    Case("POST /v1/responses", {"model": "direct", "input": SECRET, "mneme": {"vaults": ["{vault}"]}}),
    Case("GET /api/evals"),
    Case("GET /api/evals/{eval_id}"),
    Case("GET /api/evals/compare", query={"a": "{eval_id}", "b": "{eval_id}"}),
]
# Nothing of anybody is behind these, or nobody but an admin may call them.
OPEN: Final = {
    "GET /health",
    "GET /ready",
    "GET /metrics",
    "GET /v1/models",
    "GET /v1/models/{name}",
    "GET /api/agents",
    "GET /api/agents/{name}",
    "POST /api/vaults",
    "POST /api/runs",
    "POST /v1/chat/completions",
    "POST /v1/responses",
    "GET /api/keys",
    "POST /api/keys",
    "DELETE /api/keys/{key_id}",
}


class Ids(dict[str, str]):
    """What stands for the names in braces."""

    def put(self, value: Any) -> Any:
        match value:
            case str():
                for name, known in self.items():
                    value = value.replace(f"{{{name}}}", known)
                return value
            case dict():
                return {key: self.put(item) for key, item in value.items()}
            case list():
                return [self.put(item) for item in value]
        return value


@dataclass(frozen=True)
class Two:
    """A service with what is Ann's, what never was, and a client for Ben."""

    anns: Ids
    never: Ids
    ben: httpx.Client
    ann: httpx.Client


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with serving(tmp_path_factory.mktemp("tenants"), None) as served:
        clients = [client_of(served, name) for name in ("ann", "ben")]
        ann, ben = clients
        try:
            mine = made(ben, "/api/memories", content="Ben likes figs")["id"]
            anns = what_ann_has(ann) | {"mine": mine, "eval_id": evaluation_of("ann", served.settings)}
            never = {name: unlike(known) for name, known in anns.items()} | {"mine": mine}
            yield Two(Ids(anns), Ids(never), ben, ann)
        finally:
            for client in clients:
                client.close()


def client_of(served: Served, user: str) -> httpx.Client:
    key = served.http.post("/api/keys", json={"name": user, "user": user, "scopes": ["read", "run"]}).json()["key"]
    return httpx.Client(base_url=served.url, timeout=60, trust_env=False, headers={"Authorization": f"Bearer {key}"})


def made(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert response.status_code < 300, response.text
    found: dict[str, Any] = response.json()
    return found


def what_ann_has(ann: httpx.Client) -> dict[str, str]:
    vault = made(ann, "/api/vaults", name="ann-private")
    memory = made(ann, "/api/memories", content=SECRET, vault=vault["id"], entities=["piano"], tags=["blue folder"])
    quarantined = made(
        ann, "/api/memories", content="The door opens with AKIAABCDEFGHIJKLMNOP, says Ann", vault=vault["id"]
    )
    assert quarantined["state"] == "quarantined"
    base = f"/api/vaults/{vault['id']}"
    review = ann.get(f"{base}/reviews").json()["items"][0]
    return {
        "memory_id": memory["id"],
        "vault": vault["id"],
        "vault_name": "ann-private",
        "run_id": made(ann, "/api/runs", agent="direct", input="what is in the annual-plan?")["id"],
        "job_id": made(ann, f"{base}/extract", memories=[memory["id"]])["id"],
        "grant_id": made(ann, f"{base}/grants", user="local", verbs=["read"])["id"],
        "snapshot_id": made(ann, f"{base}/snapshots", label="annual-plan")["id"],
        "branch": made(ann, f"{base}/branch", name="annual-plan")["name"],
        "review_id": review["id"],
    }


def evaluation_of(user: str, settings: Settings) -> str:
    """Evaluations are run at the command line; this is one as it is left on disk."""

    async def owner() -> str:
        database = open_database(settings)
        try:
            return await KeyStore(database, SYSTEM).user_id(user)
        finally:
            await database.aclose()

    head = header(owner=anyio.run(owner), agent="annual-plan")
    logs.create(settings.home, head, [])
    return head.id


def unlike(known: str) -> str:
    """An id of the same shape, or a name of the same length, that never was."""
    prefix, _, digits = known.rpartition("_")
    if re.fullmatch(r"[0-9a-f]{32}", digits):
        return f"{prefix}_{int(digits, 16) ^ 0xFEDCBA9876543210:032x}"
    return known[::-1]


def ask(client: httpx.Client, case: Case, ids: Ids) -> httpx.Response:
    path = ids.put(case.path or case.route.split()[1])
    return client.request(
        case.method,
        path,
        params={name: ids.put(value) for name, value in case.query.items()},
        headers=dict(case.headers),
        json=ids.put(case.body),
    )


def told(response: httpx.Response, ids: Ids) -> tuple[int, str, dict[str, str]]:
    """All that an answer says, with the ids that were sent replaced by their names."""
    headers = {name: value for name, value in response.headers.items() if name not in VOLATILE}
    headers.pop("x-run-id", None)
    text = response.text
    for name, known in ids.items():
        text = text.replace(known, f"{{{name}}}")
    return response.status_code, re.sub(r'"(?:req|run)_[0-9a-f]{32}"', '"…"', text), headers


def named(case: Case) -> str:
    return f"{case.route} {case.path or ''} {case.query or ''} {case.body or ''}"[:120]


# What these list or do is Ben's own whatever is asked for; nothing of Ann's may be in it.
OWN: Final = {"GET /api/audit", "GET /api/vaults", "GET /api/runs", "GET /api/evals"}


@pytest.mark.parametrize("case", CASES, ids=named)
def test_what_is_anns_is_for_ben_as_if_it_never_was(two: Two, case: Case) -> None:
    for_anns, for_never = ask(two.ben, case, two.anns), ask(two.ben, case, two.never)
    assert for_anns.status_code < 500, for_anns.text
    said = str(two.anns.put([case.body, dict(case.query), case.path, case.route]))
    for word in WORDS:
        # The audit shows Ben what he himself has asked for.
        echoed = word in said or (case.route == "GET /api/audit" and word in two.anns.values())
        assert echoed or word not in for_anns.text, for_anns.text
    if case.route in OWN and not case.query:
        assert for_anns.status_code == 200
        return
    assert told(for_anns, two.anns) == told(for_never, two.never)
    assert for_anns.status_code >= 400 or not case.body or case.route == "GET /api/audit", for_anns.text


def test_ann_herself_gets_what_ben_does_not(two: Two) -> None:
    """Otherwise the cases above would prove nothing."""
    reads = [
        case
        for case in CASES
        if case.method == "GET" and case.route not in OWN and "default" not in (case.path or "") and case.query == {}
    ]
    for case in reads:
        status = ask(two.ann, case, two.anns).status_code
        assert status in (200, 304, 404 if case.route.endswith("/tree") else 200), (case.route, status)


def test_nothing_of_anns_was_changed(two: Two) -> None:
    memory = two.ann.get(f"/api/memories/{two.anns['memory_id']}").json()
    assert (memory["content"], memory["version"], memory["state"]) == (SECRET, 1, "activated")
    vault = two.ann.get(f"/api/vaults/{two.anns['vault']}").json()
    assert vault["name"] == "ann-private"


def test_ann_can_see_who_was_refused(two: Two) -> None:
    lines = two.ann.get("/api/audit", params={"limit": 500}).json()["items"]
    denied = [line for line in lines if line["decision"] == "deny" and line["chain"] == two.anns["vault"]]
    assert len(denied) >= 6
    assert len({line["actor"] for line in denied}) == 1


def test_every_route_has_a_case_or_nothing_of_anybody_behind_it(settings: Settings) -> None:
    paths = create_app(settings).openapi()["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    covered = {case.route for case in CASES}
    assert routes - covered - OPEN == set()
    assert covered - routes == set(), "a case of a route that is gone"
