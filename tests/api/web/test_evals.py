"""The pages of evaluations: what they show, their twins, whose they are, and the report that is sent around."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.api.conftest import Served
from tests.api.web.seeded_evals import MARKUP, Evals
from tests.browsing import check_page, fits

NEVER = f"evl_{99:032x}"


@pytest.fixture(scope="module")
def evals(served: Served) -> Evals:
    return Evals(served)


@contextmanager
def client(served: Served, user: str) -> Iterator[httpx.Client]:
    key = served.http.post("/api/keys", json={"name": user, "user": user, "scopes": ["read"]}).json()["key"]
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/html"}
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False, headers=headers) as made:
        yield made


def html(served: Served, path: str) -> str:
    reply = served.http.get(path, headers={"Accept": "text/html"})
    assert reply.status_code == 200, reply.text
    return reply.text


def twin(served: Served, path: str) -> Any:
    return served.http.get(path, headers={"Accept": "application/json"}).json()


def test_a_page_and_its_twin_show_the_same(served: Served, evals: Evals) -> None:
    rows = twin(served, "/ui/evals")
    assert rows == served.http.get("/api/evals").json()
    shown = html(served, "/ui/evals")
    assert all(f"/ui/evals/{row['id']}" in shown for row in rows["items"])
    assert "accuracy against tokens" in shown
    assert "placebo of equal length" in shown
    told = twin(served, f"/ui/evals/{evals.memory}")
    assert told["eval"] == served.http.get(f"/api/evals/{evals.memory}").json()
    assert [line["item"] for line in told["samples"]] == list("abcdefgh")
    assert told["eval"]["lift"]["sentence"] in html(served, f"/ui/evals/{evals.memory}").replace("&#39;", "'")


def test_two_are_compared_sample_by_sample(served: Served, evals: Evals) -> None:
    path = f"/ui/evals/compare?eval={evals.memory}&eval={evals.without}"
    told = twin(served, path)
    assert told["comparison"] == served.http.get(f"/api/evals/compare?a={evals.memory}&b={evals.without}").json()
    assert told["counts"] == {"fixed": 7, "broken": 1, "same": 0}
    assert [line["verdict"] for line in told["samples"]] == ["fixed"] * 7 + ["broken"]
    only = html(served, f"{path}&show=broken")
    assert re.findall(r"sample\?item=(\w)&", only.replace("&amp;", "&")) == ["h", "h"]
    assert "No problem is same." in html(served, f"{path}&show=same")
    for wrong in (f"eval={evals.memory}", f"eval={evals.memory}&eval={evals.puzzle}"):
        reply = served.http.get(f"/ui/evals/compare?{wrong}", headers={"Accept": "text/html"})
        assert reply.status_code in (400, 422)
        assert reply.headers["content-type"].startswith("text/html")


def test_a_sample_leads_to_its_runs_and_marks_wrong_cells(served: Served, evals: Evals) -> None:
    path = f"/ui/evals/{evals.memory}/sample?item=a&against={evals.without}"
    assert [len(side["attempts"]) for side in twin(served, path)["sides"]] == [1, 1]
    assert html(served, path).count(f"/ui/runs/run_{0:032x}") == 2
    drawn = html(served, f"/ui/evals/{evals.puzzle}/sample?item=p")
    assert "Attempt 1, 1 cell wrong" in drawn
    assert 'class="cross"' in drawn
    assert "Example 1" in drawn
    gone = served.http.get(f"/ui/evals/{evals.memory}/sample?item=zz", headers={"Accept": "text/html"})
    assert gone.status_code == 404
    assert "did not ask it" in gone.text


def test_text_in_every_field_is_escaped_and_links_are_relative(served: Served, evals: Evals) -> None:
    for path in (
        "/ui/evals",
        f"/ui/evals/{evals.hostile}",
        f"/ui/evals/{evals.hostile}/sample?item={quote(MARKUP)}",
        f"/ui/evals/compare?eval={evals.hostile}&eval={evals.hostile}",
        f"/ui/evals/{evals.hostile}/report",
    ):
        text = html(served, path)
        assert MARKUP not in text
        assert "&lt;script&gt;" in text
        assert re.findall(r'(?:href|src|action)="/', text) == []


def test_what_belongs_to_somebody_else_is_as_unknown_as_what_never_was(served: Served, evals: Evals) -> None:
    with client(served, "bob") as bob:
        assert "No evaluations yet." in bob.get("/ui/evals").text
        for path in (
            "/ui/evals/{}",
            "/ui/evals/{}/sample?item=a",
            "/ui/evals/{}/report",
            "/ui/evals/compare?eval={}&eval={}",
        ):
            told = []
            for id_ in (evals.memory, NEVER):
                reply = bob.get(path.replace("{}", id_))
                told.append((reply.status_code, reply.text.replace(id_, "X")))
            assert told[0] == told[1]
            assert told[0][0] == 404
    with client(served, "ann") as ann:
        assert f"/ui/evals/{evals.anns}" in ann.get("/ui/evals").text


def test_the_report_holds_everything_and_fetches_nothing(served: Served, evals: Evals) -> None:
    reply = served.http.get(f"/ui/evals/{evals.memory}/report")
    assert reply.headers["content-disposition"] == f'attachment; filename="{evals.memory}.html"'
    assert re.findall(r"<script|<link|\b(?:src|href)=\"(?!#)", reply.text) == []
    assert twin(served, f"/ui/evals/{evals.memory}")["eval"]["lift"]["sentence"] in reply.text
    assert reply.text.count('<details class="sample">') == 8
    assert "<polyline" in reply.text or 'class="fill-k1 point"' in reply.text


@pytest.mark.browser
def test_the_report_opens_from_a_file_without_a_word(
    served: Served, evals: Evals, browser: Browser, tmp_path: Path
) -> None:
    for id_ in (evals.puzzle, evals.hostile):
        path = tmp_path / f"{id_}.html"
        path.write_text(served.http.get(f"/ui/evals/{id_}/report").text, "utf-8")
        context = browser.new_context(viewport={"width": 380, "height": 900})
        page = context.new_page()
        said: list[str] = []
        _listen(page, said)
        page.goto(path.as_uri())
        page.locator("details.sample > summary").first.click()
        fits(page)
        if id_ == evals.puzzle:
            page.locator(".show-digits").check()
            assert page.locator("svg.arc .digits").first.is_visible()
        assert said == [path.as_uri()]
        assert "taken over" not in page.title()
        context.close()


@pytest.mark.browser
def test_pages_fit_in_every_light_and_pass_axe(served: Served, evals: Evals, browser: Browser) -> None:
    check_page(browser, served, "/ui/evals", "evals/list")
    check_page(browser, served, f"/ui/evals/{evals.memory}", "evals/one")
    check_page(browser, served, f"/ui/evals/compare?eval={evals.memory}&eval={evals.without}", "evals/compare")
    check_page(browser, served, f"/ui/evals/{evals.puzzle}/sample?item=p", "evals/puzzle")


def _listen(page: Page, said: list[str]) -> None:
    """Take down what the page prints, what goes wrong in it, and what it asks for."""
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
