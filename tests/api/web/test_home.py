"""Home: its numbers are those of the store, and it grows while runs are in flight."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.api.conftest import Served, serving
from tests.api.web.conftest import SCRIPT, remember, submit


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("home"), SCRIPT) as running:
        yield running


def test_its_numbers_are_those_of_the_store(served: Served) -> None:
    before = served.http.get("/ui/?format=json").json()["memory"]
    remember(served, "The seminar begins at ten.")
    run_id = submit(served, "for home")
    served.ended(run_id)
    view = served.http.get("/ui/?format=json").json()
    listed = served.http.get("/api/memories?limit=200").json()["items"]
    assert view["memory"]["live"] == before["live"] + 1 == len(listed)
    assert view["memory"]["recorded"][-1]["count"] == before["recorded"][-1]["count"] + 1
    assert view["memory"]["recorded_total"] == sum(day["count"] for day in view["memory"]["recorded"])
    assert view["last_runs"][0]["id"] == run_id
    assert (view["helped"], view["hurt"]) == ([], [])


def test_an_empty_service_says_how_to_begin(served: Served) -> None:
    text = served.http.get("/ui/", headers={"Accept": "text/html"}).text
    assert "Nothing is measured yet." in text


@pytest.mark.browser
def test_a_run_in_flight_is_shown_until_it_has_ended(served: Served, page: Page) -> None:
    run_id = submit(served, "slowly on home")
    page.goto("/ui/")
    expect(page.locator("#live")).to_have_text("live")
    expect(page.get_by_role("region", name="Runs in flight")).to_contain_text("slowly on home")
    expect(page.get_by_role("region", name="Runs in flight")).to_have_count(0, timeout=20_000)
    row = page.locator("tr", has=page.locator(f"a[href$='{run_id}']"))
    expect(row.locator(".status")).to_have_text("succeeded")
