"""In a browser: pages that are live while their connection is lost, or while the service itself is killed and started again.
They say so, come back by themselves, and in the end show each event of the log once and in order.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from api.workers import settings_to_line
from runtime.llm.scripted_process import scripted_process
from runtime.migrate import upgrade
from runtime.settings import Settings
from tests.api.conftest import Served
from tests.api.web.conftest import submit
from tests.browsing import expected, quiet_page
from tests.conftest import make_settings
from tests.proxying import PREFIX, Asked, Proxy, proxied
from tests.serving import START_S

pytestmark = pytest.mark.browser
LONG = " ".join(f"word{number}" for number in range(1, 21))
SHORT = "one two three four five six seven eight"
SCRIPT = f"""
[[rule]]
contains = "slowly"
reply = "{LONG}"
delay_ms = 400
[[rule]]
contains = "twice"
reply = "{SHORT}"
delay_ms = 600
"""
# Every word of the badge from here on, without repetitions, as an attribute of the page.
LISTEN = """() => {
    const badge = document.getElementById("live");
    const said = [];
    const keep = () => {
        const now = badge.hidden ? "over" : badge.textContent;
        if (now !== said.at(-1)) said.push(now);
        document.documentElement.dataset.said = said.join(", ");
    };
    keep();
    new MutationObserver(keep).observe(badge, { attributes: true, childList: true, characterData: true, subtree: true });
}"""
NUMBERS = """() => [...document.querySelectorAll("#log > li:not(.said), #log .words > [data-seq]")]
    .map((one) => Number(one.dataset.seq))"""


class Restartable:
    """The service as a process that is started on the same port and home each time."""

    def __init__(self, settings: Settings) -> None:
        upgrade(settings)
        self.settings = settings
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it; requests wait until it answers. While it is down nobody listens on the port."""
        with socket.socket() as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(("127.0.0.1", self._port))
            bound.listen(128)
            self._port = bound.getsockname()[1]
            command = [sys.executable, "-m", "api.child", str(bound.fileno())]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(bound.fileno(),))
        assert self._process.stdin is not None
        self._process.stdin.write(settings_to_line(self.settings))
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it without a word."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.kill()
        self._process.wait(20)
        self._process.stdin.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restartable]:
    home: Path = tmp_path_factory.mktemp("restarted")
    with scripted_process(SCRIPT) as model:
        made = Restartable(
            make_settings(home, llm__model="scripted", llm__base_url=model.url, server__root_path=PREFIX)
        )
        made.start()
        yield made
        made.kill()


@pytest.fixture(scope="module")
def served(service: Restartable) -> Iterator[Served]:
    """The service, asked without the proxy."""
    asked = Served(service.settings, service.url, None)
    assert asked.http.get("/health", timeout=START_S).status_code == 200
    yield asked
    asked.close()


@pytest.fixture(scope="module")
def proxy(served: Served) -> Iterator[Proxy]:
    with proxied(served.url) as running:
        yield running


@pytest.fixture
def page(browser: Browser, served: Served, proxy: Proxy) -> Iterator[Page]:
    """`page.goto("ui/…")`, through the proxy."""
    proxy.asked.clear()
    through = Served(served.settings, proxy.url, None)
    with quiet_page(browser, through) as opened:
        yield opened
    through.close()


def same_as_the_log(page: Page, served: Served, run: str) -> None:
    """The page of the run shows every event of its log once, in order."""
    events = served.events(run)
    assert page.evaluate(NUMBERS) == [event["seq"] for event in events]
    said = [event["data"]["text"] for event in events if event["type"] == "text.delta"]
    assert page.locator("#log [data-key^='text.delta'] .words > [data-seq]").all_text_contents() == said


def test_a_page_goes_on_where_it_was_after_lost_connections(served: Served, proxy: Proxy, page: Page) -> None:
    expected(page, "net::ERR_")
    run = submit(served, "slowly please")
    page.goto(f"ui/runs/{run}")
    live = page.locator("#live")
    expect(live).to_be_visible()
    expect(live).to_have_text("live")
    page.evaluate(LISTEN)
    expect(page.locator("#answer")).to_contain_text("word2")
    # For a moment: "reconnecting" may be too short to be met here.
    first = page.evaluate(NUMBERS)[-1]
    proxy.refuse()
    proxy.accept()
    expect(page.locator("html")).to_have_attribute("data-said", "live, reconnecting, live")
    # For longer, until an attempt has failed. The run goes on without anybody who looks.
    with page.expect_event("requestfailed", refused_rows, timeout=30_000):
        proxy.refuse()
        expect(live).to_have_text("reconnecting")
        second = page.evaluate(NUMBERS)[-1]
    assert served.events(run)[-1]["seq"] > second > first
    proxy.accept()
    expect(page.locator("#head .status")).to_have_text("succeeded")
    expect(page.locator("#answer")).to_have_text(LONG)
    said = "live, reconnecting, live, reconnecting, live, over"
    expect(page.locator("html")).to_have_attribute("data-said", said)
    same_as_the_log(page, served, run)
    begun, back, *_, again = [place_in_log(one) for one in proxy.asked if "/rows" in one.target]
    assert begun <= first <= back < second == again


def place_in_log(asked: Asked) -> int:
    """Behind which event a request to follow a run goes on; the header counts more than the query."""
    (after,) = parse_qs(urlsplit(asked.target).query)["after"]
    return int(asked.headers.get("last-event-id", after))


def refused_rows(request: Request) -> bool:
    """An attempt to follow the run that found nobody."""
    return "/rows" in request.url and "REFUSED" in (request.failure or "")


def test_pages_outlive_the_service_and_see_its_next_life(service: Restartable, served: Served, page: Page) -> None:
    expected(page, "502")
    expected(page, "net::ERR_")
    page.goto("ui/playground")
    page.locator("#input").fill("twice please")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#answer")).to_contain_text("one")
    run = str(page.locator("#reply").get_attribute("data-run"))
    log = page.context.new_page()
    log.goto(f"ui/runs/{run}")
    for one in (page, log):
        expect(one.locator("#live")).to_be_visible()
        expect(one.locator("#live")).to_have_text("live")
        one.evaluate(LISTEN)
    service.kill()
    for one in (page, log):
        expect(one.locator("#live")).to_have_text("reconnecting")
    service.start()
    told = served.ended(run)
    expect(page.locator("#status")).to_have_text("succeeded")
    expect(log.locator("#head .status")).to_have_text("succeeded")
    for one in (page, log):
        expect(one.locator("html")).to_have_attribute("data-said", "live, reconnecting, live, over")
    # What the first life had said of the answer is void: it is shown once.
    for one in (page, log):
        expect(one.locator("#answer")).to_have_text(SHORT)
    same_as_the_log(log, served, run)
    assert (told["attempt"], told["output"]["text"]) == (2, SHORT)
