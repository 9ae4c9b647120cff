"""The timeline: the axis and the rows are what happened, a part of it is an address, and a date shows what was held then."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.conftest import Served, serving
from tests.api.web.conftest import remember, submit
from tests.browsing import check_page

SCRIPT = "<script>document.title='taken over'</script>"
HTML = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One of its own: what is counted is everything that happened."""
    with serving(tmp_path_factory.mktemp("timeline"), "") as running:
        yield running


@pytest.fixture(scope="module")
def lived(served: Served) -> dict[str, Any]:
    """A memory that was edited, one that was put away, one that is markup, and a run that read from the vault."""
    kept = remember(served, "The ferry leaves at nine.", title="Ferry times")
    reply = served.http.patch(
        f"/api/memories/{kept['id']}",
        json={"content": "The ferry leaves at ten.", "reason": SCRIPT},
        headers={"If-Match": '"1"'},
    )
    assert reply.status_code == 200, reply.text
    gone = remember(served, "The old pier is open.", title="Old pier")
    served.http.post(f"/api/memories/{gone['id']}/state", json={"event": "archive"}).raise_for_status()
    evil = remember(served, f"Harmless {SCRIPT}", title=SCRIPT)
    run = submit(served, "When does the ferry leave?", vaults=["default"], memory="read")
    assert served.ended(run)["status"] == "succeeded"
    return {"kept": kept, "edited": reply.json(), "gone": gone, "evil": evil, "run": run}


def view(served: Served, path: str = "", **query: Any) -> dict[str, Any]:
    reply = served.http.get(f"/ui/timeline{path}", params={"format": "json", **query})
    assert reply.status_code == 200, reply.text
    told: dict[str, Any] = reply.json()
    return told


def test_the_twin_is_what_the_api_gives(served: Served, lived: dict[str, Any]) -> None:
    told = view(served)
    api = served.http.get("/api/timeline", params={"limit": 60}).json()
    assert {name: told[name] for name in api} == api
    happened = {(one["what"], one["memory"]) for one in told["items"]}
    assert {
        ("born", lived["kept"]["id"]),
        ("edited", lived["kept"]["id"]),
        ("gone", lived["gone"]["id"]),
        ("recalled", lived["kept"]["id"]),
    } <= happened
    assert {one["run"] for one in told["items"] if one["what"] == "recalled"} == {lived["run"]}


def test_the_bars_of_the_axis_add_up_to_the_lanes(served: Served, lived: dict[str, Any]) -> None:
    told = view(served)
    page = served.http.get("/ui/timeline", headers=HTML).text
    titles = re.findall(r"<title>(\d+) (\w+), ", page)
    for what, counts in told["lanes"]["counts"].items():
        assert sum(int(count) for count, name in titles if name == what) == sum(counts) == told["counts"][what]


def test_a_part_and_a_kind_are_an_address(served: Served, lived: dict[str, Any]) -> None:
    edited = next(
        one for one in view(served)["items"] if one["what"] == "edited" and one["memory"] == lived["kept"]["id"]
    )
    part = view(served, **{"from": edited["at"], "to": edited["at"]})
    assert [(one["what"], one["memory"]) for one in part["items"]] == [("edited", lived["kept"]["id"])]
    gone = view(served, what="gone")
    assert {one["what"] for one in gone["items"]} == {"gone"}
    assert view(served, to="2001-01-01")["items"] == []
    empty = served.http.get("/ui/timeline", params={"to": "2001-01-01"}, headers=HTML).text
    assert "Nothing happened in this part." in empty
    assert 'href="../ui/timeline?vault=' in empty


def test_a_run_shows_what_it_read_and_how_many_there_were(served: Served, lived: dict[str, Any]) -> None:
    told = view(served, "/run", run=lived["run"])
    read = {one["id"]: one for one in told["read"]}
    assert read[lived["kept"]["id"]]["version"] == 2
    assert read[lived["kept"]["id"]]["now"]["title"] == "Ferry times"
    assert told["written"] == []
    (counted,) = told["counts"]
    assert counted["before"] == counted["after"] == view(served, "/believed")["total"]
    assert counted["changes"] == 0
    listed = served.http.get("/ui/timeline/run", headers=HTML).text
    assert f'href="../../ui/timeline/run?run={lived["run"]}"' in listed


def test_a_date_shows_what_was_held_then(served: Served, lived: dict[str, Any]) -> None:
    before = view(served, "/believed", on=lived["kept"]["recorded_at"])
    assert [(one["then"]["content"], one["then"]["version"]) for one in before["items"]] == [
        ("The ferry leaves at nine.", 1)
    ]
    assert before["items"][0]["now"] == {"version": 2, "state": "activated"}
    found = view(served, "/believed", on=lived["kept"]["recorded_at"], q="ferry")["found"]
    assert [hit["memory"]["content"] for hit in found] == ["The ferry leaves at nine."]
    today = {one["then"]["id"] for one in view(served, "/believed")["items"]}
    assert lived["gone"]["id"] not in today
    assert lived["evil"]["id"] in today
    assert view(served, "/believed", on="2001-01-01")["items"] == []
    assert (
        "held nothing then" in served.http.get("/ui/timeline/believed", params={"on": "2001-01-01"}, headers=HTML).text
    )


def test_an_empty_vault_says_how_it_begins(served: Served) -> None:
    served.http.post("/api/vaults", json={"name": "still"}).raise_for_status()
    text = served.http.get("/ui/timeline", params={"vault": "still"}, headers=HTML).text
    assert "Nothing has happened in vault still yet." in text
    assert view(served, vault="still")["lanes"] is None


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("", {"vault": "nowhere"}, 404),
        ("", {"from": "soon"}, 400),
        ("", {"from": "2026-02-01", "to": "2026-01-01"}, 400),
        ("", {"what": "eaten"}, 422),
        ("/believed", {"on": "9999-12-31T23:59:59-10:00"}, 400),
        ("/run", {"run": "run_nowhere"}, 404),
    ],
)
def test_what_cannot_be_shown_is_said_in_words(served: Served, path: str, query: dict[str, str], status: int) -> None:
    reply = served.http.get(f"/ui/timeline{path}", params=query, headers=HTML)
    assert reply.status_code == status
    assert f"· {status}" in reply.text
    assert served.http.get(f"/ui/timeline{path}", params={**query, "format": "json"}).status_code == status


def test_markup_is_text(served: Served, lived: dict[str, Any]) -> None:
    for path, query in (("", {}), ("/believed", {"q": SCRIPT}), ("/run", {"run": lived["run"]})):
        text = served.http.get(f"/ui/timeline{path}", params=query, headers=HTML).text
        assert "<script>document" not in text
        assert "&lt;script&gt;document" in text


@pytest.mark.browser
def test_brushing_the_axis_shows_the_rows_of_that_part(served: Served, page: Page, lived: dict[str, Any]) -> None:
    whole = view(served)
    begin, end = (datetime.fromisoformat(whole["lanes"][name]) for name in ("begin", "end"))
    times = sorted(datetime.fromisoformat(one["at"]) for one in whole["items"])
    gap, before = max((after - before, before) for before, after in pairwise(times))
    share = (before + gap / 2 - begin) / (end - begin)
    page.goto("/ui/timeline")
    box = page.locator("#timeline-plot").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * share, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] - 20, box["y"] + 60, steps=4)
    page.mouse.up()
    expect(page.get_by_role("heading", name="In this part")).to_be_visible()
    assert "from=" in page.url
    query = dict(part.split("=") for part in page.url.split("?")[1].replace("%3A", ":").split("&"))
    told = view(served, **query)
    assert told["total"] == sum(time <= before for time in times) < whole["total"]
    expect(page.locator("#timeline tbody tr")).to_have_count(told["total"])
    page.keyboard.press("0")
    expect(page.get_by_role("heading", name="Everything")).to_be_visible()
    assert page.title() != "taken over"


@pytest.mark.browser
def test_the_timeline_fits_every_window_and_both_themes(
    browser: Browser, served: Served, lived: dict[str, Any]
) -> None:
    check_page(browser, served, "/ui/timeline", "timeline/happenings")
    check_page(browser, served, f"/ui/timeline/run?run={lived['run']}", "timeline/run")
    check_page(browser, served, "/ui/timeline/believed?q=ferry", "timeline/believed")
