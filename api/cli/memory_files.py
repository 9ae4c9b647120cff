"""`mneme memory export | import | reindex | verify`: the store as files, and the indexes against the store.

Source: contract §2; memos §3.11, §3.13.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from api.cli.output import AsJson, print_json, remark, table
from api.cli.progress import bar
from api.cli.remembering import InVault, with_memory

if TYPE_CHECKING:
    from memory.archive.exporting import Exported
    from memory.archive.transfer import Imported
    from memory.service import Memory
    from memory.types import Actor
    from memory.upkeep.keeper import Reindexed
    from memory.upkeep.reconcile import Report

BUILTIN = "builtin:"
Format = Literal["archive", "mem0", "mcp", "text"]
Mode = Literal["fail", "skip", "merge"]


def export(
    path: Annotated[Path, typer.Argument(help="A new file that ends in .zip, or a new folder.")],
    vault: InVault = None,
    vectors: Annotated[bool, typer.Option("--vectors/--no-vectors", help="Take the vectors along.")] = True,
    as_json: AsJson = False,
) -> None:
    """Write a vault to a file: memories, history, sources, links and vectors, each file with its digest."""
    from memory.access import DEFAULT

    with bar("exporting") as progress:

        async def work(memory: Memory, actor: Actor) -> Exported:
            return await memory.transfer.export(actor, vault or DEFAULT, path, vectors=vectors, progress=progress)

        exported = with_memory(work)
    for reason in exported.left_out:
        remark(f"left out: artefact {reason}")
    if as_json:
        print_json({**asdict(exported), "counts": dict(exported.counts)})
        return
    print(f"{exported.path}: {exported.counts['memories']} memories, {exported.bytes} bytes")


def import_(
    source: Annotated[str, typer.Argument(help="A file, a folder that was exported, or builtin:NAME.")],
    vault: InVault = None,
    format_: Annotated[Format | None, typer.Option("--format", help="Default: told by the content.")] = None,
    mode: Annotated[
        Mode, typer.Option(help="What to do with a memory that is there: leave it, merge, or import nothing.")
    ] = "skip",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    embed: Annotated[bool, typer.Option("--embed/--no-embed", help="Make vectors now, or leave it to later.")] = True,
    trust: Annotated[
        bool,
        typer.Option("--trust", help="An archive of another machine: take states, authors and history as they are."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Store what is in an archive, a mem0 export, a file of the MCP memory server, or a text. Twice is once.

    Interrupted, the same command goes on behind the last batch that was written.
    """
    from memory.access import DEFAULT

    given: Path | str = source if source.startswith(BUILTIN) else Path(source)
    with bar("importing") as progress:

        async def work(memory: Memory, actor: Actor) -> Imported:
            return await memory.transfer.import_(
                actor,
                vault or DEFAULT,
                given,
                format=format_,
                mode=mode,
                dry_run=dry_run,
                embed=embed,
                trust=trust,
                progress=progress,
            )

        try:
            imported = with_memory(work)
        except KeyboardInterrupt:
            if progress.total is not None:
                remark(f"interrupted after {progress.done} of {progress.total}; the same command goes on from there")
            raise
    if as_json:
        print_json(asdict(imported))
        return
    told = {name: count for name, count in asdict(imported.counts).items() if count}
    would = "would become" if imported.dry_run else "became"
    print(f"{imported.total} records of format {imported.format} {would}:")
    print(table(["what", "count"], [[name, str(count)] for name, count in told.items()] or [["nothing", "0"]]))
    if imported.counts.quarantined:
        remark("what is quarantined waits for a review")
    if imported.format == "archive" and not imported.trusted:
        remark("the archive was not made here of a vault of yours: only its texts were taken, not its history")


def reindex(as_json: AsJson = False) -> None:
    """Build the vector indexes anew from the database, beside the ones in use, and switch."""
    with bar("indexing") as progress:

        async def work(memory: Memory, actor: Actor) -> Reindexed:
            return await memory.reindex(actor, progress=progress)

        done = with_memory(work)
    if as_json:
        print_json(asdict(done))
    else:
        print(f"{done.points} points in {done.seconds:.1f} s")


def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Make everything agree with the memories.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compare vectors, full text, hypergraph, histories and audit with the memories; exits 1 when something differs."""

    async def work(memory: Memory, actor: Actor) -> Report:
        return await memory.verify(actor, repair=repair)

    report = with_memory(work)
    if as_json:
        print_json({**asdict(report), "ok": report.ok})
    else:
        if report.drift:
            print(table(["of", "memory", "what"], [[d.kind, d.memory_id, d.detail] for d in report.drift]))
        print(f"{report.checked} memories checked, {len(report.drift)} differences, {report.repaired} repaired")
        if report.unchecked:
            remark(f"not checked, because another process holds it: {', '.join(report.unchecked)}")
    raise typer.Exit(0 if report.ok else 1)
