"""Who may call: keys, scopes, owners, loopback, other sites."""

from __future__ import annotations

import httpx
import openai
import pytest

from tests.api.conftest import Serve, Served


def make_key(served: Served, admin: str | None = None, **body: object) -> str:
    headers = {"Authorization": f"Bearer {admin}"} if admin else {}
    response = served.http.post("/api/keys", json={"name": "test", **body}, headers=headers)
    assert response.status_code == 201, response.text
    return str(response.json()["key"])


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_keys_are_made_used_listed_without_secret_and_revoked(served: Served) -> None:
    key = make_key(served, user="ann")
    assert served.http.get("/api/runs", headers=bearer(key)).status_code == 200
    listed = served.http.get("/api/keys").json()["items"]
    mine = next(item for item in listed if key.startswith(item["prefix"]))
    assert key not in str(listed)
    assert served.http.delete(f"/api/keys/{mine['id']}").json()["revoked_at"]
    assert served.http.get("/api/runs", headers=bearer(key)).status_code == 401
    assert served.http.delete("/api/keys/key_none").status_code == 404


@pytest.mark.parametrize("key", ["mk-abc", "mk-abc-def", "mk-" + "x" * 5000, "mk-é"])
def test_a_wrong_key_is_refused_also_on_loopback(served: Served, key: str) -> None:
    response = served.http.get("/api/runs", headers=[(b"Authorization", b"Bearer " + key.encode())])
    assert response.status_code == 401
    assert "www-authenticate" in response.headers


def test_a_key_with_a_wrong_secret_is_refused_after_the_right_one_was_seen(served: Served) -> None:
    key = make_key(served)
    assert served.http.get("/api/runs", headers=bearer(key)).status_code == 200
    assert served.http.get("/api/runs", headers=bearer(key[:-1] + ("a" if key[-1] != "a" else "b"))).status_code == 401


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [(["read"], {"list"}), (["run"], {"list", "run"}), (["admin"], {"list", "run", "keys"})],
)
def test_scopes(served: Served, scopes: list[str], allowed: set[str]) -> None:
    headers = bearer(make_key(served, scopes=scopes))
    calls = {
        "list": served.http.get("/api/runs", headers=headers),
        "run": served.http.post("/api/runs", json={"agent": "direct", "input": "x"}, headers=headers),
        "keys": served.http.get("/api/keys", headers=headers),
    }
    for name, response in calls.items():
        assert (response.status_code < 300) == (name in allowed), (name, response.text)
        assert response.status_code in (200, 202, 403)


def test_runs_belong_to_the_user_of_the_key(served: Served) -> None:
    ann, bob = make_key(served, user="ann"), make_key(served, user="bob")
    run_id = served.http.post("/api/runs", json={"agent": "direct", "input": "x"}, headers=bearer(ann)).json()["id"]
    none = served.http.get("/api/runs/run_none", headers=bearer(bob)).json()
    for method, path in (
        ("GET", ""),
        ("GET", "/events"),
        ("GET", "/stream"),
        ("GET", "/tree"),
        ("POST", "/wait"),
        ("POST", "/cancel"),
        ("POST", "/resume"),
    ):
        response = served.http.request(method, f"/api/runs/{run_id}{path}", headers=bearer(bob))
        assert response.status_code == 404, path
        assert response.json()["detail"] == none["detail"].replace("run_none", run_id)
    fork = served.http.post(f"/api/runs/{run_id}/fork", json={"from_event": 1}, headers=bearer(bob))
    assert fork.status_code == 404
    assert run_id not in served.http.get("/api/runs", headers=bearer(bob)).text
    assert served.http.get(f"/api/runs/{run_id}", headers=bearer(ann)).status_code == 200


def test_where_keys_are_required_nothing_but_health_is_open(serve: Serve) -> None:
    with serve(None, auth__required=True) as served:
        for path in ("/api/runs", "/v1/models", "/ui/runs", "/api/keys"):
            assert served.http.get(path).status_code == 401
        for path in ("/health", "/ready", "/metrics"):
            assert served.http.get(path).status_code == 200
        with pytest.raises(openai.AuthenticationError):
            served.openai("none").models.list()


def test_other_sites_cannot_use_the_trust_in_this_machine(served: Served) -> None:
    evil = {"Origin": "http://evil.example"}
    body = {"agent": "direct", "input": "x"}
    assert served.http.post("/api/runs", json=body, headers=evil).status_code == 403
    assert served.http.post("/api/runs", json=body, headers={"Origin": served.url}).status_code == 202
    for host in ("evil.example", "127.0.0.1.evil.example", ""):
        response = httpx.get(f"{served.url}/api/runs", headers={"Host": host}, trust_env=False)
        assert response.status_code in (400, 403), host


def test_a_browser_signs_in_with_the_key_as_password(serve: Serve, served: Served) -> None:
    key = make_key(served)
    assert served.http.get("/ui/runs", auth=("anything", key)).status_code == 200
    assert served.http.get("/ui/runs", auth=("anything", "mk-wrong-key")).status_code == 401


def test_a_key_made_twice_is_one_key_whose_text_is_shown_once(served: Served) -> None:
    body, headers = {"name": "only once"}, {"Idempotency-Key": "one-key"}
    first = served.http.post("/api/keys", json=body, headers=headers)
    again = served.http.post("/api/keys", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["key"].startswith("mk-")
    assert again.json() == {**first.json(), "key": None}
    names = [item["name"] for item in served.http.get("/api/keys").json()["items"]]
    assert names.count("only once") == 1
    files = served.settings.home.glob("mneme.db*")
    assert not any(first.json()["key"].encode() in file.read_bytes() for file in files)
