from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from memory.encoders.base import EncoderUnavailable
from memory.encoders.hashing import Hashing
from memory.encoders.http import HttpEncoder
from memory.encoders.minilm import MiniLM
from memory.encoders.registry import needed_weights, open_encoder, open_space
from memory.encoders.static import StaticTable
from runtime.errors import ModelRejected, ModelUnavailable, SettingsError, UnknownName
from runtime.settings import Settings, load

pytestmark = pytest.mark.anyio


def settings(home: Path, **embed: Any) -> Settings:
    dotted = {f"embed.{name}": value for name, value in embed.items()}
    return load({"home": str(home), "llm.retries": 0, **dotted}, env={}).settings


class Embedding(BaseHTTPRequestHandler):
    """Knows the models `m` (4 numbers) and `big` (6); counts what it was asked."""

    sizes: ClassVar[dict[str, int]] = {"m": 4, "big": 6}
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked.append(body)
        size = self.sizes.get(body["model"])
        data = [{"index": n, "embedding": [1.0] * (size or 0)} for n in range(len(body["input"]))]
        answer = json.dumps({"data": data} if size else {"error": "no such model"}).encode()
        self.send_response(200 if size else 404)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the library
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Embedding.asked.clear()
    made = ThreadingHTTPServer(("127.0.0.1", 0), Embedding)
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{made.server_port}/v1"
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.parametrize(
    ("name", "kind", "dim"),
    [("minilm-l6", MiniLM, 384), ("wordllama-256", StaticTable, 256), ("hashing-96", Hashing, 96)],
)
async def test_the_encoder_that_is_named(fetched_home: Path, name: str, kind: type, dim: int) -> None:
    encoder = await open_encoder(settings(fetched_home, model=name))
    assert isinstance(encoder, kind)
    assert (encoder.profile.slug, encoder.profile.dim) == (name, dim)
    assert encoder.profile.revision
    # The same space again, from the profile alone, whatever the settings say.
    again = await open_space(settings(fetched_home, model="hashing-12"), encoder.profile)
    assert again.profile == encoder.profile
    assert (await again.encode(["x"], role="query")).shape == (1, dim)


@pytest.mark.parametrize("name", ["minilm", "hashing", "hashing-1", "hashing-0384", "hashing-99999", "../x"])
async def test_a_name_that_is_not_known_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownName, match="expected one of minilm-l6, wordllama-256, hashing-384"):
        await open_encoder(settings(tmp_path, model=name))


async def test_absent_weights_are_never_replaced_by_another_encoder(tmp_path: Path) -> None:
    for name in ("minilm-l6", "wordllama-256"):
        with pytest.raises(EncoderUnavailable, match=f"mneme models pull {name}"):
            await open_encoder(settings(tmp_path, model=name))


async def test_a_size_that_the_encoder_does_not_give_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"embed\.dim 768: encoder 'hashing-384' gives 384"):
        await open_encoder(settings(tmp_path, model="hashing-384", dim=768))
    assert (await open_encoder(settings(tmp_path, model="hashing-384", dim=384))).profile.dim == 384


async def test_a_server_is_asked_for_its_size_only_when_it_is_not_set(tmp_path: Path, server: str) -> None:
    asked = await open_encoder(settings(tmp_path, model="m", base_url=server))
    assert isinstance(asked, HttpEncoder)
    assert asked.profile.dim == 4
    assert len(Embedding.asked) == 1
    told = await open_encoder(settings(tmp_path, model="m", base_url=server, dim=4))
    assert told.profile == asked.profile
    assert len(Embedding.asked) == 1
    await asked.aclose()
    await told.aclose()


async def test_what_makes_another_space_makes_another_name(tmp_path: Path, server: str) -> None:
    slugs = []
    for more in ({}, {"prefix_doc": "passage: "}, {"prefix_query": "passage: "}, {"model": "big"}):
        encoder = await open_encoder(settings(tmp_path, **({"model": "m", "base_url": server} | more)))
        slugs.append(encoder.profile.slug)
        await encoder.aclose()
    assert len(set(slugs)) == 4
    path_like = await open_encoder(settings(tmp_path, model="../../Org/Model v2", base_url=server, dim=4))
    assert "/" not in path_like.profile.slug
    assert " " not in path_like.profile.slug
    await path_like.aclose()


async def test_a_server_that_is_down_or_lacks_the_model_is_an_error(tmp_path: Path, server: str) -> None:
    with pytest.raises(ModelUnavailable, match="is it running"):
        await open_encoder(settings(tmp_path, model="m", base_url="http://127.0.0.1:9/v1"))
    with pytest.raises(ModelRejected, match="no such model"):
        await open_encoder(settings(tmp_path, model="other", base_url=server))


async def test_the_space_of_a_server_needs_that_server(tmp_path: Path, server: str) -> None:
    encoder = await open_encoder(settings(tmp_path, model="m", base_url=server, prefix_query="q: "))
    space = encoder.profile
    await encoder.aclose()
    again = await open_space(settings(tmp_path, model="big", base_url=server), space)
    assert again.profile == space
    await again.encode(["x"], role="query")
    assert Embedding.asked[-1]["model"] == "m"
    assert Embedding.asked[-1]["input"] == ["q: x"]
    await again.aclose()
    with pytest.raises(SettingsError, match=r"embed\.base_url: not set"):
        await open_space(settings(tmp_path), space)


async def test_a_space_of_other_weights_is_not_opened_under_their_name(fetched_home: Path) -> None:
    encoder = await open_encoder(settings(fetched_home, model="wordllama-256"))
    with pytest.raises(SettingsError, match=r"wordllama-256.*use the weights that were used before"):
        await open_space(settings(fetched_home), replace(encoder.profile, revision="older"))


def test_weights_are_needed_only_for_an_encoder_that_has_some(tmp_path: Path) -> None:
    assert needed_weights(settings(tmp_path)) == "minilm-l6"
    assert needed_weights(settings(tmp_path, model="hashing-384")) is None
    assert needed_weights(settings(tmp_path, model="minilm-l6", base_url="http://127.0.0.1:9/v1")) is None
