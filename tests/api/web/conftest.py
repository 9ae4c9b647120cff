"""One service for the tests of pages, and one browser for each of their modules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import Served, serving
from tests.browsing import browser as browser
from tests.browsing import page as page

SCRIPT = """
[[rule]]
contains = "slowly"
reply = "one two three four five six seven eight nine ten"
delay_ms = 300
[[rule]]
contains = "markup"
reply = "<script>document.title = 'taken over'</script><img src=x onerror=\\"document.title = 'taken over'\\">"
[[rule]]
contains = "refused"
fault = "400"
"""


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service over the scripted model, which the modules share: each makes what it looks at through `served.http`.

    A module whose tests count everything that is there has one of its own, under the same name.
    """
    with serving(tmp_path_factory.mktemp("pages"), SCRIPT) as running:
        yield running


def submit(served: Served, text: Any, **body: Any) -> str:
    """Queue a run of `direct`; its id. `served.ended(id)` waits for it. No memory is held out by lot."""
    reply = served.http.post("/api/runs", json={"agent": "direct", "input": text, "explore": 0, **body})
    assert reply.status_code == 202, reply.text
    return str(reply.json()["id"])


def remember(served: Served, content: str, **fields: Any) -> dict[str, Any]:
    """Store a memory in the default vault, so that searches find it at once; its wire form."""
    reply = served.http.post("/api/memories", params={"wait": "indexed"}, json={"content": content, **fields})
    assert reply.status_code in (200, 201), reply.text
    made: dict[str, Any] = reply.json()
    return made
