"""Data sets from a hub that is a server of this machine: said before fetched, kept, and asked page by page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from evals.hub import Hub, read_ref
from evals.loading import Loader
from evals.sets import BUILT_IN, HubRef
from runtime.errors import InvalidInput, MnemeError, UnknownName

pytestmark = pytest.mark.anyio
ROWS = [{"problem": f"p{n}", "answer": n} for n in range(230)]


@dataclass
class Served:
    """What the hub has, and what it was asked."""

    url: str = ""
    splits: list[dict[str, str]] = field(default_factory=lambda: [{"config": "default", "split": "train"}])
    card: dict[str, Any] = field(default_factory=lambda: {"license": "cc-by-nc-sa-4.0"})
    tags: list[str] = field(default_factory=list)
    status: int = 200
    asked: list[str] = field(default_factory=list)

    def hub(self, folder: Path) -> Hub:
        return Hub(folder, hub=self.url, viewer=self.url)


@pytest.fixture
def served() -> Iterator[Served]:
    state = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            state.asked.append(url.path)
            if url.path == "/splits":
                body: dict[str, Any] = {"splits": [{"dataset": query["dataset"], **each} for each in state.splits]}
            elif url.path == "/rows":
                start = int(query["offset"])
                page = ROWS[start : start + int(query["length"])]
                rows = [{"row_idx": start + n, "row": row} for n, row in enumerate(page)]
                body = {"rows": rows, "num_rows_total": len(ROWS), "config": query["config"]}
            else:
                body = {"sha": "abc123", "cardData": state.card, "tags": state.tags}
            data = json.dumps(body).encode()
            self.send_response(state.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def inside(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


async def test_what_is_fetched_is_said_first_with_its_licence(served: Served, tmp_path: Path) -> None:
    said: list[str] = []

    def say(text: str) -> None:
        assert "/rows" not in served.asked, "nothing may be fetched before it is said"
        said.append(text)

    found = await served.hub(tmp_path).get(HubRef("MathArena/aime_2025"), say)
    assert len(said) == 1
    assert "MathArena/aime_2025:default:train" in said[0]
    assert "cc-by-nc-sa-4.0" in said[0]
    assert (list(found.rows), found.revision, found.licence) == (ROWS, "abc123", "cc-by-nc-sa-4.0")
    assert served.asked.count("/rows") == 3


async def test_what_was_fetched_is_kept_and_not_asked_for_again(served: Served, tmp_path: Path) -> None:
    ref = HubRef("a/b", "default", "train")
    first = await served.hub(tmp_path).get(ref, lambda _: None)
    served.asked.clear()
    said: list[str] = []
    assert await served.hub(tmp_path).get(ref, said.append) == first
    assert (served.asked, said) == ([], [])


async def test_a_built_in_name_without_a_file_is_fetched(served: Served, tmp_path: Path) -> None:
    said: list[str] = []
    (data,) = await Loader(served.hub(tmp_path), said.append).load(["aime2025"], ())
    assert (data.name, data.licence, data.split, len(data.records)) == ("aime2025", "cc-by-nc-sa-4.0", "test", 230)
    assert data.source == f"{BUILT_IN['aime2025'].hub}".replace(":train", ":default:train") + "@abc123"
    (other,) = await Loader(served.hub(tmp_path), said.append, split="experience").load(["hf:a/some-set"], ())
    assert (other.name, other.split) == ("some-set", "experience")


@pytest.mark.parametrize(
    ("card", "tags", "licence"),
    [
        ({}, ["license:mit", "language:en"], "mit"),
        ({"license": ["mit", "cc0-1.0"]}, [], "mit, cc0-1.0"),
        ({}, [], "none stated"),
    ],
)
async def test_a_licence_is_found_wherever_it_stands(
    served: Served, tmp_path: Path, card: dict[str, Any], tags: list[str], licence: str
) -> None:
    served.card, served.tags = card, tags
    assert (await served.hub(tmp_path).get(HubRef("a/b"), lambda _: None)).licence == licence


@pytest.mark.parametrize(
    ("text", "config", "split"),
    [
        ("hf:openai/gsm8k", "main", "test"),
        ("hf:openai/gsm8k:main", "main", "test"),
        ("hf:openai/gsm8k:socratic:train", "socratic", "train"),
        ("hf:openai/gsm8k::validation", "main", "validation"),
        ("hf:openai/gsm8k:validation", "main", "validation"),
    ],
)
async def test_config_and_split_are_filled_in_where_they_are_clear(
    served: Served, tmp_path: Path, text: str, config: str, split: str
) -> None:
    served.splits = [
        {"config": "main", "split": "train"},
        {"config": "main", "split": "test"},
        {"config": "main", "split": "validation"},
        {"config": "socratic", "split": "train"},
    ]
    found = await served.hub(tmp_path).get(read_ref(text), lambda _: None)
    assert (found.ref.config, found.ref.split) == (config, split)


async def test_an_unclear_split_is_asked_for(served: Served, tmp_path: Path) -> None:
    served.splits = [{"config": "a", "split": "train"}, {"config": "b", "split": "train"}]
    with pytest.raises(UnknownName, match="a:train, b:train"):
        await served.hub(tmp_path).get(HubRef("x/y"), lambda _: None)


async def test_a_set_that_is_not_there_or_a_hub_that_is_not(served: Served, tmp_path: Path) -> None:
    served.status = 404
    with pytest.raises(UnknownName, match="answers 404"):
        await served.hub(tmp_path).get(HubRef("x/y"), lambda _: None)
    served.status = 500
    with pytest.raises(MnemeError, match="answers 500"):
        await served.hub(tmp_path).get(HubRef("x/y"), lambda _: None)
    with pytest.raises(MnemeError, match="local file"):
        await Hub(tmp_path, hub="http://127.0.0.1:9", viewer="http://127.0.0.1:9").get(HubRef("x/y"), lambda _: None)
    assert inside(tmp_path) == [], "nothing half fetched is kept"


async def test_an_id_that_is_no_id_never_becomes_an_address(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="owner"):
        await Hub(tmp_path).get(HubRef("../../etc"), lambda _: None)
