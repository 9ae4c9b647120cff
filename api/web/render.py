"""Turns values into pages: the template environment, the headers every page carries, JSON twins, error pages.

Text from tasks, tools and models is escaped by the environment, always; a page may run only scripts and styles of our own
files (strict Content-Security-Policy), so markup that slipped through would still not run. All links are relative to
`root`, the way from the page to the root of the application, so a sub-path behind a proxy works. Source: ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import jinja2
from fastapi import Request
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse, Response

from api.answers import json_response
from api.web import navigation, vendor

HERE: Final = Path(__file__).parent
STATIC: Final = HERE / "static"
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept",
}


def twin(request: Request, template: str, view: Mapping[str, Any], **words: object) -> Response:
    """What a page shows: the view itself for a program, and for a person the template with the view's values.

    `words` are for the template alone: what is written in words, and what is chosen in its forms.
    """
    if wants_json(request):
        return json_response(view, headers={"Vary": "Accept", "Cache-Control": "no-store"})
    return page(request, template, **{**view, **words})


def page(request: Request, template: str, *, code: int = 200, **values: object) -> Response:
    """Render a template of `templates/`. Beside `values` it knows `root` and `here` (address and query of the page)."""
    query = request.scope["query_string"].decode("latin-1")
    here = root_of(request) + _path(request) + (f"?{query}" if query else "")
    text = _ENVIRONMENT.get_template(template).render(root=root_of(request), here=here, **values)
    # Half a surrogate pair, which a model may write, is valid text here but not on the wire.
    return HTMLResponse(text.encode("utf-8", "replace"), code, headers=dict(HEADERS))


def fragment(template: str, **values: object) -> str:
    """A part of a page, for the live stream."""
    return _ENVIRONMENT.get_template(template).render(**values)


def error_page(request: Request, status: int, title: str, detail: str) -> Response:
    """What happened and what to do, for a person."""
    return page(request, "error.html", code=status, title=title, status=status, detail=detail)


def wants_json(request: Request) -> bool:
    """True for a program: `?format=json`, or an `Accept` that names JSON and not HTML."""
    asked = request.query_params.get("format")
    if asked is not None:
        return asked == "json"
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/html" not in accept


def root_of(request: Request) -> str:
    """The relative way from the page to the root of the application: `.`, `..`, `../..`."""
    return "/".join([".."] * (_path(request).count("/") - 1)) or "."


def _path(request: Request) -> str:
    path: str = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    return path


def number(value: float) -> str:
    """Digits in groups of three, with a thin space that does not break."""
    return f"{value:,}".replace(",", "\u202f")


def short(value: float) -> str:
    """A count in four characters or so: `940`, `12.4k`, `3.1M`."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            scaled = value / size
            return f"{scaled:.0f}{unit}" if abs(scaled) >= 100 else f"{scaled:.1f}{unit}"
    return f"{value:g}"


def percent(value: float | None) -> str:
    """A share of 1 as `12.3 %`; a dash when there is none."""
    return "–" if value is None else f"{value * 100:.1f}\u202f%"


def signed(value: float | None, digits: int = 3) -> str:
    """A number with its sign, for effects and differences: `+0.120`, `−0.031`."""
    if value is None:
        return "–"
    return f"{value:+.{digits}f}".replace("-", "−")


def excerpt(text: str, length: int = 140) -> str:
    """The first characters of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"


def words(name: str) -> str:
    """`budget_exhausted` as a person writes it."""
    return name.replace("_", " ")


def seconds(value: float) -> str:
    """A duration as a person reads it: `840 ms`, `12.4 s`, `3 min 05 s`."""
    if value < 1:
        return f"{value * 1000:.0f} ms"
    if value < 60:
        return f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60):02d} s"


def moment(value: str | datetime | None) -> str:
    """A time in UTC; the script on the page puts it into the reader's zone."""
    if value is None:
        return "–"
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return at.strftime("%Y-%m-%d %H:%M:%S UTC")


def short_ids(text: str) -> str:
    """A text with the ids in it cut to their ends, as links show them."""
    return re.sub(r"\b([a-z]{3,4}_)[0-9a-f]{20,}([0-9a-f]{6})\b", r"\1…\2", text)


def code(text: str) -> Markup:
    """Text with `names` in it, as HTML with those in <code>."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


FILTERS: Final = (number, short, percent, signed, seconds, moment, excerpt, words, short_ids, code)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {one.__name__: one for one in FILTERS}
    environment.filters.update(filters)
    # `library("cytoscape")`: whether the page may load it; see api/web/vendor.py.
    environment.globals.update(library=vendor.has, navigation=navigation.PLACES)
    return environment


_ENVIRONMENT: Final = _environment()
