"""In a browser, each ending in what the page shows and what the database says: two evaluations compared sample by sample; a
key made and revoked; a question asked in the playground, watched, stopped, and forked.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.conftest import Served, serving
from tests.api.web.seeded_evals import Evals
from tests.browsing import quiet_page

pytestmark = pytest.mark.browser

SCRIPT = """
[[rule]]
contains = "slowly"
reply = "one two three four five six seven eight nine ten"
delay_ms = 400
[[rule]]
contains = "for ever"
reply = "on and on and on and on and on and on and on and on and on and on and on and on and on"
delay_ms = 1500
"""
WHOLE = "one two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("journeys"), SCRIPT) as running:
        yield running


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    with quiet_page(browser, served) as opened:
        opened.set_default_timeout(60_000)
        yield opened


expect.set_options(timeout=30_000)


def test_two_evaluations_are_compared_sample_by_sample(served: Served, page: Page) -> None:
    evals = Evals(served)
    page.goto("/ui/evals")
    compare = page.locator("#compare")
    expect(compare).to_be_disabled()
    for id_ in (evals.memory, evals.without):
        page.locator(f"[data-pick][value={id_}]").check()
    # The list is newest first, and so is the pair: the control against the evaluation that it belongs to.
    compare.click()
    expect(page.locator("#sentence")).to_contain_text("does worse than")
    page.get_by_role("link", name="Swap").click()
    told = served.http.get("/api/evals/compare", params={"a": evals.memory, "b": evals.without}).json()
    expect(page.locator("#sentence")).to_have_text(told["sentence"])
    assert page.locator("tr.change-fixed").count() == told["mcnemar"]["only_a"] == 7
    assert page.locator("tr.change-broken").count() == told["mcnemar"]["only_b"] == 1
    page.get_by_role("navigation", name="Which samples").get_by_role("link", name="broken").click()
    expect(page.locator("tbody tr.change-fixed")).to_have_count(0)
    page.locator("tr.change-broken a").first.click()
    expect(page.locator("h1")).to_have_text("h")
    assert page.locator(".attempt.wrong").count() == page.locator(".attempt.right").count() == 1
    assert page.locator(".attempt a", has_text="Run").count() == 2


def test_a_key_is_made_shown_once_and_revoked(served: Served, page: Page) -> None:
    page.goto("/ui/settings/keys")
    page.get_by_role("button", name="Create a key").click()
    page.locator("#key-name").fill("laptop of Ann")
    page.locator("#key-user").fill("ann")
    page.locator("#key-days").select_option("30")
    page.locator("#new-key [type=submit]").click()
    expect(page.locator("#secret")).to_contain_text("mk-")
    secret = page.locator("#secret").text_content() or ""
    page.get_by_role("button", name="Copy the key").click()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    asking = {"Authorization": f"Bearer {secret}"}
    assert served.http.get("/api/runs", headers=asking).status_code == 200
    page.get_by_role("button", name="Done").click()
    row = page.locator("tr", has_text="laptop of Ann")
    expect(row).to_contain_text("active")
    assert secret not in page.content()
    (made,) = [key for key in served.http.get("/api/keys").json()["items"] if key["name"] == "laptop of Ann"]
    assert (made["user"], made["scopes"], made["revoked_at"]) == ("ann", ["read", "run"], None)
    assert made["expires_at"] is not None
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("revoked")
    expect(row.get_by_role("button")).to_have_count(0)
    (gone,) = [key for key in served.http.get("/api/keys").json()["items"] if key["id"] == made["id"]]
    assert gone["revoked_at"] is not None
    assert served.http.get("/api/runs", headers=asking).status_code == 401


def test_an_answer_streams_in_the_playground(served: Served, page: Page) -> None:
    page.goto("/ui/playground")
    page.locator("#input").fill("slowly please")
    page.keyboard.press("Control+Enter")
    answer = page.locator("#answer")
    expect(answer).to_contain_text("one")
    assert "ten" not in (answer.text_content() or "")
    expect(page.locator("#live")).to_have_text("live")
    expect(answer).to_have_text(WHOLE)
    expect(page.locator("#status")).to_have_text("succeeded")
    run = served.http.get(f"/api/runs/{page.locator('#reply').get_attribute('data-run')}").json()
    assert (run["status"], run["output"]["text"], run["input"]) == ("succeeded", WHOLE, "slowly please")
    tokens = run["usage"]["total"]["total_tokens"]
    expect(page.locator("#used-tokens .used")).to_have_text(str(tokens))
    assert page.url.endswith(f"?run={run['id']}")
    # Forked from its beginning it is made again, as a run of its own.
    page.locator("#fork").click()
    page.locator("#fork-form [type=submit]").click()
    expect(page.locator("#notices")).to_contain_text("Forked from event 1")
    expect(page.locator("#status")).to_have_text("succeeded")
    forked = served.http.get(f"/api/runs/{page.locator('#reply').get_attribute('data-run')}").json()
    assert forked["parent"] == {"run": run["id"], "event": 1}
    expect(answer).to_have_text(forked["output"]["text"])


def test_a_run_is_stopped_from_the_playground(served: Served, page: Page) -> None:
    page.goto("/ui/playground?q=for+ever&agent=direct")
    page.locator("#send").click()
    expect(page.locator("#answer")).to_contain_text("on")
    page.locator("#stop").click()
    expect(page.locator("#status")).to_have_text("cancelled")
    expect(page.locator("#error")).to_contain_text("Stopped")
    expect(page.locator("#stop")).to_be_hidden()
    run = served.http.get(f"/api/runs/{page.locator('#reply').get_attribute('data-run')}").json()
    assert run["status"] == "cancelled"
    expect(page.locator("#send")).to_be_enabled()
