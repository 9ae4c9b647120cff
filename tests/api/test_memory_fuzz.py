"""Whatever is sent as an id, a filter or a question, the answer is right or a 4xx that says why; never a 5xx, and never
somebody's words taken for a command of the database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.conftest import Served, serving

NASTY = [
    "'",
    '"',
    "\"\"'';--",
    "'; DROP TABLE memories; --",
    "%' OR '1'='1",
    "a\0b",
    "\0",
    "\x1b[31mred\x1b[0m",
    "AND OR NOT NEAR(",
    'NEAR("a" "b", 5)',
    "content:secret",
    "fields : x",
    "ns:abc",
    "^start *",
    "(((((",
    "a* -b +c",
    "{tag}:x",
    "tide & ! | <-> noon",
    "tide:*",
    "\\",
    "../../etc/passwd",
    "%00%0a",
    "‮מחר‬ שלום",
    "مرحبا بالعالم",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "é" * 3,
    "\ud800",
    "\ufffe\uffff",
    " ",
    "\n\t\r",
    "𝕿𝖍𝖊 𝖙𝖎𝖉𝖊",
    "NULL",
    "-1",
    "9" * 400,
    "$2a$" * 50,
    "{}",
    "[]",
    "null",
    "<script>alert(1)</script>",
    "{{7*7}}",
    "word " * 2000,
]
TEXT = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=200),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Lu", "Po", "Sm"]), max_size=30),
)
FEW = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("fuzz"), None) as running:
        made = running.http.post("/api/memories", json={"content": "The tide turns at noon", "tags": ["sea"]})
        assert made.status_code == 201, made.text
        yield running


def post(served: Served, path: str, body: Any) -> httpx.Response:
    """As JSON that may hold half of a surrogate pair."""
    content = json.dumps(body).encode()
    return served.http.post(path, content=content, headers={"Content-Type": "application/json"})


def told(response: httpx.Response) -> None:
    """A refusal says what is wrong, in the shape of the surface."""
    assert 400 <= response.status_code < 500, response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    assert len(response.json()["detail"]) > 10


@FEW
@given(text=TEXT, mode=st.sampled_from(["hybrid", "dense", "lexical", "graph"]))
def test_any_text_is_a_question(served: Served, text: str, mode: str) -> None:
    response = post(served, "/api/memories/search", {"query": text, "mode": mode})
    if response.status_code != 200:
        told(response)
        return
    assert {hit["memory"]["content"] for hit in response.json()["hits"]} <= {"The tide turns at noon"}


@pytest.mark.parametrize("operator", ['tide" OR "x', "tide AND nothing", "NOT tide", "tide*", "fields:sea tide"])
def test_operators_are_words(served: Served, operator: str) -> None:
    response = post(served, "/api/memories/search", {"query": operator, "mode": "lexical"})
    assert response.status_code == 200
    assert [hit["memory"]["content"] for hit in response.json()["hits"]] == ["The tide turns at noon"]


@FEW
@given(text=TEXT)
def test_any_text_is_an_id_that_is_not_found(served: Served, text: str) -> None:
    try:
        segment = quote(text, safe="")
    except UnicodeEncodeError:
        segment = quote(text.encode("utf-8", "surrogatepass"), safe="")
    for path in (f"/api/memories/x{segment}", f"/api/vaults/x{segment}", f"/api/jobs/x{segment}"):
        response = served.http.get(path)
        assert response.status_code in (400, 404, 414, 422), (path, response.text[:300])


@FEW
@given(text=TEXT)
def test_any_text_is_a_filter(served: Served, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return  # no URL can say it
    for name in ("vault", "tag", "session_id", "subject", "attribute", "cursor", "state"):
        response = served.http.get("/api/memories", params={name: text})
        if response.status_code == 200:
            items = response.json()["items"]
            assert items == [] or (name, text) == ("vault", "default"), (name, text)
        else:
            told(response)


@FEW
@given(text=TEXT, tag=TEXT)
def test_any_text_is_kept_as_it_is_or_refused(served: Served, text: str, tag: str) -> None:
    body = {"content": f"kept {text} end", "tags": [tag], "title": text, "data": {tag: text}, "entities": [tag]}
    response = post(served, "/api/memories", body)
    if response.status_code not in (200, 201):
        told(response)
        return
    read = served.http.get(f"/api/memories/{response.json()['id']}").json()
    if response.status_code == 201:
        assert read["content"] == body["content"]
        assert read["title"] == text
        assert read["data"] == body["data"]
        assert read["tags"] == [tag.strip()]
    # It must not be found by the words of the others.
    served.http.delete(f"/api/memories/{read['id']}", params={"purge": True})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ["content", "semantic_type", "data", "subject", "tags", "confidence", "priority", "pinned", "valid_from"]
FIELDS += ["expires_at", "session_id", "position", "sources", "origin", "kind", "vault", "wait", "entities"]


@FEW
@given(extra=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3))
def test_any_value_in_any_field_is_taken_or_refused(served: Served, extra: dict[str, Any]) -> None:
    response = post(served, "/api/memories", {"content": "any value", **extra})
    if response.status_code in (200, 201, 202):
        served.http.delete(f"/api/memories/{response.json()['id']}", params={"purge": True})
    else:
        told(response)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/memories/search", {"query": "x" * 1_000_000}),
        ("/api/memories/search", {"query": "tide", "tags": ["y" * 1_000_000]}),
        ("/api/memories", {"content": "z" * 1_000_001}),
        ("/api/memories", {"content": "x", "subject": "s" * 1_000_000}),
        ("/api/memories", {"content": "x", "data": {"a": "d" * 1_100_000}}),
        ("/api/memories", {"memories": [{"content": str(number)} for number in range(2000)]}),
        ("/api/memories/merge", {"ids": ["mem_" + "0" * 32] * 2000}),
    ],
)
def test_a_megabyte_is_refused_where_it_makes_no_sense(served: Served, path: str, body: dict[str, Any]) -> None:
    response = post(served, path, body)
    assert response.status_code in (400, 413, 422), response.text[:200]
    assert len(response.text) < 20_000, "a refusal does not echo a megabyte"


def test_a_long_text_is_a_memory(served: Served) -> None:
    text = "the longest word of all is floccinaucinihilipilification " * 15_000
    response = post(served, "/api/memories", {"content": text})
    assert response.status_code == 201, response.text[:300]
    found = post(served, "/api/memories/search", {"query": "floccinaucinihilipilification", "mode": "lexical"}).json()
    assert [hit["memory"]["id"] for hit in found["hits"]] == [response.json()["id"]]
    served.http.delete(f"/api/memories/{response.json()['id']}", params={"purge": True})


def test_a_megabyte_in_a_path_or_header_is_refused(served: Served) -> None:
    for path, headers in (
        (f"/api/memories/{'a' * 60_000}", {}),
        ("/api/memories", {"X-Mneme-Context": "c" * 50_000}),
        ("/api/memories/mem_" + "0" * 32, {"If-None-Match": "e" * 50_000}),
    ):
        try:
            response = served.http.get(path, headers=headers)
        except httpx.RemoteProtocolError:
            continue
        assert 400 <= response.status_code < 500
