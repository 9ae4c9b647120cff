"""The places of the side bar, in its order. A template says where it is: `{% set section = "runs" %}`. Source: design ui."""

from __future__ import annotations

from typing import Final, NamedTuple


class Place(NamedTuple):
    """A link: `section` is also the name of its icon, `path` is relative to the root, `group` its heading."""

    section: str
    title: str
    path: str
    group: str


PLACES: Final = (
    Place("home", "Home", "ui/", ""),
    Place("playground", "Playground", "ui/playground", ""),
    Place("memories", "Memories", "ui/memories", "Memory"),
    Place("graph", "Graph", "ui/graph", "Memory"),
    Place("timeline", "Timeline", "ui/timeline", "Memory"),
    Place("vaults", "Vaults", "ui/vaults", "Memory"),
    Place("runs", "Runs", "ui/runs", "Work"),
    Place("evals", "Evals", "ui/evals", "Work"),
    Place("settings", "Settings", "ui/settings", "Service"),
    Place("docs", "API", "docs", "Service"),
)
