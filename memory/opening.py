"""Opens the store: which encoder, which index, which process carries the outbox; and what goes on in the background.

    Qdrant server (`qdrant.url`)   every process searches and carries the outbox, memory by memory under a lease
    SQLite                         one process of the home holds the embedded index and carries the outbox; the others
                                   search a copy in memory that follows the database, and step in when it ends
    PostgreSQL without a server    every process has such a copy, and carries under a lease

Codecs that no embedded index keeps live in such a copy as well. Source: design storage §1, §6; ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from memory import profiles
from memory.adding import Adding
from memory.admitting.gate import Gate
from memory.archive.transfer import Transfer
from memory.core import Core
from memory.encoders.base import Encoder
from memory.encoders.registry import open_encoder
from memory.indices.hypergraph import Hypergraph
from memory.measuring.usefulness import Usefulness
from memory.moves import Moves
from memory.pipelines.requests import Learning
from memory.profiles import StoredProfile
from memory.recall import Recaller
from memory.reembed import follow
from memory.service import Memory, Parts
from memory.spaces import Spaces
from memory.upkeep.keeper import Keeper
from memory.upkeep.placing import Placing
from memory.upkeep.sweep import Sweep
from memory.uses import Uses
from memory.vault.vaults import Vaults
from runtime.db import Database
from runtime.errors import MnemeError
from runtime.ids import SYSTEM, Clock, new_id
from runtime.settings import Settings

Leads = Callable[[], Awaitable[bool]]


@asynccontextmanager
async def open_memory(
    settings: Settings, db: Database, clock: Clock = SYSTEM, *, leads: Leads | None = None
) -> AsyncIterator[Memory]:
    """The store over a migrated database, closed behind the block.

    `leads` says whether this process is to sweep; without it none does, as in a command that ends soon. Raises
    `EncoderUnavailable`, `SettingsError` when the settings do not fit the vectors that are there, `ModelError` when an
    embedding server has to be asked and does not answer, `StorageError`.
    """
    core = Core(db, clock, settings)
    async with AsyncExitStack() as stack:
        profile, encoder = await _active(core)
        placing = Placing(core, encoder)
        stack.push_async_callback(placing.aclose)
        spaces = Spaces(await placing.open_space(profile))
        stack.push_async_callback(spaces.aclose)
        await follow(core, spaces, placing.open_space)
        keeper = Keeper(core, spaces, placing, resident=leads is not None)
        memory = _wired(core, spaces, keeper, Moves(core, spaces, placing.open_space))
        failure: Exception | None = None
        async with anyio.create_task_group() as background:
            background.start_soon(memory.uses.run)
            background.start_soon(keeper.run)
            if leads is not None:
                background.start_soon(Sweep(core, leads=leads).run)
            try:
                yield memory
            except Exception as error:  # noqa: BLE001 - raised again below, as itself and not in a group
                failure = error
            finally:
                background.cancel_scope.cancel()
        if failure is not None:
            raise failure


def _wired(core: Core, spaces: Spaces, keeper: Keeper, moves: Moves) -> Memory:
    gate, usefulness = Gate(core, spaces), Usefulness(core)
    return Memory(
        core,
        Parts(
            adding=Adding(core, spaces, gate, keeper),
            recaller=Recaller(core, spaces, Hypergraph(core), usefulness),
            uses=Uses(core),
            keeper=keeper,
            gate=gate,
            spaces=spaces,
            vaults=Vaults(core, spaces),
            transfer=Transfer(core, spaces, gate),
            usefulness=usefulness,
            learning=Learning(core),
            moves=moves,
        ),
    )


async def _active(core: Core) -> tuple[StoredProfile, Encoder]:
    """The profile that is searched, made for a new store, and the configured encoder."""
    settings, profile_id, now = core.settings, new_id("emb"), core.clock.now()
    known = await core.db.read(profiles.active)
    same = known is not None and (known.space.provider, known.space.model) == ("http", settings.embed.model)
    if known is not None and same and settings.embed.dim is None:
        # Its server need not be asked for the size, so the store opens while that server is down.
        settings = settings.model_copy(update={"embed": settings.embed.model_copy(update={"dim": known.space.dim})})
    encoder = await open_encoder(settings)
    try:
        profile = await core.db.write(
            lambda connection: profiles.ensure(connection, profile_id, encoder.profile, settings.embed.codec, now)
        )
    except MnemeError:
        await encoder.aclose()
        raise
    return profile, encoder
