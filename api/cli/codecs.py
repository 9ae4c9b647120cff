"""`mneme memory codecs`: what smaller vectors would cost and keep, on the vectors that are there.

Source: embedding_storage §3.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import anyio
import anyio.to_thread
import typer

from api.cli.output import AsJson, print_json, remark
from runtime.errors import InvalidInput
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from memory.advice import Advice, Sample
    from memory.encoders.base import Encoder

T = TypeVar("T")
MEGABYTE = 1_000_000
CORPUS_PARAGRAPHS = 2000
CORPUS_QUESTIONS = 300


def codecs(
    vault: Annotated[
        list[str] | None, typer.Option(help="Measure on its vectors; repeatable; default: `default`.")
    ] = None,
    corpus: Annotated[
        bool, typer.Option("--corpus", help="Measure on the documentation of the installed packages.")
    ] = False,
    limit_mb: Annotated[float | None, typer.Option(min=0, help="What the vectors of the index may take.")] = None,
    min_quality: Annotated[float | None, typer.Option(min=0, max=1, help="The least recall@10.")] = None,
    vectors: Annotated[int | None, typer.Option(min=1, help="For so many; default: as many as there are.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what each codec costs and keeps, and which fits; exits 1 when none does. Changes nothing."""
    if corpus and vault:
        raise InvalidInput("--vault and --corpus: expected one of them", param="vault")
    settings = load().settings
    sample = anyio.run(_on_corpus, settings) if corpus else anyio.run(_on_vaults, settings, vault or [])

    from memory.advice import advise

    limit = None if limit_mb is None else round(limit_mb * MEGABYTE)
    advice = advise(sample, limit_bytes=limit, least_quality=min_quality, vectors=vectors)
    number = vectors or sample.total
    if as_json:
        print_json({"vectors": number, "measured_on": len(sample.vectors), **asdict(advice)})
    else:
        _show(advice, sample, number, limit_mb)
    raise typer.Exit(0 if advice.choice.chosen else 1)


def _show(advice: Advice, sample: Sample, number: int, limit_mb: float | None) -> None:
    from memory.codecs.tradeoff import shown

    print(shown(advice.measured, dim=sample.vectors.shape[1]))
    print(f"\nmeasured on {len(sample.vectors)} vectors with {len(sample.wanted)} questions")
    if advice.unfitted:
        remark(f"too few vectors to fit {', '.join(advice.unfitted)}")
    within = "" if limit_mb is None else f" within {limit_mb:g} MB"
    chosen = advice.choice.chosen
    if chosen is None:
        print(f"for {number} vectors{within}: none fits")
        return
    size = chosen.bytes_per_vector * number / MEGABYTE
    print(f"for {number} vectors{within}: {chosen.name}, {size:.1f} MB, recall@10 {chosen.quality:.4f}")
    print(f"take it with: mneme memory reembed --codec {chosen.name.removesuffix(' + rescoring')}")


async def _on_corpus(settings: Settings) -> Sample:
    from evals.bench.corpora import documentation
    from memory.advice import Sample
    from memory.encoders.registry import open_encoder

    folder = Path(sysconfig.get_paths()["purelib"])
    labelled = documentation(folder, paragraphs=CORPUS_PARAGRAPHS, questions=CORPUS_QUESTIONS, seed=0)
    remark(f"embedding {len(labelled.paragraphs)} paragraphs")

    async def encoded(encoder: Encoder) -> Sample:
        rows = await encoder.encode(labelled.paragraphs, role="doc")
        questions = await encoder.encode(labelled.questions, role="query")
        return Sample(rows, questions, labelled.wanted, len(rows))

    return await _closing(await open_encoder(settings), encoded)


async def _on_vaults(settings: Settings, vaults: list[str]) -> Sample:
    from memory import advice, profiles
    from memory.core import Core
    from memory.encoders.registry import open_space
    from memory.types import Actor
    from runtime.db import open_database
    from runtime.ids import SYSTEM
    from runtime.keys import KeyStore
    from runtime.migrate import upgrade

    await anyio.to_thread.run_sync(upgrade, settings)
    database = open_database(settings)
    try:
        core, local = Core(database, SYSTEM, settings), await KeyStore(database, SYSTEM).local()
        actor = Actor(local.user_id, None, admin=True)
        await core.default_vault(actor)
        profile = await database.read(profiles.active)
        if profile is None:
            raise InvalidInput("the store has no vectors yet; measure on another corpus with --corpus")

        async def measured(encoder: Encoder) -> Sample:
            return await advice.of_vaults(core, actor, vaults, profile, encoder)

        return await _closing(await open_space(settings, profile.space), measured)
    finally:
        await database.aclose()


async def _closing(encoder: Encoder, work: Callable[[Encoder], Awaitable[T]]) -> T:
    try:
        return await work(encoder)
    finally:
        await encoder.aclose()
