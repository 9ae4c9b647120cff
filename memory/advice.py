"""What every codec would cost and keep on the vectors of a vault, for the person who has to choose one.

Questions are the first words of memories, as in memory/probes.py; the wanted answer is the memory they come from. Codecs
that would have to be fitted on more vectors than there are are left out and named. Source: embedding_storage §2.1, §3; ours.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import anyio
import numpy as np
from sqlalchemy import func, select

from memory import access, backlog
from memory.backlog import StoredVector
from memory.codecs import registry, tradeoff
from memory.codecs.base import Vectors
from memory.codecs.choose import Choice, Option, choose
from memory.codecs.measure import FEWEST_QUERIES, Measured
from memory.core import Core
from memory.encoders.base import Encoder
from memory.probes import question_of
from memory.profiles import StoredProfile
from memory.tables import BlobRow, MemoryRow
from memory.tx import Tx
from memory.types import SEARCHABLE, Actor
from runtime.errors import InvalidInput

QUESTIONS = 200
MEASURED_ON = 3000


class Sample(NamedTuple):
    """Unit rows of vectors and of questions, for each question the row that answers it, and how many vectors there are."""

    vectors: Vectors
    questions: Vectors
    wanted: Sequence[int]
    total: int


@dataclass(frozen=True, slots=True)
class Advice:
    """The measurements, the codecs that could not be fitted, and what fits the limit (`choice.chosen`, or none does)."""

    measured: tuple[Measured, ...]
    unfitted: tuple[str, ...]
    choice: Choice


class _Row(NamedTuple):
    content: str
    stored: StoredVector


async def of_vaults(
    core: Core, actor: Actor, vaults: Sequence[str], profile: StoredProfile, encoder: Encoder, *, seed: int = 0
) -> Sample:
    """About 3000 vectors of the profile, spread over the vaults (ids or names; none: `default`), and 200 questions.

    Raises `UnknownName`, `Forbidden`, `ModelError`, and `InvalidInput` when there are too few memories to measure on.
    """
    rng = random.Random(seed)
    total, found = await core.read(actor, partial(_stored, vaults=vaults, profile_id=profile.id, rng=rng))
    dim = profile.space.dim
    decoded = await anyio.to_thread.run_sync(lambda: [(row.content, backlog.intact(row.stored, dim)) for row in found])
    intact = [(content, vector) for content, vector in decoded if vector is not None]
    if len(intact) < FEWEST_QUERIES:
        raise InvalidInput(
            f"{len(intact)} memories with a vector: too few to measure codecs on; expected at least {FEWEST_QUERIES}. "
            "Measure on another corpus until there are more"
        )
    wanted = sorted(rng.sample(range(len(intact)), min(QUESTIONS, len(intact))))
    questions = await encoder.encode([question_of(intact[place][0]) for place in wanted], role="query")
    return Sample(np.stack([vector for _, vector in intact]), questions, wanted, total)


def advise(
    sample: Sample, *, limit_bytes: int | None, least_quality: float | None, vectors: int | None = None
) -> Advice:
    """Measure every codec that can be fitted on the sample, and choose for `vectors` of them (as many as there are).

    Quality is recall@10 against exact float32 search on the sample. Without a limit the best one is chosen. Takes some
    seconds of processor time. Raises `InvalidInput` for fewer than 200 questions.
    """
    dim, count = sample.vectors.shape[1], len(sample.vectors)
    usable = [(name, again) for name, again in tradeoff.TABLE if registry.sample_size(name, dim) <= count]
    measured = tradeoff.trade_off_table(sample.vectors, sample.questions, wanted=sample.wanted, codecs=usable)
    options = [Option(tradeoff.label(item), item.bytes_per_vector, item.recall) for item in measured]
    number = sample.total if vectors is None else vectors
    limit = number * max(option.bytes_per_vector for option in options) if limit_bytes is None else limit_bytes
    unfitted = dict.fromkeys(name for name, _ in tradeoff.TABLE if registry.sample_size(name, dim) > count)
    return Advice(
        tuple(measured),
        tuple(unfitted),
        choose(options, vectors=number, limit_bytes=limit, least_quality=least_quality),
    )


def _stored(tx: Tx, *, vaults: Sequence[str], profile_id: str, rng: random.Random) -> tuple[int, list[_Row]]:
    allowed = {item.vault.id: item for item in access.vaults(tx, vaults, "read")}
    mine = (
        BlobRow.profile_id == profile_id,
        BlobRow.memory_seq == MemoryRow.seq,
        MemoryRow.vault_id.in_(allowed),
        MemoryRow.state.in_(SEARCHABLE),
        MemoryRow.content != "",
    )
    total = tx.connection.execute(select(func.count()).select_from(BlobRow, MemoryRow).where(*mine)).scalar_one()
    step = max(1, total // MEASURED_ON)
    query = (
        select(
            MemoryRow.vault_id,
            MemoryRow.sensitivity,
            MemoryRow.content,
            BlobRow.memory_seq,
            BlobRow.data,
            BlobRow.crc32,
        )
        .where(*mine, BlobRow.memory_seq % step == rng.randrange(step))
        .order_by(BlobRow.memory_seq)
    )
    return total, [
        _Row(row.content, StoredVector(row.memory_seq, row.data, row.crc32))
        for row in tx.connection.execute(query)
        if allowed[row.vault_id].sees(row.sensitivity)
    ]
