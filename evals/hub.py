"""Data sets from Hugging Face, through its dataset viewer: rows as JSON, so no reader of other formats is needed.

Nothing is fetched before somebody was told what, from where, and under which licence; what was fetched is kept below the
home and not fetched again. Source: evaluation sheet §1 (licence), §2; the API of the dataset viewer.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import anyio
import httpx

from evals.sets import HubRef
from runtime import textsafe
from runtime.errors import InvalidInput, MnemeError, UnknownName
from runtime.types import JsonObject

HUB: Final = "https://huggingface.co"
VIEWER: Final = "https://datasets-server.huggingface.co"
PAGE: Final = 100
TIMEOUT_S: Final = 60.0
ID: Final = re.compile(r"[\w.-]+/[\w.-]+")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Fetched:
    """Rows of one split, and what the publisher says of them."""

    ref: HubRef
    revision: str
    licence: str
    rows: tuple[JsonObject, ...]


class Hub:
    """Fetches data sets and keeps them in `folder`."""

    def __init__(self, folder: Path, *, hub: str = HUB, viewer: str = VIEWER) -> None:
        self._folder = folder
        self._hub = hub
        self._viewer = viewer

    async def get(self, ref: HubRef, say: Say) -> Fetched:
        """The rows: those that are kept, else fetched now. Raises `UnknownName` for what is not there, `MnemeError` when
        the hub cannot be reached."""
        if not ID.fullmatch(ref.id):
            raise InvalidInput(f"data {str(ref)!r}: expected hf:<owner>/<name>[:config][:split]", param="data")
        kept = await anyio.to_thread.run_sync(self._kept, ref)
        if kept is not None:
            return kept
        async with httpx.AsyncClient(timeout=TIMEOUT_S, follow_redirects=True) as client:
            about = await _json(client, f"{self._hub}/api/datasets/{ref.id}", {}, ref)
            licence = _licence(about)
            exact = _exact(ref, await _json(client, f"{self._viewer}/splits", {"dataset": ref.id}, ref))
            say(f"fetching {exact} from {self._hub}/datasets/{ref.id} · licence: {licence}")
            rows = await self._rows(client, exact)
        fetched = Fetched(exact, str(about.get("sha") or "unknown"), licence, tuple(rows))
        await anyio.to_thread.run_sync(self._keep, ref, fetched)
        return fetched

    async def _rows(self, client: httpx.AsyncClient, ref: HubRef) -> list[JsonObject]:
        rows: list[JsonObject] = []
        while True:
            asked = {"dataset": ref.id, "config": str(ref.config), "split": str(ref.split)}
            page = await _json(
                client, f"{self._viewer}/rows", {**asked, "offset": str(len(rows)), "length": str(PAGE)}, ref
            )
            found = [item["row"] for item in page.get("rows", [])]
            rows += found
            if not found or len(rows) >= int(page.get("num_rows_total", 0)):
                return rows

    def _file(self, ref: HubRef) -> Path:
        return self._folder / (re.sub(r"[^\w.-]+", "--", str(ref)) + ".json")

    def _kept(self, ref: HubRef) -> Fetched | None:
        path = self._file(ref)
        if not path.is_file():
            return None
        held = textsafe.loads(path.read_text(encoding="utf-8"))
        return Fetched(HubRef(*held["ref"]), held["revision"], held["licence"], tuple(held["rows"]))

    def _keep(self, ref: HubRef, fetched: Fetched) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._file(ref)
        exact = [fetched.ref.id, fetched.ref.config, fetched.ref.split]
        held = {"ref": exact, "revision": fetched.revision, "licence": fetched.licence, "rows": list(fetched.rows)}
        half = path.with_suffix(".part")
        half.write_text(textsafe.dumps(held), encoding="utf-8")
        half.replace(path)


def read_ref(text: str) -> HubRef:
    """`hf:<id>[:config][:split]`. One word behind the id may be either; the hub tells which."""
    id_, *parts = text.removeprefix("hf:").split(":")
    if len(parts) > 2:
        raise InvalidInput(f"data {text!r}: expected hf:<owner>/<name>[:config][:split]", param="data")
    return HubRef(id_, *(part or None for part in parts))


def _exact(ref: HubRef, answer: dict[str, Any]) -> HubRef:
    """With config and split filled in. Raises `UnknownName` listing what there is."""
    there = [(str(item["config"]), str(item["split"])) for item in answer.get("splits", [])]
    if ref.config is not None and ref.split is None and ref.config not in {config for config, _ in there}:
        ref = replace(ref, config=None, split=ref.config)
    fits = [(config, split) for config, split in there if ref.config in (None, config) and ref.split in (None, split)]
    if len(fits) > 1:
        fits = [(config, split) for config, split in fits if split == "test"] or fits
    if len(fits) != 1:
        listed = ", ".join(f"{config}:{split}" for config, split in there) or "none"
        raise UnknownName(f"data {str(ref)!r}: expected one of config:split {listed}; name it", param="data")
    return replace(ref, config=fits[0][0], split=fits[0][1])


def _licence(about: dict[str, Any]) -> str:
    card = about.get("cardData") or {}
    named = card.get("license") if isinstance(card, dict) else None
    if isinstance(named, list):
        named = ", ".join(map(str, named))
    tags = [str(tag).removeprefix("license:") for tag in about.get("tags", []) if str(tag).startswith("license:")]
    return str(named or ", ".join(tags) or "none stated")


async def _json(client: httpx.AsyncClient, url: str, query: dict[str, str], ref: HubRef) -> dict[str, Any]:
    try:
        response = await client.get(url, params=query)
        body: Any = response.json() if response.status_code < 400 else None
    except (httpx.HTTPError, ValueError) as error:
        raise MnemeError(
            f"data {str(ref)!r}: {url} cannot be read ({type(error).__name__}: {error}); give a local file with --data"
        ) from error
    if response.status_code in (401, 403, 404):
        raise UnknownName(
            f"data {str(ref)!r}: {url} answers {response.status_code}; check the id, and that it is open to everybody",
            param="data",
        )
    if not isinstance(body, dict):
        raise MnemeError(f"data {str(ref)!r}: {url} answers {response.status_code}; try again, or give a local file")
    return body
