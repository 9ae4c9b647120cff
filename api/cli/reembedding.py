"""`mneme memory reembed`: the store moves to another encoder or codec while it is used. Source: memos §5; contract §2."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio
import anyio.to_thread
import typer

from api.cli.output import AsJson, print_json, remark, table
from api.cli.progress import bar
from runtime.errors import InvalidInput
from runtime.settings import EmbedSettings, Settings, load

if TYPE_CHECKING:
    from memory.moves import Moves
    from memory.profiles import StoredProfile
    from memory.reembed import Moved
    from memory.types import Actor

T = TypeVar("T")


def reembed(
    model: Annotated[str | None, typer.Option(help="Encoder; default: embed.model of the settings.")] = None,
    codec: Annotated[str | None, typer.Option(help="How the index keeps vectors; default: embed.codec.")] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Fit the codec anew on what is stored now.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Switch even if the new index finds less.")] = False,
    back: Annotated[bool, typer.Option("--back", help="Go back to the profile before, while it drains.")] = False,
    abandon: Annotated[bool, typer.Option("--abandon", help="Give up what is being built.")] = False,
    show: Annotated[bool, typer.Option("--list", help="Only show the profiles.")] = False,
    as_json: AsJson = False,
) -> None:
    """Embed every memory with another encoder, compare, and switch; searches and writes go on meanwhile.

    A move that broke off goes on where it was. The profile before stays for seven days.
    """
    if sum((back, abandon, show)) > 1 or ((back or abandon or show) and (model or codec or refit or force)):
        raise InvalidInput("--back, --abandon, --list: expected one of them, alone", param="back")
    settings = load({"embed.model": model}).settings
    if back or abandon:
        profile = _with_moves(settings, lambda moves, actor: moves.back(actor) if back else moves.abandon(actor))
        _tell(profile, as_json=as_json)
    elif show:
        _list(_with_moves(settings, lambda moves, actor: moves.profiles(actor)), as_json=as_json)
    else:
        _told(_moved(settings, codec, refit=refit, force=force), settings, as_json=as_json)


def _moved(settings: Settings, codec: str | None, *, refit: bool, force: bool) -> Moved:
    embed: EmbedSettings = settings.embed
    with bar("embedding") as progress:

        async def work(moves: Moves, actor: Actor) -> Moved:
            return await moves.to(actor, embed, codec=codec, refit=refit, force=force, progress=progress)

        return _with_moves(settings, work)


def _told(moved: Moved, settings: Settings, *, as_json: bool) -> None:
    figures = moved.figures
    if as_json:
        measured = {"probes": figures.probes, "old_found": moved.old_found, "found": figures.found}
        print_json({**_body(moved.profile), "measured": {**measured, "recall@10": figures.recall}})
        return
    print(f"{moved.profile.slug} is searched now")
    if figures.probes:
        print(
            f"of {figures.probes} probes it finds {figures.found:.1%}, the one before {moved.old_found:.1%}; "
            f"recall@10 of the index {figures.recall:.1%}"
        )
    space, configured = moved.profile.space, load().settings.embed
    if configured.model not in (space.slug, space.model):
        remark(f"set embed.model to {settings.embed.model!r} before the next start; the service needs it in seven days")


def _tell(profile: StoredProfile, *, as_json: bool) -> None:
    if as_json:
        print_json(_body(profile))
    else:
        print(f"{profile.slug}: {'searched now' if profile.state == 'active' else 'given up'}")


def _list(found: list[StoredProfile], *, as_json: bool) -> None:
    if as_json:
        print_json({"profiles": [_body(profile) for profile in found]})
        return
    rows = []
    for profile in found:
        recall = (profile.measured or {}).get("recall@10")
        until = "" if profile.drain_until is None else f"until {profile.drain_until:%Y-%m-%d}"
        measured = f"{recall:.4f}" if isinstance(recall, float) else "–"
        rows.append([profile.slug, str(profile.space.dim), profile.codec, measured, f"{profile.state} {until}".strip()])
    print(table(["profile", "dim", "codec", "recall@10", "state"], rows))


def _body(profile: StoredProfile) -> dict[str, object]:
    return {
        "slug": profile.slug,
        "model": profile.space.model,
        "dim": profile.space.dim,
        "codec": profile.codec,
        "state": profile.state,
        "drain_until": profile.drain_until,
        "measured": profile.measured,
    }


def _with_moves(settings: Settings, work: Callable[[Moves, Actor], Awaitable[T]]) -> T:
    """Run `work` on the store, opened with the encoder that it has, which need not be the configured one."""
    from runtime import telemetry

    telemetry.configure(settings)

    async def run() -> T:
        from memory import profiles
        from memory.encoders.registry import settings_of
        from memory.opening import open_memory
        from memory.types import Actor
        from runtime.db import open_database
        from runtime.ids import SYSTEM
        from runtime.keys import KeyStore
        from runtime.migrate import upgrade

        await anyio.to_thread.run_sync(upgrade, settings)
        database = open_database(settings)
        try:
            local = await KeyStore(database, SYSTEM).local()
            there = await database.read(profiles.active)
            opened = settings if there is None else settings_of(settings, there.space)
            async with open_memory(opened, database, SYSTEM) as memory:
                return await work(memory.moves, Actor(local.user_id, None, admin=True))
        finally:
            await database.aclose()

    return anyio.run(run)
