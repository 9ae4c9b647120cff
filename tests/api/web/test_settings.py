"""The pages of the settings: agents with options and prompts, models, keys, the doctor; secrets stay where they are."""

from __future__ import annotations

import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser

from agents import registry
from api.web.pages.settings import options
from tests.api.conftest import Served, serving
from tests.browsing import check_page

SECRET = "sk-never-shown-to-anybody"
HTML = {"Accept": "text/html"}
PLACES = ("", "/models", "/keys", "/doctor", "/agents/tim")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service whose model server wants a key."""
    with serving(tmp_path_factory.mktemp("settings"), "", llm__api_key=SECRET) as running:
        yield running


@pytest.fixture(scope="module")
def reader(served: Served) -> Iterator[httpx.Client]:
    """A caller who may read and nothing else."""
    made = served.http.post("/api/keys", json={"name": "<b>reader</b>", "user": "rita", "scopes": ["read"]}).json()
    headers = {"Authorization": f"Bearer {made['key']}", **HTML}
    with httpx.Client(base_url=served.url, timeout=60, trust_env=False, headers=headers) as client:
        yield client


def test_agents_are_shown_with_their_options_and_the_hashes_of_their_prompts(served: Served) -> None:
    shown = served.http.get("/ui/settings", headers=HTML).text
    agents = served.http.get("/ui/settings?format=json").json()["agents"]
    assert agents == served.http.get("/api/agents").json()["items"]
    assert all(f"/ui/settings/agents/{one['name']}" in shown for one in agents)
    assert "/ui/playground?agent=tim" in shown
    one = served.http.get("/ui/settings/agents/tim", headers=HTML).text
    spec = registry.get("tim").spec
    assert all(prompt.sha256 in one for prompt in spec.prompts.values())
    assert all(name in one for name in spec.config.model_fields)
    gone = served.http.get("/ui/settings/agents/nobody", headers=HTML)
    assert gone.status_code == 404
    assert "nobody" in gone.text


def test_options_are_told_as_a_person_reads_them() -> None:
    told = {one["name"]: one for one in options(registry.get("tim").spec)}
    assert (told["mode"]["type"], told["mode"]["default"]) == ("steps | stream", "steps")
    assert told["max_live"]["type"] == "integer | null"
    assert "≥" in told["max_live"]["limits"]
    assert told["tools"]["type"] == "list of string | null"
    assert options(registry.get("direct").spec) == []


def test_models_and_settings_are_shown_without_secrets(served: Served) -> None:
    view = served.http.get("/ui/settings/models?format=json").json()
    assert view["models"] == ["scripted"]
    assert view["problem"] is None
    for place in PLACES:
        for headers in (HTML, {"Accept": "application/json"}):
            assert SECRET not in served.http.get(f"/ui/settings{place}", headers=headers).text
    assert "••••" in served.http.get("/ui/settings/models", headers=HTML).text


def test_the_doctor_says_what_works(served: Served) -> None:
    view = served.http.get("/ui/settings/doctor?format=json").json()
    assert {"python", "database", "model server"} <= {one["name"] for one in view["checks"]}
    shown = served.http.get("/ui/settings/doctor", headers=HTML).text
    assert all(one["name"] in shown for one in view["checks"])


def test_a_model_server_that_is_gone_is_named_with_the_way_to_the_fix(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("alone")
    away = {"llm__model": "m", "llm__base_url": "http://127.0.0.1:9/v1", "llm__retries": 0}
    with serving(home, None, **away) as alone:
        shown = alone.http.get("/ui/settings/models", headers=HTML)
        assert shown.status_code == 200
        assert "127.0.0.1:9" in shown.text
        assert "doctor" in shown.text
        assert alone.http.get("/ui/playground", headers=HTML).status_code == 200


def test_keys_settings_and_doctor_are_for_admins(served: Served, reader: httpx.Client) -> None:
    for place, what in (("keys", "Keys"), ("doctor", "The doctor"), ("models", "Settings")):
        text = reader.get(f"/ui/settings/{place}").text
        assert "are for admins." in text
        assert what in text
        twin = reader.get(f"/ui/settings/{place}?format=json").json()
        assert twin.get("items") is None
        assert twin.get("settings") is None
        assert twin.get("checks") is None
    assert reader.get("/ui/settings").status_code == 200


def test_the_names_of_keys_are_escaped_and_links_are_relative(served: Served, reader: httpx.Client) -> None:
    for place in PLACES:
        text = served.http.get(f"/ui/settings{place}", headers=HTML).text
        assert "<b>reader</b>" not in text
        assert re.findall(r'(?:href|src|action)="/', text) == []
    assert "&lt;b&gt;reader&lt;/b&gt;" in served.http.get("/ui/settings/keys", headers=HTML).text


@pytest.mark.browser
def test_pages_fit_in_every_light_and_pass_axe(served: Served, reader: httpx.Client, browser: Browser) -> None:
    check_page(browser, served, "/ui/settings", "settings/agents")
    check_page(browser, served, "/ui/settings/keys", "settings/keys")
    check_page(browser, served, "/ui/settings/agents/tim", "settings/agent")
