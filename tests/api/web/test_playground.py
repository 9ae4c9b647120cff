"""The playground: what its form offers and remembers, and in a browser what it says of a run."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api.conftest import Served
from tests.api.web.conftest import remember, submit
from tests.browsing import check_page

HTML = {"Accept": "text/html"}


def html(served: Served, path: str) -> str:
    reply = served.http.get(path, headers=HTML)
    assert reply.status_code == 200, reply.text
    return reply.text


def test_the_form_offers_what_there_is_and_takes_what_the_address_says(served: Served) -> None:
    served.http.post("/api/vaults", json={"name": "tides"})
    view = served.http.get("/ui/playground?format=json").json()
    assert view["agents"] == served.http.get("/api/agents").json()["items"]
    assert view["vaults"] == served.http.get("/api/vaults").json()["items"]
    assert view["models"] == ["scripted"]
    assert view["run"] is None
    text = html(served, "/ui/playground?agent=tim&vault=tides&q=%3Cscript%3Ehello")
    assert re.search(r'<option value="tim" selected', text)
    assert re.search(r'<option value="tides" selected', text)
    assert "&lt;script&gt;hello</textarea>" in text
    assert re.findall(r'(?:href|src|action)="/', text) == []


def test_a_run_that_is_named_fills_the_form(served: Served) -> None:
    run = submit(served, "what <b>now</b>", memory="read", budget={"calls": 3})
    text = html(served, f"/ui/playground?run={run}")
    assert f'data-run="{run}"' in text
    assert "what &lt;b&gt;now&lt;/b&gt;</textarea>" in text
    assert re.search(r'<option value="read" selected', text)
    assert re.search(r'id="budget-calls"[^>]*value="3"', text)
    for unknown in (f"run_{0:032x}", "run_x", "../x"):
        assert served.http.get("/ui/playground", params={"run": unknown}, headers=HTML).status_code == 404


@pytest.mark.browser
def test_a_run_is_shown_again_with_its_memories_and_what_it_used(served: Served, page: Page) -> None:
    served.http.post("/api/vaults", json={"name": "sorn"}).raise_for_status()
    kept = remember(served, "The tide at Sorn turns at <b>noon</b>.", title="Tide of Sorn", vault="sorn")
    asked = "When does the tide at Sorn turn?"
    run = submit(served, asked, vaults=["sorn"], memory="read", budget={"tokens": 100_000})
    assert served.ended(run)["status"] == "succeeded"
    assert [event["data"]["id"] for event in served.events(run) if event["type"] == "memory.read"] == [kept["id"]]
    page.goto(f"/ui/playground?run={run}")
    expect(page.locator("#status")).to_have_text("succeeded")
    expect(page.locator("#answer")).to_have_text(served.ended(run)["output"]["text"])
    expect(page.locator("#live")).to_be_hidden()
    expect(page.locator("#stop")).to_be_hidden()
    used = served.ended(run)["usage"]["total"]["total_tokens"]
    expect(page.locator("#used-tokens .left")).to_have_text(f"of 100000, {100_000 - used} left")
    expect(page.locator("#memories a")).to_have_text(kept["title"])


@pytest.mark.browser
def test_a_question_is_copied_as_code_that_asks_it(served: Served, page: Page) -> None:
    page.goto("/ui/playground?q=It's a 'test'&agent=self-consistency")
    page.locator("summary", has_text="Budget and options").click()
    page.locator("#budget-calls").fill("9")
    page.locator("#config").fill('{"n": 2}')
    page.locator("#copy").click()
    command = shlex.split(page.locator("#code-text").text_content() or "")
    body = json.loads(command[command.index("-d") + 1])
    assert body["model"] == "self-consistency"
    assert body["messages"] == [{"role": "user", "content": "It's a 'test'"}]
    assert body["mneme"] == {"budget": {"calls": 9}, "config": {"n": 2}}
    address = next(word for word in command if word.startswith("http"))
    assert address == f"{served.url}/v1/chat/completions"
    assert served.http.post(address, json={**body, "stream": False}).status_code == 200
    page.locator("[data-code=python]").click()
    program = page.locator("#code-text").text_content() or ""
    compile(program, "copied", "exec")
    assert 'extra_body={"mneme": {"budget": {"calls": 9}, "config": {"n": 2}}}' in program
    page.keyboard.press("Escape")
    page.locator("#config").fill("{not json")
    page.locator("#copy").click()
    expect(page.locator("#notices")).to_contain_text("not JSON")


@pytest.mark.browser
def test_what_a_model_writes_is_text(served: Served, page: Page) -> None:
    page.goto("/ui/playground?q=markup")
    page.locator("#send").click()
    expect(page.locator("#status")).to_have_text("succeeded")
    expect(page.locator("#answer")).to_contain_text("<script>")
    assert page.title() == "Playground · Mneme"


@pytest.mark.browser
def test_a_failure_says_what_happened(served: Served, page: Page) -> None:
    page.goto("/ui/playground?q=refused")
    page.locator("#send").click()
    expect(page.locator("#status")).to_have_text("failed")
    expect(page.locator("#error")).to_contain_text("model_rejected")
    expect(page.locator("#send")).to_be_enabled()


@pytest.mark.browser
def test_the_page_fits_in_every_light_and_passes_axe(served: Served, browser: Browser) -> None:
    run = submit(served, "for the picture", agent="self-consistency", config={"n": 2}, budget={"calls": 5})
    served.ended(run)
    check_page(browser, served, f"/ui/playground?run={run}", "playground/run")
