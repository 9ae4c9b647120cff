"""Fetches the browser libraries of the pages:  python -m api.web.vendor [--dev]

npm installs the versions of package-lock.json below build/web, and the few files that pages load are copied into
static/vendor, which is not in git and is packed into the wheel. Without npm, or without its registry, this says so and ends
well: every page is HTML first, and the parts that need a library say which one is missing. `--dev` adds what the tests
of the pages need. Does nothing when all is in place. Source: design ui, "Stack".
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
VENDOR: Final = HERE / "static" / "vendor"
WORK: Final = HERE.parents[1] / "build" / "web"
AXE: Final = WORK / "node_modules" / "axe-core" / "axe.min.js"
# What a page loads → where the package has it.
FILES: Final[Mapping[str, str]] = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "cytoscape.js": "cytoscape/dist/cytoscape.esm.min.mjs",
    "d3-dispatch.js": "d3-dispatch/dist/d3-dispatch.min.mjs",
    "d3-force.js": "d3-force/dist/d3-force.min.mjs",
    "d3-hierarchy.js": "d3-hierarchy/dist/d3-hierarchy.min.mjs",
    "d3-quadtree.js": "d3-quadtree/dist/d3-quadtree.min.mjs",
    "d3-timer.js": "d3-timer/dist/d3-timer.min.mjs",
    "diff.js": "diff/dist/diff.min.js",
    "eventsource-parser.js": "eventsource-parser/dist/stream.js",
    "eventsource-parser-index.js": "eventsource-parser/dist/index.js",
    "uplot.js": "uplot/dist/uPlot.esm.js",
    "uplot.css": "uplot/dist/uPlot.min.css",
}
TIMEOUT_S: Final = 300


def has(library: str) -> bool:
    """Whether static/vendor has that file, by its name in `FILES` without the ending."""
    return (VENDOR / f"{library}.js").is_file()


def fetch(*, dev: bool) -> str | None:
    """Put the libraries in place. Returns why not, in one line, or None."""
    stamp, wanted = VENDOR / "lock.sha256", _digest()
    current = stamp.is_file() and stamp.read_text() == wanted and all((VENDOR / name).is_file() for name in FILES)
    if current and (AXE.is_file() or not dev):
        return None
    npm = shutil.which("npm")
    if npm is None:
        return "npm is not installed (Debian: sudo apt-get install npm)"
    WORK.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, WORK)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", *([] if dev else ["--omit=dev"])]
    try:
        done = subprocess.run(command, cwd=WORK, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return f"npm gave no answer in {TIMEOUT_S} s"
    if done.returncode != 0:
        return f"npm ci failed: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}"
    shutil.rmtree(VENDOR, ignore_errors=True)
    VENDOR.mkdir(parents=True)
    for name, source in FILES.items():
        text = (WORK / "node_modules" / source).read_text(encoding="utf-8")
        # A browser finds a module by its address alone, not by the name of its package.
        text = re.sub(r'from"(d3-[a-z]+)"', r'from"./\1.js"', text)
        text = text.replace('from "./index.js"', 'from "./eventsource-parser-index.js"')
        (VENDOR / name).write_text(text, encoding="utf-8")
    (VENDOR / "LICENSES.txt").write_text(_licences(), encoding="utf-8")
    stamp.write_text(wanted)
    return None


def _digest() -> str:
    parts = [(HERE / "package-lock.json").read_bytes(), repr(sorted(FILES.items())).encode()]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _licences() -> str:
    packages = sorted({source.split("/")[0] for source in FILES.values()})
    texts = [(name, (WORK / "node_modules" / name / "LICENSE").read_text(encoding="utf-8")) for name in packages]
    return "\n".join(f"{name}\n{'=' * len(name)}\n\n{text.strip()}\n" for name, text in texts)


if __name__ == "__main__":
    failure = fetch(dev="--dev" in sys.argv[1:])
    if failure is not None:
        print(f"setup: the pages go without their libraries: {failure}", file=sys.stderr)
