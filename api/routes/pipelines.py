"""Asking a model to learn from a vault: extract, classify, summarise. Each answers with the job that does it.

Source: memos §3.1, §3.3, §3.12; contract §4.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from api.acting import TheMemory, WritesMemory
from api.answers import json_response
from api.idempotency import Idempotent
from api.openai.wire import Strict
from api.route import Route
from api.routes.documented import Responses, answers
from api.routes.jobs import JobBody, job_body
from api.routes.memory_fields import MemoryRef, VaultRef
from memory.jobs import Job
from memory.pipelines.requests import MAX_IDS
from memory.pipelines.summarise import MEMBERS

router = APIRouter(prefix="/api/vaults", tags=["jobs"], route_class=Route)
ACCEPTED: Responses = answers(JobBody, 404, 409, 410, 413, 415, 429, status=202)


class ExtractRequest(Strict):
    """`POST /api/vaults/{vault}/extract`."""

    memories: list[MemoryRef] = Field(min_length=1, max_length=MAX_IDS)
    injected: list[MemoryRef] = Field(
        [], max_length=MAX_IDS, description="memories that stood in the prompts of that conversation"
    )


class ClassifyRequest(Strict):
    """`POST /api/vaults/{vault}/classify`."""

    memories: list[MemoryRef] = Field(min_length=1, max_length=MAX_IDS)


class SummariseRequest(Strict):
    """`POST /api/vaults/{vault}/summarise`."""

    memories: list[MemoryRef] = Field(min_length=2, max_length=MEMBERS)
    summary: Annotated[MemoryRef | None, Field(description="the summary that is written anew; default: a new one")] = (
        None
    )


@router.post("/{vault}/extract", status_code=202, responses=ACCEPTED)
async def extract_memories(
    vault: VaultRef, body: ExtractRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Draw claims from raw memories; they stay as they are."""

    async def work() -> Response:
        return _accepted(await memory.learning.extract(actor, vault, body.memories, body.injected))

    return await once(actor.user_id, work)


@router.post("/{vault}/classify", status_code=202, responses=ACCEPTED)
async def classify_memories(
    vault: VaultRef, body: ClassifyRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Compare memories with those near them, and settle what is redundant, outdated or contradictory."""

    async def work() -> Response:
        return _accepted(await memory.learning.classify(actor, vault, body.memories))

    return await once(actor.user_id, work)


@router.post("/{vault}/summarise", status_code=202, responses=ACCEPTED)
async def summarise_memories(
    vault: VaultRef, body: SummariseRequest, memory: TheMemory, actor: WritesMemory, once: Idempotent
) -> Response:
    """Sum up memories; the summary links to those that it rests on."""

    async def work() -> Response:
        return _accepted(await memory.learning.summarise(actor, vault, body.memories, body.summary))

    return await once(actor.user_id, work)


def _accepted(job: Job) -> Response:
    return json_response(job_body(job), 202, {"Location": f"/api/jobs/{job.id}"})
