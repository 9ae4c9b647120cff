"""The pages of memories: what they show, that they show what the API has, and that no text in a memory is markup."""

from __future__ import annotations

from typing import Any, Final

import pytest

from api.web.typed import shown_data
from tests.api.conftest import Served
from tests.api.web.conftest import remember

EVIL: Final = "<script>document.title='taken over'</script><img src=x onerror=alert(1)>"
HTML: Final = {"Accept": "text/html"}
TABS: Final = ("", "/edit", "/history", "/sources", "/recalls", "/delete")


@pytest.fixture(scope="module")
def evil(served: Served) -> dict[str, Any]:
    """A memory with markup in every field that takes text."""
    made = remember(
        served,
        f"{EVIL} {'x ' * 50_000}",
        title=EVIL,
        subject=EVIL,
        attribute=EVIL,
        speaker=EVIL,
        tags=[EVIL],
        sensitivity=[EVIL],
        entities=[EVIL, "lab"],
        watermark=EVIL,
        session_id=EVIL,
        data={"concept": EVIL, "cues": [EVIL], "parameters": [{"name": EVIL, "typing": EVIL}]},
        semantic_type="concept",
        sources=[
            {"kind": "url", "uri": "javascript:alert(1)", "quote": EVIL, "model": EVIL, "role": "user"},
            {"kind": "message", "message_id": EVIL, "quote": EVIL},
        ],
    )
    other = remember(served, "The lab has two doors.", entities=["lab"])
    assert served.http.post(f"/api/memories/{made['id']}/link", json={"to": other["id"]}).status_code == 201
    reply = served.http.patch(
        f"/api/memories/{made['id']}", json={"priority": 1, "reason": EVIL}, headers={"If-Match": '"1"'}
    )
    assert reply.status_code == 200, reply.text
    changed: dict[str, Any] = reply.json()
    return changed


def test_a_page_and_its_twin_show_the_same_memories(served: Served, evil: dict[str, Any]) -> None:
    html = served.http.get("/ui/memories", headers=HTML)
    twin = served.http.get("/ui/memories?format=json").json()
    listed = served.http.get("/api/memories").json()
    assert [one["id"] for one in twin["items"]] == [one["id"] for one in listed["items"]]
    assert all(f"/ui/memories/{one['id']}" in html.text for one in twin["items"])
    assert twin["facets"]["semantic_type"]["concept"] == 1
    one = served.http.get(f"/ui/memories/{evil['id']}?format=json").json()["memory"]
    assert one == served.http.get(f"/api/memories/{evil['id']}").json()


def test_text_in_every_field_is_escaped_on_every_page(served: Served, evil: dict[str, Any]) -> None:
    paths = [f"/ui/memories/{evil['id']}{tab}" for tab in TABS]
    for path in [*paths, "/ui/memories", "/ui/memories?q=lab", f"/ui/memories?tag={EVIL}", f"/ui/memories?q={EVIL}"]:
        reply = served.http.get(path, headers=HTML)
        assert reply.status_code == 200, path
        assert "<script>document" not in reply.text, path
        assert "<img src=x" not in reply.text, path
        assert 'href="javascript:' not in reply.text, path
        assert 'href="/' not in reply.text, "links are relative, for a sub-path behind a proxy"


def test_filters_narrow_the_list_and_are_counted_beside_each_other(served: Served) -> None:
    first = remember(served, "Bees sleep at night.", tags=["bees"], semantic_type="lesson")
    second = remember(served, "Bees like lavender.", tags=["bees", "plants"])
    served.http.post(f"/api/memories/{second['id']}/state", json={"event": "archive"})
    twin = served.http.get("/ui/memories", params={"tag": "bees", "format": "json"}).json()
    assert [one["id"] for one in twin["items"]] == [first["id"]]
    assert twin["facets"]["state"] == {"activated": 1, "archived": 1}
    assert twin["facets"]["tag"] == {"bees": 1}
    archived = served.http.get("/ui/memories", params={"tag": "bees", "state": "archived", "format": "json"}).json()
    assert [one["id"] for one in archived["items"]] == [second["id"]]


def test_a_search_says_the_score_of_each_index_and_why_and_counts_as_no_use(served: Served) -> None:
    wanted = remember(served, "The boiler is serviced in October by Mr Holm.")
    twin = served.http.get("/ui/memories", params={"q": "who services the boiler", "format": "json"}).json()
    best = twin["hits"][0]
    assert best["memory"]["id"] == wanted["id"]
    assert best["scores"]["lexical"] > 0
    assert best["why"]
    html = served.http.get("/ui/memories", params={"q": "who services the boiler"}, headers=HTML).text
    assert f"{best['score']:.3f}" in html
    assert "lexical" in html
    assert served.http.get(f"/api/memories/{wanted['id']}").json()["uses"] == 0


def test_empty_and_error_states_say_what_to_do(served: Served) -> None:
    assert "Clear the filters" in served.http.get("/ui/memories?tag=nothing-has-it", headers=HTML).text
    fresh = served.http.post("/api/vaults", json={"name": "fresh"}).json()["id"]
    assert "mneme memory add" in served.http.get(f"/ui/memories?vault={fresh}", headers=HTML).text
    assert "Nothing was found" in served.http.get(f"/ui/memories?vault={fresh}&q=anything", headers=HTML).text
    for path, status in (
        ("/ui/memories/mem_none", 404),
        ("/ui/memories?vault=nobody", 404),
        ("/ui/memories?state=odd", 422),
    ):
        assert served.http.get(path, headers=HTML).status_code == status
        assert served.http.get(path, headers={"Accept": "application/json"}).json()["status"] == status


def test_versions_stand_side_by_side_with_what_differs(served: Served) -> None:
    memory = remember(served, "one\ntwo", tags=["old"])["id"]
    changed = {"content": "one\nthree", "tags": ["new"], "reason": "it was wrong"}
    served.http.patch(f"/api/memories/{memory}", json=changed, headers={"If-Match": '"1"'})
    twin = served.http.get(f"/ui/memories/{memory}/history?format=json").json()
    assert [one["version"] for one in twin["versions"]] == [2, 1]
    assert twin["diff"] == served.http.get(f"/api/memories/{memory}/diff?from=1&to=2").json()
    html = served.http.get(f"/ui/memories/{memory}/history?from=1&to=2", headers=HTML).text
    assert "it was wrong" in html
    assert "-two" in html, "without a script the difference is still there"
    assert served.http.get(f"/ui/memories/{memory}/history?from=1&to=9", headers=HTML).status_code == 404


def test_a_deleted_memory_shows_its_history_and_can_be_brought_back_until_it_is_erased(served: Served) -> None:
    memory = remember(served, "Going away soon.")["id"]
    served.http.delete(f"/api/memories/{memory}", headers={"If-Match": '"1"'})
    html = served.http.get(f"/ui/memories/{memory}", headers=HTML)
    assert html.status_code == 200
    assert "Bring back" in html.text
    assert "Going away soon." in html.text
    assert served.http.delete(f"/api/memories/{memory}?purge=true").json()["purged"] is True
    html = served.http.get(f"/ui/memories/{memory}", headers=HTML)
    assert "Going away soon." not in html.text
    assert "Bring back" not in html.text
    assert "It was erased" in html.text


def test_what_goes_along_is_told_before_a_memory_is_erased(served: Served) -> None:
    memory = remember(served, "The source of a summary.", sources=[{"kind": "document", "quote": "source"}])["id"]
    made_from = remember(served, "A summary of it.")["id"]
    served.http.post(f"/api/memories/{made_from}/link", json={"to": memory, "type": "DERIVED_FROM"})
    twin = served.http.get(f"/ui/memories/{memory}/delete?format=json").json()
    assert twin["goes"] == {"versions": 1, "sources": 1, "links": 1, "entities": 0, "artifacts": 0}
    assert twin["derived"] == [made_from]
    assert served.http.delete(f"/api/memories/{memory}?purge=true").json()["stale"] == [made_from]


def test_another_memory_takes_the_place_of_one(served: Served) -> None:
    old = remember(served, "The office opens at nine.")["id"]
    new = remember(served, "The office opens at ten.")["id"]
    path = f"/api/memories/{old}/supersede"
    assert served.http.post(path, json={"by": new}, headers={"If-Match": '"7"'}).status_code == 412
    reply = served.http.post(path, json={"by": new}, headers={"If-Match": '"1"'})
    assert (reply.status_code, reply.json()["state"]) == (200, "archived")
    links = served.http.get(f"/ui/memories/{old}/sources?format=json").json()["links"]
    assert [(one["from"], one["type"], one["to"]) for one in links] == [(new, "SUPERSEDES", old)]


def test_a_concept_shows_how_it_is_called() -> None:
    data: dict[str, Any] = {
        "concept": "mirror",
        "output_typing": "grid",
        "parameters": [{"name": "grid", "typing": "grid := list[row]", "description": "what is mirrored"}],
        "used_in": ["a", "b"],
        "cues": [],
        "extra": {"deep": 1},
    }
    shown = shown_data("concept", data)
    assert shown.signature == "mirror(grid: grid) → grid"
    assert [part.name for part in shown.parts] == ["used in", "extra"]
    assert shown.parts[0].items == ("a", "b")
    odd = shown_data("concept", {"concept": "x", "parameters": ["no record", {"name": None}]})
    assert odd.signature == "x(None: ?)"
    assert shown_data("lesson", {"suggestion": "s", "situation": "t", "ok": True}).parts[0].name == "situation"
