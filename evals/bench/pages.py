"""What the pages cost, in a headless Chromium: bytes, requests and paints of each page, and how quickly large ones answer.

    python -m evals.bench.pages                     # everything; needs Chromium and the libraries of the pages
    python -m evals.bench.pages --only large --loads 3

Paints: each load has a browser profile of its own, so nothing is cached. `server` is the time from the request of the page
to its first byte; FCP and LCP are the first and the largest contentful paint, counted from the start of the navigation.
Interactions: real keys and clicks; counted from the time stamp of the input event to the end of the next frame, so it says
when something was seen to happen. The longest task says what a page did behind that frame. Source: issue of the UI; ours.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

from evals.bench.pages_house import House, Place, demo, large_things, places, serving

PAINT_MS: Final = 1000
INPUT_MS: Final = 100
MEMORIES: Final = 10_000
NODES: Final = 5_000
TIMES: Final = 10
REST_MS: Final = 250
FLAGS: Final = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WINDOW: Final = (1440, 900)
# Kept by the page itself, before anything of it is there.
WATCH: Final = """
window.seen = { lcp: 0, inputs: [], tasks: [] };
new PerformanceObserver((list) => { for (const one of list.getEntries()) seen.lcp = one.startTime; })
  .observe({ type: "largest-contentful-paint", buffered: true });
new PerformanceObserver((list) => { for (const one of list.getEntries()) seen.tasks.push(one.duration); })
  .observe({ type: "longtask", buffered: true });
for (const type of ["keydown", "click"]) addEventListener(type, (event) => {
  requestAnimationFrame(() => {
    const painted = new MessageChannel();
    painted.port1.onmessage = () => seen.inputs.push(performance.now() - event.timeStamp);
    painted.port2.postMessage(null);
  });
}, true);
"""
TOLD: Final = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const fcp = performance.getEntriesByName("first-contentful-paint")[0];
  return { server: page.responseStart - page.requestStart, fcp: fcp ? fcp.startTime : 0, lcp: seen.lcp,
    nodes: document.getElementsByTagName("*").length };
}"""


@dataclass(frozen=True, slots=True)
class Load:
    """One load of a page: bytes over the wire, requests, times in ms, elements of the document."""

    size: int
    requests: int
    server: float
    fcp: float
    lcp: float
    nodes: int


@contextmanager
def chromium() -> Iterator[Browser]:
    """The Chromium of this machine. Raises `SystemExit` when there is none."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        raise SystemExit("no Chromium on this machine; install the Debian package `chromium`")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=binary, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[tuple[Page, Load]]:
    """A page in a profile of its own, loaded and at rest, and what its load cost."""
    context = browser.new_context(viewport={"width": WINDOW[0], "height": WINDOW[1]})
    page = context.new_page()
    page.add_init_script(WATCH)
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    sizes: list[int] = []
    asked: list[str] = []
    network.on("Network.requestWillBeSent", lambda event: asked.append(event["requestId"]))
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    reply = page.goto(url, wait_until="load")
    if reply is None or reply.status != 200:
        raise SystemExit(f"{url} answered {None if reply is None else reply.status}; expected 200")
    rest(page)
    told: dict[str, Any] = page.evaluate(TOLD)
    yield page, Load(sum(map(int, sizes)), len(asked), told["server"], told["fcp"], told["lcp"], told["nodes"])
    context.close()


def rest(page: Page, ms: int = REST_MS) -> None:
    """Wait until the page asks for nothing more and has had a moment; a live page is never quite at rest."""
    page.wait_for_timeout(ms)
    page.evaluate("new Promise((done) => requestIdleCallback(done, { timeout: 5000 }))")


def until(page: Page, expression: str, timeout_s: float = 60) -> None:
    """Wait until it is true on the page. Raises `SystemExit` when it is not in that time.

    What playwright has for this evaluates text in the page, which the policy of the pages forbids.
    """
    deadline = time.monotonic() + timeout_s
    while not page.evaluate(expression):
        if time.monotonic() > deadline:
            raise SystemExit(f"{page.url}: waited {timeout_s} s for: {expression}")
        page.wait_for_timeout(20)


def loads(browser: Browser, url: str, count: int) -> list[Load]:
    """Load a page that often, after once that does not count."""
    found: list[Load] = []
    for number in range(count + 1):
        with opened(browser, url) as (_, load):
            if number:
                found.append(load)
    return found


def page_table(browser: Browser, url: str, shown: Sequence[Place], count: int, title: str) -> Table:
    """The table of loads: medians, and the worst first paint."""
    table = Table(title=title)
    for column in ("page", "requests", "kB", "elements", "server ms", "FCP ms", "LCP ms", "worst FCP", "< 1 s"):
        table.add_column(column, justify="left" if column == "page" else "right")
    for place in shown:
        found = loads(browser, url + place.path, count)
        middle = {name: statistics.median(getattr(one, name) for one in found) for name in Load.__slots__}
        worst = max(one.fcp for one in found)
        table.add_row(
            place.name,
            f"{middle['requests']:.0f}",
            f"{middle['size'] / 1000:.0f}",
            f"{middle['nodes']:.0f}",
            *(f"{middle[name]:.0f}" for name in ("server", "fcp", "lcp")),
            f"{worst:.0f}",
            "yes" if max(middle["fcp"], middle["lcp"]) < PAINT_MS else "no",
        )
    return table


# -- interactions ------------------------------------------------------------------------------------------------------


def timed(page: Page, act: Callable[[], None]) -> tuple[float, float]:
    """Do something with the keyboard or the mouse; ms to the end of the next frame, and of the longest task it set off.

    A task under 50 ms is none. Raises `SystemExit` when the page sees no such input.
    """
    page.evaluate("() => { seen.inputs = []; seen.tasks = []; }")
    act()
    until(page, "seen.inputs.length > 0")
    inputs: list[float] = page.evaluate("seen.inputs")
    rest(page)
    tasks: list[float] = page.evaluate("seen.tasks")
    return inputs[0], max(tasks, default=0.0)


def interaction_row(table: Table, place: str, what: str, page: Page, act: Callable[[int], None]) -> None:
    """Do something ten times, and add the row."""
    found = [timed(page, lambda n=number: act(n)) for number in range(TIMES)]  # type: ignore[misc]
    frames = [frame for frame, _ in found]
    tasks = [task for _, task in found]
    table.add_row(
        place,
        what,
        f"{statistics.median(frames):.0f}",
        f"{max(frames):.0f}",
        f"{max(tasks):.0f}" if max(tasks) else "< 50",
        "yes" if statistics.median(frames) < INPUT_MS else "no",
    )


def with_list(browser: Browser, url: str, table: Table, name: str) -> None:
    """Keys of the long list."""
    with opened(browser, url) as (page, _):
        interaction_row(table, name, "next row (j)", page, lambda n: page.keyboard.press("j"))
        interaction_row(table, name, "pick the row (x)", page, lambda n: page.keyboard.press("x"))
        page.keyboard.press("/")
        interaction_row(table, name, "a letter in the search", page, lambda n: page.keyboard.press("a"))


def with_tree(browser: Browser, url: str, table: Table, name: str) -> None:
    """Keys of the large tree, as it opens and with every branch open."""
    with opened(browser, url) as (page, _):
        page.wait_for_selector("#tree [data-id]")
        rest(page, 1000)
        page.focus("#tree")
        ways = ("ArrowDown", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp")
        interaction_row(table, name, "next node (arrows)", page, lambda n: page.keyboard.press(ways[n % len(ways)]))
        page.keyboard.press("Escape")
        interaction_row(table, name, "close, open a branch (c)", page, lambda n: page.keyboard.press("c"))
        interaction_row(table, name, "open, close all (x)", page, lambda n: page.keyboard.press("x"))
        interaction_row(table, name, "zoom (+, -)", page, lambda n: page.keyboard.press("+-"[n % 2]))
        page.focus("#step")
        keys = ("ArrowLeft", "PageDown", "ArrowLeft", "PageUp", "ArrowRight")
        interaction_row(table, name, "scrub by step", page, lambda n: page.keyboard.press(keys[n % len(keys)]))


def with_graph(browser: Browser, url: str, table: Table, name: str) -> None:
    """The drawing of 300 things: a click that selects and expands, filters, time, zoom."""
    with opened(browser, url) as (page, _):
        until(page, "document.getElementById('graph').drawing?.nodes().length > 0")
        rest(page, 2000)
        count = page.evaluate("document.getElementById('graph').drawing.nodes().length")
        name = f"{name}, {count} drawn"

        def click(number: int) -> None:
            at = page.evaluate(
                """(n) => { const cy = document.getElementById("graph").drawing;
                  const seen = cy.nodes(".memory").filter((one) => { const { x, y } = one.renderedPosition();
                    return x > 30 && y > 30 && x < cy.width() - 80 && y < cy.height() - 80; });
                  const { x, y } = seen[(n * 7) % seen.length].renderedPosition();
                  const frame = document.getElementById("graph").getBoundingClientRect();
                  return [frame.x + x, frame.y + y]; }""",
                number,
            )
            page.mouse.click(*at)

        page.evaluate("document.getElementById('graph').scrollIntoView({ block: 'center' })")
        interaction_row(table, name, "select and expand (click)", page, click)
        interaction_row(table, name, "zoom (+, -)", page, lambda n: page.keyboard.press("+-"[n % 2]))
        box = page.locator("#graph-filter .graph-kinds label").first
        interaction_row(table, name, "filter a kind (click)", page, lambda n: box.click())
        page.focus("#graph-until")
        keys = ("ArrowLeft", "PageDown", "ArrowLeft", "PageUp", "ArrowRight")
        interaction_row(table, name, "time slider", page, lambda n: page.keyboard.press(keys[n % len(keys)]))


def large(house: House, count: int, console: Console) -> None:
    """Make the three large things, and measure their pages."""
    begin = time.perf_counter()
    # Before the browser: its driver keeps an event loop.
    made = large_things(house, memories=MEMORIES, nodes=NODES)
    console.print(f"made the large things in {time.perf_counter() - begin:.0f} s")
    memories, tree = f"/ui/memories?vault={made.documents}", f"/ui/runs/{made.search}/tree"
    hub = f"/ui/graph?entity=the+hub&vault={made.woven}"
    shown = [
        Place(f"memories, {MEMORIES:,}", memories),
        Place("the same, a search", f"{memories}&q=how+is+a+connection+closed"),
        Place(f"search tree, {NODES:,}", tree),
        Place("graph, 300", hub),
    ]
    with serving(house.home) as url, chromium() as browser:
        console.print(page_table(browser, url, shown, count, f"large pages, medians of {count} loads"))
        for name, path, act in (
            (f"memories, {MEMORIES:,}", memories, with_list),
            (f"search tree, {NODES:,}", tree, with_tree),
            ("graph", hub, with_graph),
        ):
            table = Table(title=f"interactions, {TIMES} times each: {name}")
            for column in ("page", "what", "median ms", "worst ms", "longest task ms", "< 100 ms"):
                table.add_column(column, justify="left" if column in ("page", "what") else "right")
            act(browser, url + path, table, name)
            console.print(table)


def main() -> None:
    """Fill a home, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("pages", "large"))
    parser.add_argument("--loads", type=int, default=5, help="loads of each page that count")
    parser.add_argument("--home", type=Path, help="a home to fill and keep; default: one that is removed again")
    options = parser.parse_args()
    console = Console(width=130)
    with tempfile.TemporaryDirectory() as folder:
        house = demo(options.home or Path(folder))
        if options.only != "large":
            shown = [place for place in places(house) if place.main]
            with serving(house.home) as url, chromium() as browser:
                console.print(
                    page_table(browser, url, shown, options.loads, f"pages, medians of {options.loads} loads")
                )
        if options.only != "pages":
            large(house, options.loads, console)


if __name__ == "__main__":
    main()
