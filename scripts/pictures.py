"""Takes the pictures of README.md and docs/ from the demo data, and pictures of every page for a person to look at.

    python -m scripts.pictures                          # docs/images, as `make pictures` does
    python -m scripts.pictures --all test-artifacts     # every page, wide and narrow, light and dark
    python -m scripts.pictures --all DIR --only graph   # those whose name begins so

The demo data has a fixed seed, so two takes show the same; ids and dates are those of the day. Source: ours.
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from playwright.sync_api import Browser, Page

from evals.bench.pages import chromium, rest, until
from evals.bench.pages_house import House, demo, places, serving

ROOT: Final = Path(__file__).resolve().parent.parent
IMAGES: Final = ROOT / "docs" / "images"
WIDE: Final = 1440
NARROW: Final = 380
HIGH: Final = 900
SHARP: Final = 2
# Chromium takes no picture of a page of very many screens; what lies below looks like what stands above.
TALLEST: Final = 6000
QUALITY: Final = 0.86
MOST_BYTES: Final = 1_500_000
Scheme = Literal["light", "dark"]
SCHEMES: Final[tuple[Scheme, ...]] = ("light", "dark")
DRAWN: Final = (
    "!document.querySelector('.grown:not([hidden]) .tree') || document.querySelector('.tree [data-id]')",
    "!document.getElementById('graph') || document.getElementById('graph').drawing?.nodes().length > 0",
)
# A picture of 2880 pixels has no need of PNG; the browser that took it writes WebP as well.
TO_WEBP: Final = """async ([png, quality]) => {
  const bytes = Uint8Array.from(atob(png), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = Object.assign(document.createElement("canvas"), { width: bitmap.width, height: bitmap.height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return canvas.toDataURL("image/webp", quality).split(",")[1];
}"""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the documents: its file, the place it shows, in which light, how high."""

    name: str
    place: str
    scheme: Scheme = "light"
    high: int = HIGH


PICTURES: Final = (
    Picture("tree-search", "tree-search-node", "dark"),
    Picture("tree-thread", "tree-thread"),
    Picture("memory", "memory-lesson"),
    Picture("graph", "graph"),
    Picture("evals", "eval-compare"),
    Picture("home", "home"),
)


@contextmanager
def window(
    browser: Browser, url: str, *, width: int, scheme: Scheme, high: int = HIGH, sharp: int = 1
) -> Iterator[Page]:
    """A page of that width whose addresses begin at the service; nothing moves on it."""
    context = browser.new_context(
        viewport={"width": width, "height": high},
        device_scale_factor=sharp,
        color_scheme=scheme,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
        base_url=url,
    )
    yield context.new_page()
    context.close()


def show(page: Page, path: str) -> None:
    """Open a page and wait until it stands still."""
    page.goto(path)
    page.evaluate("document.fonts.ready.then(() => true)")
    for drawing in DRAWN:
        # A drawing comes when its figures were fetched; a page without one has nothing to wait for.
        until(page, drawing)
    rest(page, 700)


def for_documents(browser: Browser, url: str, house: House) -> None:
    """Take `PICTURES` into docs/images. Raises `SystemExit` when they are too large for a repository."""
    paths = {place.name: place.path for place in places(house)}
    IMAGES.mkdir(parents=True, exist_ok=True)
    total = 0
    for picture in PICTURES:
        with window(browser, url, width=WIDE, scheme=picture.scheme, high=picture.high, sharp=SHARP) as page:
            show(page, paths[picture.place])
            png = base64.b64encode(page.screenshot()).decode()
            page.goto("about:blank")
            webp = base64.b64decode(page.evaluate(TO_WEBP, [png, QUALITY]))
        path = IMAGES / f"{picture.name}.webp"
        path.write_bytes(webp)
        total += len(webp)
        print(f"{path.relative_to(ROOT)}: {len(webp) / 1000:.0f} kB")
    if total > MOST_BYTES:
        raise SystemExit(f"docs/images would have {total} bytes; expected at most {MOST_BYTES}")


def of_everything(browser: Browser, url: str, house: House, folder: Path, only: str) -> None:
    """Every page, wide and narrow, light and dark, in full length; names the ones that are wider than their window."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = [place for place in places(house) if place.name.startswith(only)]
    for word, width in (("wide", WIDE), ("narrow", NARROW)):
        for scheme in SCHEMES:
            with window(browser, url, width=width, scheme=scheme) as page:
                for place in shown:
                    show(page, place.path)
                    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    high = page.evaluate("document.documentElement.scrollHeight")
                    if wider > 0:
                        print(f"{place.name} is {wider} pixels wider than a window of {width}")
                    path = folder / f"{place.name}-{word}-{scheme}.png"
                    if high <= TALLEST:
                        page.screenshot(path=path, full_page=True)
                    else:
                        page.set_viewport_size({"width": width, "height": TALLEST})
                        page.screenshot(path=path)
                        page.set_viewport_size({"width": width, "height": HIGH})
    print(f"{4 * len(shown)} pictures in {folder}")


def main() -> None:
    """Fill a home, serve it, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", type=Path, metavar="DIR", help="pictures of every page, in that folder")
    parser.add_argument("--only", default="", help="with --all: pages whose name begins so")
    parser.add_argument("--home", type=Path, help="a home to fill and keep; default: one that is removed again")
    options = parser.parse_args()
    with ExitStack() as stack:
        home = options.home or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        house = demo(home)
        url = stack.enter_context(serving(home))
        browser = stack.enter_context(chromium())
        if options.all:
            of_everything(browser, url, house, options.all, options.only)
        else:
            for_documents(browser, url, house)


if __name__ == "__main__":
    main()
