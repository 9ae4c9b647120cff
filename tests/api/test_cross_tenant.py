"""What belongs to Ann is, for Ben, exactly what never existed: same status, same body, same headers.

Every route of the application has a case here or is named as one without anything of anybody; a new route without
either fails the test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

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
CASES: Final = [
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
    Case(f"GET {VAULT}/reviews"),
    Case(f"POST {VAULT}/reviews/{{review_id}}", {"decision": "accept"}),
    Case(f"POST {VAULT}/reviews/{{review_id}}", {"decision": "accept"}, path="/api/vaults/default/reviews/{review_id}"),
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
