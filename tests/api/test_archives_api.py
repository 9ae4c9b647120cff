"""Vaults as files over HTTP: a download that can be uploaded again, and uploads that are taken whole or not at all."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from runtime.db import open_database
from runtime.ids import SYSTEM
from runtime.keys import KeyStore
from tests.api.conftest import Served, serving

TEXT = "Number {n} of the things that were said in Porto"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("archives"), None, embed__model="hashing-384") as running:
        yield running


@pytest.fixture
def vault(served: Served, request: pytest.FixtureRequest) -> str:
    """An empty vault for the test."""
    return made(served, request.node.name)


def made(served: Served, name: str) -> str:
    response = served.http.post("/api/vaults", json={"name": name[:150]})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def add(served: Served, vault: str, content: str, **more: Any) -> dict[str, Any]:
    response = served.http.post("/api/memories", json={"content": content, "vault": vault, **more})
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def upload(served: Served, vault: str, data: bytes, kind: str = "application/json", **query: Any) -> httpx.Response:
    headers = {"Content-Type": kind, **query.pop("headers", {})}
    return served.http.post(f"/api/vaults/{vault}/import", content=data, headers=headers, params=query)


def contents(served: Served, vault: str) -> list[str]:
    items = served.http.get("/api/memories", params={"vault": vault, "limit": 500}).json()["items"]
    return sorted(item["content"] for item in items)


def mem0(*texts: str) -> bytes:
    return json.dumps([{"memory": text} for text in texts]).encode()


def test_a_vault_is_downloaded_and_uploaded_again(served: Served, vault: str) -> None:
    add(served, vault, "Ana lives in Porto", tags=["home"])
    add(served, vault, "Ben lives in Faro")
    response = served.http.post(f"/api/vaults/{vault}/export")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/zip"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="mneme-')
    assert len(response.content) == int(response.headers["Content-Length"])
    with zipfile.ZipFile(io.BytesIO(response.content)) as packed:
        assert json.loads(packed.read("manifest.json"))["counts"]["memories"] == 2
    other = made(served, "downloaded again")
    told = upload(served, other, response.content, "application/zip")
    assert told.status_code == 200, told.text
    assert (told.json()["trusted"], told.json()["counts"]["created"]) == (True, 2)
    assert contents(served, other) == ["Ana lives in Porto", "Ben lives in Faro"]
    again = upload(served, other, response.content, "application/octet-stream", mode="fail")
    assert again.json()["counts"]["resumed"] == 2


def test_a_damaged_upload_changes_nothing(served: Served, vault: str) -> None:
    add(served, vault, "Ana lives in Porto")
    whole = served.http.post(f"/api/vaults/{vault}/export").content
    other = made(served, "damaged")
    data = bytearray(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as packed:
        info = packed.getinfo("memories.jsonl")
    # Behind the local head of the file, in the middle of what is packed.
    data[info.header_offset + 30 + len(info.filename) + 20 + info.compress_size // 2] ^= 0xFF
    for damaged in (bytes(data), whole[:-200], whole[:100]):
        response = upload(served, other, damaged, "application/zip")
        assert response.status_code == 400, response.text
        assert response.headers["Content-Type"] == "application/problem+json"
    assert "memories.jsonl" in upload(served, other, bytes(data), "application/zip").json()["detail"]
    assert contents(served, other) == []


def test_other_formats_and_modes(served: Served, vault: str) -> None:
    told = upload(served, vault, mem0("Ana lives in Porto", "ok"), dry_run=True)
    assert (told.json()["dry_run"], told.json()["counts"]["created"], told.json()["counts"]["dropped"]) == (True, 1, 1)
    assert contents(served, vault) == []
    assert upload(served, vault, mem0("Ana lives in Porto", "ok")).json()["format"] == "mem0"
    refused = upload(served, vault, mem0("Ana lives in  PORTO", "Ben lives in Faro"), mode="fail")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert contents(served, vault) == ["Ana lives in Porto"]
    entity = {"type": "entity", "name": "Ana", "entityType": "person", "observations": ["plays chess"]}
    lines = json.dumps(entity).encode() + b"\n"
    assert upload(served, vault, lines, "application/x-ndjson").json()["format"] == "mcp"
    text = b"# Boats\n\nThe ferry to the northern island leaves at nine in the morning, also on Sundays.\n"
    told = upload(served, vault, text, "text/markdown; charset=utf-8", name="boats.md")
    assert told.json()["counts"]["created"] == 1
    item = served.http.get("/api/memories", params={"vault": vault, "session_id": "boats.md"}).json()["items"][0]
    assert (item["title"], item["origin"]) == ("Boats", "import")


@pytest.mark.parametrize(
    ("data", "kind", "query", "status"),
    [
        (b"{}", "application/json", {}, 400),
        (b"[{]", "application/json", {"format": "mem0"}, 400),
        (b"x", "application/xml", {}, 415),
        (b"x", "application/zip", {"format": "archive"}, 400),
        (b"x", "text/plain", {"mode": "overwrite"}, 400),
        (b"x", "text/plain", {"format": "builtin"}, 400),
        (b"\xff", "text/plain", {}, 400),
        (b"x" * 9_000_000, "text/plain", {}, 413),
    ],
)
def test_what_cannot_be_taken_is_a_4xx(
    data: bytes, kind: str, query: dict[str, Any], status: int, served: Served, vault: str
) -> None:
    response = upload(served, vault, data, kind, **query)
    assert response.status_code in (status, 422 if query else status), response.text
    assert contents(served, vault) == []


def test_a_large_upload_is_a_job(served: Served, vault: str) -> None:
    data = mem0(*(TEXT.format(n=n) for n in range(1200)))
    response = upload(served, vault, data, embed=False)
    assert response.status_code == 202, response.text
    job = response.json()
    assert (job["kind"], job["total"]) == ("import", 1200)
    assert response.headers["Location"] == f"/api/jobs/{job['id']}"
    assert not any("/" in str(value) for value in job["args"].values())
    for _ in range(600):
        job = served.http.get(f"/api/jobs/{job['id']}").json()
        if job["state"] not in ("queued", "running"):
            break
        served.http.get("/health")
    assert (job["state"], job["done"], job["error"]) == ("done", 1200, None)
    assert job["result"]["created"] == 1200
    assert not list((served.settings.home / "imports").iterdir())


def test_an_upload_with_a_key_is_done_once(served: Served, vault: str) -> None:
    key = {"Idempotency-Key": f"key-{vault}"}
    first = upload(served, vault, mem0("Ana lives in Porto"), headers=key)
    again = upload(served, vault, mem0("Ana lives in Porto"), headers=key)
    assert (first.json(), again.headers["Idempotency-Replayed"]) == (again.json(), "true")
    other = upload(served, vault, mem0("Ben lives in Faro"), headers=key)
    assert other.status_code == 422


def test_nobody_else_exports_imports_or_vouches(served: Served, vault: str) -> None:
    import anyio

    add(served, vault, "Ana lives in Porto")
    whole = served.http.post(f"/api/vaults/{vault}/export").content

    async def key() -> str:
        database = open_database(served.settings)
        try:
            return (await KeyStore(database, SYSTEM).create("x", user=vault, scopes=("read", "run")))[1]
        finally:
            await database.aclose()

    stranger = {"Authorization": f"Bearer {anyio.run(key)}"}
    never = "vlt_" + "0" * 32
    for method in ("export", "import"):
        answers = [
            served.http.post(
                f"/api/vaults/{ref}/{method}", headers={**stranger, "Content-Type": "text/plain"}, content=b"x y"
            )
            for ref in (vault, never)
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        bodies = [answer.json() for answer in answers]
        assert bodies[0]["detail"].replace(vault, never) == bodies[1]["detail"]
    told = upload(served, "default", whole, "application/zip", headers=stranger, trust=True)
    assert told.status_code == 403
    told = upload(served, "default", whole, "application/zip", headers=stranger)
    assert (told.json()["trusted"], told.json()["counts"]["created"]) == (False, 1)
