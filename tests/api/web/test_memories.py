"""The pages of memories: what they show, that they show what the API has, and that no text in a memory is markup."""

from __future__ import annotations

from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from api.web.typed import shown_data
from tests.api.conftest import Served
from tests.api.web.conftest import remember
from tests.browsing import expected

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


@pytest.mark.browser
def test_a_filter_changes_the_list_alone_and_is_an_address(served: Served, page: Page) -> None:
    vault = served.http.post("/api/vaults", json={"name": "birds"}).json()["id"]
    for number in range(50):
        sings = {"content": f"Bird {number} sings.", "vault": vault, "semantic_type": "fact"}
        served.http.post("/api/memories", json=sings).raise_for_status()
    remember(served, "Owls hoot.", vault=vault, tags=["night"], semantic_type="lesson")
    page.goto(f"/ui/memories?vault={vault}")
    page.evaluate("document.querySelector('h1').dataset.old = 'yes'")
    rows, same = page.locator("tbody tr"), page.locator("h1[data-old]")
    night = page.get_by_role("checkbox", name="night")
    night.focus()
    page.keyboard.press("Space")
    expect(rows).to_have_count(1)
    expect(night).to_be_focused()
    expect(night).to_be_checked()
    expect(page.get_by_role("checkbox", name="fact")).to_have_count(0)
    expect(page.locator("#note")).to_contain_text("1 in vault birds match")
    assert page.url.endswith(f"?vault={vault}&tag=night&mode=hybrid"), "what is empty is left out"
    expect(page.locator("td.when time").first).not_to_contain_text("UTC")
    page.locator("[name=q]").fill("who hoots")
    page.locator("[name=q]").press("Enter")
    expect(page.locator(".hit-why")).to_have_count(1)
    expect(page.locator("[name=q]")).to_be_focused()
    expect(same).to_have_count(1)
    shared = page.url
    assert "tag=night" in shared
    assert "q=who+hoots" in shared
    page.evaluate("history.back()")
    expect(page.locator(".hit-why")).to_have_count(0)
    expect(page.locator("[name=q]")).to_have_value("")
    expect(night).to_be_checked()
    expect(same).to_have_count(0)
    page.evaluate("history.back()")
    expect(rows).to_have_count(50)
    expect(night).not_to_be_checked()
    expect(page.locator("[name=q]")).to_have_value("")
    page.evaluate("document.querySelector('h1').dataset.old = 'yes'")
    page.locator("h1").click()
    page.keyboard.press("j")
    expect(page.locator("tr.here")).to_have_count(1)
    older = page.get_by_role("link", name="Older memories")
    with page.context.expect_page() as opened:
        older.click(modifiers=["Control"])
    expect(opened.value.locator("tbody tr")).to_have_count(1)
    opened.value.close()
    expect(rows).to_have_count(50)
    older.click()
    expect(rows).to_have_count(1)
    expect(same).to_have_count(1)
    page.goto(shared)
    expect(page.locator(".hit-why")).to_have_count(1)
    expect(night).to_be_checked()


@pytest.mark.browser
def test_filters_and_search_are_a_plain_form_without_scripts(served: Served, browser: Browser) -> None:
    remember(served, "Foxes bark.", tags=["fox"])
    context = browser.new_context(java_script_enabled=False, base_url=served.url)
    page = context.new_page()
    page.goto("/ui/memories")
    page.locator("#tag-fox").check()
    page.get_by_role("button", name="Filter").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    page.locator("[name=q]").fill("who barks")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".hit-why")).to_have_count(1)
    expect(page.locator("#tag-fox")).to_be_checked()
    context.close()


@pytest.mark.browser
def test_a_filter_that_is_refused_is_told_on_a_page(page: Page) -> None:
    page.goto("/ui/memories")
    page.evaluate("document.querySelector('#facets [type=checkbox]').value = 'odd'")
    expected(page, "422")
    page.locator("#facets [type=checkbox]").first.click()
    expect(page.locator("h1")).to_contain_text("422")


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
