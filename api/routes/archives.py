"""Vaults as files: export is a download, import is an upload. Paths of the server are never read from a request.

Source: contract §4; memos §3.11.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from email.message import Message
from pathlib import Path
from typing import IO, Annotated, Any, Final, Literal

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from api.acting import ReadsMemory, TheMemory, WritesMemory
from api.answers import json_response
from api.errors import UnsupportedMediaType
from api.idempotency import Idempotent
from api.route import Route
from api.routes.documented import Documented, Responses, answers
from api.routes.jobs import JobBody, job_body
from api.routes.memory_fields import VaultRef
from memory.archive.matching import Mode
from memory.archive.transfer import Wanted
from memory.jobs import Job

router = APIRouter(prefix="/api/vaults/{vault}", tags=["vaults"], route_class=Route)
CHUNK: Final = 1 << 20
TYPES: Final = (
    "application/zip",
    "application/json",
    "application/x-ndjson",
    "application/octet-stream",
    "text/plain",
    "text/markdown",
)
BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
UPLOAD: Final[dict[str, Any]] = {"requestBody": {"required": True, "content": dict.fromkeys(TYPES, BINARY)}}


class ImportCounts(Documented):
    """How many records became what; all but `edges`, `artifacts`, `quarantined` and `vectors_reused` add up to `total`."""

    created: int
    quarantined: int
    resumed: int
    present: int
    merged: int
    restored: int
    dropped: int
    expired: int
    erased: int
    edges: int
    artifacts: int
    vectors_reused: int


class ImportBody(Documented):
    """What became of a file. `trusted`: it was made here of a vault of yours, so states and history came along."""

    format: Literal["archive", "mem0", "mcp", "text", "builtin"]
    digest: str
    total: int
    trusted: bool
    dry_run: bool
    counts: ImportCounts


EXPORTED: Final[Responses] = {
    **answers(None, 404),
    200: {"description": "the archive", "content": {"application/zip": BINARY}},
}
IMPORTED: Final[Responses] = {
    **answers(ImportBody, 404, 409, 413, 415, 429),
    202: {"model": JobBody, "description": "the file was verified and is large; the job imports it"},
}


@router.post("/export", responses=EXPORTED, response_class=Response)
async def export_vault(
    vault: VaultRef,
    memory: TheMemory,
    actor: ReadsMemory,
    vectors: Annotated[bool, Query(description="take the vectors along")] = True,
) -> Response:
    """The vault as a zip: memories, history, sources, links, and the digest of every file."""
    folder = await anyio.to_thread.run_sync(tempfile.mkdtemp, "", "mneme-export-")
    try:
        exported = await memory.transfer.export(actor, vault, Path(folder) / "vault.zip", vectors=vectors)
        file = await anyio.to_thread.run_sync(exported.path.open, "rb")
    finally:
        # The open file outlives its name, so nothing is left behind whenever the client hangs up.
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
    headers = {
        "Content-Disposition": f'attachment; filename="mneme-{exported.digest[:12]}.zip"',
        "Content-Length": str(exported.bytes),
        "ETag": f'"{exported.digest}"',
    }
    return StreamingResponse(_chunks(file), media_type="application/zip", headers=headers)


@router.post("/import", responses=IMPORTED, openapi_extra=UPLOAD)
async def import_into_vault(
    vault: VaultRef,
    request: Request,
    memory: TheMemory,
    actor: WritesMemory,
    once: Idempotent,
    mode: Annotated[Mode, Query(description="for what is there already: leave it, merge, or import nothing")] = "skip",
    dry_run: Annotated[bool, Query(description="only count")] = False,
    format: Annotated[  # noqa: A002 - as the parameter is called
        Literal["archive", "mem0", "mcp", "text"] | None, Query(description="default: told by the content")
    ] = None,
    embed: Annotated[bool, Query(description="make vectors now; false leaves it to later")] = True,
    trust: Annotated[bool, Query(description="admin only: take an archive of another installation as it is")] = False,
    name: Annotated[
        str | None, Query(min_length=1, max_length=200, description="what a text is called; default: by its digest")
    ] = None,
) -> Response:
    """Store what is in an archive, a mem0 export, a file of the MCP memory server, or a text; the same file twice is once.

    The file is verified before anything is written. More than a thousand records are a job: 202.
    """
    _check_type(request)
    wanted = Wanted(format, mode, dry_run, embed, trust, name)

    async def work() -> Response:
        async with _uploaded(request) as upload:
            imported = await memory.transfer.submit(actor, vault, upload, wanted)
        if isinstance(imported, Job):
            return json_response(job_body(imported), 202, {"Location": f"/api/jobs/{imported.id}"})
        return json_response(asdict(imported))

    return await once(actor.user_id, work)


@asynccontextmanager
async def _uploaded(request: Request) -> AsyncIterator[Path]:
    """The body as a file of ours, gone at the end unless somebody took it."""
    folder = await anyio.to_thread.run_sync(tempfile.mkdtemp, "", "mneme-upload-")
    try:
        path = Path(folder) / "upload"
        async with await anyio.open_file(path, "wb") as file:
            async for chunk in request.stream():
                await file.write(chunk)
        yield path
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK):
            yield chunk


def _check_type(request: Request) -> None:
    message = Message()
    message["content-type"] = request.headers.get("content-type", "application/octet-stream")
    if message.get_content_type() not in TYPES:
        raise UnsupportedMediaType(
            f"Content-Type {request.headers.get('content-type', '')!r}: expected one of {', '.join(TYPES)}",
            param="Content-Type",
        )
