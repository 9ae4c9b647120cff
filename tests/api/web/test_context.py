"""The page of what the model saw: parts, differences, honest gaps; and the differences by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, expect

from api.web.differing import KEPT, differing, same_start
from tests.api.conftest import Served, serving
from tests.api.web.conftest import SCRIPT, remember, submit
from tests.browsing import check_page

MARKUP = "<script>document.title = 'taken over'</script>"
RUNS: dict[str, str] = {}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("context"), SCRIPT) as running:
        remember(running, f"Turbine T1 is rated at 300 kW. {MARKUP}")
        asked = f"What is the rating of turbine T1? {MARKUP}"
        RUNS["direct"] = submit(running, asked, vaults=["default"], memory="read")
        chat = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": "Hello to you"},
            {"role": "user", "content": "And now?"},
        ]
        RUNS["chat"] = submit(running, chat)
        RUNS["votes"] = submit(running, "How many?", agent="self-consistency", config={"n": 3})
        RUNS["failed"] = submit(running, "refused")
        for run in RUNS.values():
            running.ended(run)
        yield running


def view(served: Served, name: str, query: str = "") -> Any:
    reply = served.http.get(f"/ui/runs/{RUNS[name]}/context?format=json{query}")
    assert reply.status_code == 200, reply.text
    return reply.json()


def html(served: Served, name: str, query: str = "") -> str:
    reply = served.http.get(f"/ui/runs/{RUNS[name]}/context{query}", headers={"Accept": "text/html"})
    assert reply.status_code == 200, reply.text
    return reply.text


def test_parts_are_named_by_where_they_come_from(served: Served) -> None:
    shown = view(served, "chat")
    assert [(part["name"], part["text"]) for part in shown["parts"]] == [
        ("system", "Be brief."),
        ("history", "Hello"),
        ("history", "Hello to you"),
        ("request", "And now?"),
    ]
    assert sum(part["share"] for part in shown["parts"]) == pytest.approx(1)
    assert shown["exact"]
    recalled = view(served, "direct")
    assert [part["name"] for part in recalled["parts"]] == ["recalled", "request"]
    assert "300 kW" in recalled["parts"][0]["text"]


def test_the_model_was_sent_what_the_page_shows(served: Served) -> None:
    assert served.model is not None
    sent = [[message["content"] for message in one["body"]["messages"]] for one in served.model.requests()]
    assert [part["text"] for part in view(served, "direct")["parts"]] in sent


def test_two_steps_are_compared(served: Served) -> None:
    shown = view(served, "votes", "&step=answer.1&other=answer.0")
    assert shown["difference"]["same_start"] == shown["difference"]["chars"]
    assert [piece["what"] for piece in shown["difference"]["pieces"]] == ["same"]
    assert "so much of it a prefix cache can serve" in html(served, "votes", "?step=answer.1&other=answer.0")


def test_text_stays_text_and_links_stay_below_the_root(served: Served) -> None:
    text = html(served, "direct")
    assert "&lt;script&gt;" in text
    assert "<script>document" not in text
    assert 'href="/' not in text


def test_unknown_steps_and_runs_without_calls_say_what_is_wrong(served: Served) -> None:
    reply = served.http.get(f"/ui/runs/{RUNS['direct']}/context?step=none", headers={"Accept": "text/html"})
    assert reply.status_code == 404
    assert "no step of run" in reply.text
    assert "refused" in html(served, "failed")


@pytest.mark.browser
def test_the_page_fits_and_is_accessible(served: Served, browser: Browser) -> None:
    check_page(browser, served, f"/ui/runs/{RUNS['direct']}/context", "context/parts")
    check_page(browser, served, f"/ui/runs/{RUNS['votes']}/context?step=answer.1&other=answer.0", "context/diff")


@pytest.mark.browser
def test_another_step_takes_the_place_of_the_one_shown_alone_and_is_an_address(served: Served, page: Page) -> None:
    path = f"/ui/runs/{RUNS['votes']}/context"
    page.goto(f"{path}?step=answer.1")
    page.evaluate("window.same = true")
    title = page.locator("#parts-title")
    expect(title).to_be_visible()
    page.locator("#other").focus()
    page.locator("#other").select_option("answer.0")
    expect(page.locator("#diff-title")).to_have_text("answer.1 beside answer.0")
    expect(page.locator("#other")).to_be_focused()
    assert page.url.endswith(f"{path}?step=answer.1&other=answer.0")
    page.locator("#step").select_option("answer.2")
    expect(page.locator("#diff-title")).to_have_text("answer.2 beside answer.0")
    expect(page.locator("#json")).to_have_attribute("href", re.compile("step=answer.2$"))
    assert page.evaluate("window.same")
    page.go_back()
    expect(page.locator("#diff-title")).to_have_text("answer.1 beside answer.0")
    page.go_back()
    expect(title).to_be_visible()
    assert page.url.endswith(f"{path}?step=answer.1")


@given(st.text("ab{},\n", max_size=60), st.text("ab{},\n", max_size=60))
def test_a_difference_tells_both_texts(old: str, new: str) -> None:
    pieces = differing(old, new)
    assert "".join(piece.text for piece in pieces if piece.what != "ins") == old
    assert "".join(piece.text for piece in pieces if piece.what != "del") == new
    assert new[: same_start(old, new)] == old[: same_start(old, new)]


def test_long_pieces_that_are_the_same_are_cut_out_in_the_middle() -> None:
    old = "x" * 2000 + "\nend"
    first, *changed = differing(old, old + "{more}")
    assert (first.what, first.left_out) == ("same", 2001 - 2 * KEPT)
    assert [(piece.what, piece.text) for piece in changed] == [("del", "end"), ("ins", "end{more}")]
