"""`mneme memory`: what is stored, by hand. Adding, finding, reading, editing, taking back, erasing. Source: contract §2."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import click
import typer

from api.cli import codecs, memory_files, memory_problems, reembedding, teaching
from api.cli.output import AsJson, print_json, remark, table
from api.cli.remembering import InVault, with_memory
from runtime.errors import InvalidInput

if TYPE_CHECKING:
    from memory.adding import Added
    from memory.erase import Receipt
    from memory.listing import Page
    from memory.service import Memory
    from memory.types import Actor, MemCube, Query, Recall, Version

WIDTH = 72
Id = Annotated[str, typer.Argument(help="The id, mem_….", metavar="ID")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history.")]
Text = Annotated[str | None, typer.Argument(help="The text; `-` reads it from stdin.")]

app = typer.Typer(help="Memories: stored, found, edited, taken back, erased.", no_args_is_help=True)
app.command("export")(memory_files.export)
app.command("import")(memory_files.import_)
app.command("reindex")(memory_files.reindex)
app.command("verify")(memory_files.verify)
app.command("reembed")(reembedding.reembed)
app.command("codecs")(codecs.codecs)
app.command("learn")(teaching.learn)
app.command("forget-problem")(memory_problems.forget_problem)


@app.command()
def add(
    text: Text = None,
    file: Annotated[Path | None, typer.Option(help="Take the text from a UTF-8 file.")] = None,
    vault: InVault = None,
    kind: Annotated[str, typer.Option("--type", help="fact, preference, event, document, summary, skill, …")] = "fact",
    tag: Annotated[list[str] | None, typer.Option(help="Repeatable.")] = None,
    subject: Annotated[str | None, typer.Option(help="What it is about; with --attribute it replaces the old.")] = None,
    attribute: Annotated[str | None, typer.Option(help="Which property of the subject.")] = None,
    entity: Annotated[list[str] | None, typer.Option(help="A name in it; repeatable.")] = None,
    expires: Annotated[str | None, typer.Option(help="A date or time, 2027-01-31.")] = None,
    as_json: AsJson = False,
) -> None:
    """Store a memory and print its id."""
    from memory.types import Draft

    draft = Draft(
        content=_content(text, file),
        semantic_type=kind,  # type: ignore[arg-type]  # the store refuses a type that there is not, with a list
        tags=tuple(tag or ()),
        subject=subject,
        attribute=attribute,
        entities=tuple(entity or ()),
        expires_at=_time("--expires", expires),
    )

    async def work(memory: Memory, actor: Actor) -> Added:
        (added,) = await memory.add(actor, [draft], vault=vault)
        return added

    added = with_memory(work)
    if added.memory is None:
        raise added.error or _not_admitted(added)
    if as_json:
        from api.routes.memory_answers import memory_body

        print_json({**memory_body(added.memory), "created": added.created, "admission": added.outcome})
        return
    if not added.created:
        remark("the vault already has this memory")
    elif added.outcome == "quarantined":
        remark(f"it waits for a review: {'; '.join(added.reasons)}")
    print(added.memory.id)


@app.command()
def search(
    query: Annotated[str, typer.Argument(help="What is looked for.")],
    vault: Annotated[list[str] | None, typer.Option(help="Repeatable; default: `default`.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=200, help="How many.")] = 10,
    mode: Annotated[Literal["hybrid", "dense", "lexical", "graph"], typer.Option(help="How to look.")] = "hybrid",
    kind: Annotated[list[str] | None, typer.Option("--type", help="Only of this type; repeatable.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag; repeatable.")] = None,
    as_of: Annotated[str | None, typer.Option(help="What the store believed then: a date or time.")] = None,
    at: Annotated[str | None, typer.Option(help="What was true then: a date or time.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say why each one was found.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find memories, best first; exits 0 also when there is none."""
    from memory.types import Query

    asked: Query = Query(
        query,
        vaults=tuple(vault or ()),
        k=k,
        mode=mode,
        kinds=tuple(kind or ()),  # type: ignore[arg-type]  # the store refuses a type that there is not
        tags=tuple(tag or ()),
        as_of=_time("--as-of", as_of),
        at=_time("--at", at),
        explain=explain,
    )

    async def work(memory: Memory, actor: Actor) -> Recall:
        return await memory.search(actor, asked)

    found = with_memory(work)
    if found.degraded:
        remark(f"not asked: {', '.join(found.degraded)}")
    if as_json:
        from api.routes.memory_answers import recall_body

        print_json(recall_body(found, {}))
        return
    for hit in found.hits:
        print(f"{hit.memory.id}  {hit.score:.3f}  {_short(hit.memory.content)}")
        if explain:
            print(f"    {hit.why}")


@app.command("list")
def list_(
    vault: InVault = None,
    state: Annotated[list[str] | None, typer.Option(help="Default: every live one; repeatable.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    cursor: Annotated[str | None, typer.Option(help="`next` of the page before.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the memories of a vault, newest first."""
    from memory.listing import Where

    where = Where(vault, states=tuple(state or ()))  # type: ignore[arg-type]  # an unknown state has no memories

    async def work(memory: Memory, actor: Actor) -> Page:
        return await memory.list(actor, where, after=cursor, limit=limit)

    page = with_memory(work)
    if as_json:
        from api.routes.memory_answers import memory_body

        print_json({"items": [memory_body(cube) for cube in page.items], "next": page.next})
        return
    rows = [[cube.id, cube.semantic_type, cube.state, _short(cube.content)] for cube in page.items]
    print(table(["id", "type", "state", "content"], rows))
    if page.next:
        remark(f"more: --cursor {page.next}")


@app.command()
def show(memory_id: Id, as_json: AsJson = False) -> None:
    """Show one memory with its header."""

    async def work(memory: Memory, actor: Actor) -> MemCube:
        return await memory.get(actor, memory_id)

    _print(with_memory(work), as_json)


@app.command()
def edit(
    memory_id: Id,
    content: Annotated[str | None, typer.Option(help="The new text; without it an editor opens.")] = None,
    reason: Reason = "",
    as_json: AsJson = False,
) -> None:
    """Change the text, with --content or in $EDITOR; refused when somebody else changed it meanwhile."""
    from memory.types import Change

    async def read(memory: Memory, actor: Actor) -> MemCube:
        return await memory.get(actor, memory_id, verb="write")

    before = with_memory(read)
    text = content if content is not None else _edited(before.content)
    if text is None or text == before.content:
        remark("nothing was changed")
        _print(before, as_json)
        return
    change = Change({"content": text}, reason=reason)

    async def write(memory: Memory, actor: Actor) -> MemCube:
        return await memory.edit(actor, memory_id, change, expect=before.version)

    _print(with_memory(write), as_json)


@app.command()
def history(memory_id: Id, as_json: AsJson = False) -> None:
    """List every version, newest first."""

    async def work(memory: Memory, actor: Actor) -> Sequence[Version]:
        return await memory.history(actor, memory_id)

    versions = with_memory(work)
    if as_json:
        from api.routes.memory_answers import version_body

        print_json({"items": [version_body(version) for version in versions], "next": None})
        return
    rows = [
        [
            str(v.version),
            f"{v.sys_from:%Y-%m-%d %H:%M:%S}",
            v.change,
            v.reason,
            "erased" if v.redacted else _short(v.content),
        ]
        for v in versions
    ]
    print(table(["version", "from", "change", "reason", "content"], rows))


@app.command()
def restore(
    memory_id: Id,
    version: Annotated[
        int | None, typer.Argument(min=1, help="Default: bring back what was archived or deleted.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an old version the next one, or bring back a memory that was archived, merged or deleted."""

    async def work(memory: Memory, actor: Actor) -> MemCube:
        if version is None:
            return await memory.move(actor, memory_id, "restore")
        last = (await memory.history(actor, memory_id))[0]
        return await memory.restore(actor, memory_id, version, expect=last.version)

    _print(with_memory(work), as_json)


@app.command()
def delete(memory_id: Id, reason: Reason = "", as_json: AsJson = False) -> None:
    """Take a memory out of sight; `restore` brings it back until its purge date."""

    async def work(memory: Memory, actor: Actor) -> MemCube:
        seen = await memory.get(actor, memory_id, verb="delete")
        return await memory.delete(actor, memory_id, expect=seen.version, reason=reason)

    cube = with_memory(work)
    if as_json:
        print_json({"id": cube.id, "version": cube.version, "state": cube.state, "purge_after": cube.purge_after})
    else:
        until = "" if cube.purge_after is None else f"; it is erased on {cube.purge_after:%Y-%m-%d}"
        print(f"{cube.id} is deleted{until}")


@app.command()
def purge(
    memory_id: Id,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase a memory for good, with its history, and print a receipt."""
    if not yes and sys.stdin.isatty():
        typer.confirm(f"erase {memory_id} and its history for good?", abort=True, err=True)

    async def work(memory: Memory, actor: Actor) -> Receipt:
        return await memory.purge(actor, memory_id)

    receipt = with_memory(work)
    if as_json:
        from api.routes.memory_answers import receipt_body

        print_json(receipt_body(receipt))
        return
    print(f"{receipt.memory_id} was erased at {receipt.at.isoformat()}")
    print(table(["what", "removed"], [[name, str(count)] for name, count in sorted(receipt.removed.items())]))
    if receipt.runs:
        remark(f"the logs of these runs may quote it: {', '.join(receipt.runs)}")
    if receipt.pending:
        remark(f"still to be done: {', '.join(receipt.pending)}")


def _content(text: str | None, file: Path | None) -> str:
    if (text is None) == (file is None):
        raise InvalidInput("expected exactly one of TEXT and --file", param="text")
    if file is None:
        return sys.stdin.read() if text == "-" else text or ""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--file {str(file)!r}: {error}; expected a readable UTF-8 file", param="file") from error


def _edited(before: str) -> str | None:
    after = click.edit(before, extension=".md")
    # Editors end the last line; a text that had no such end must not get one by being looked at.
    return after if after is None or before.endswith("\n") else after.removesuffix("\n")


def _time(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(
            f"{option} {text!r}: expected a date or time such as 2027-01-31 or 2027-01-31T09:00Z", param=option
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _not_admitted(added: Added) -> Exception:
    from runtime.errors import Conflict

    return Conflict(f"the memory was not stored: {'; '.join(added.reasons) or 'admission refused it'}", param="content")


def _print(cube: MemCube, as_json: bool) -> None:
    from api.routes.memory_answers import memory_body

    body = memory_body(cube)
    if as_json:
        print_json(body)
        return
    hidden = {"content", "uplift", "heat"}
    shown = {name: value for name, value in body.items() if name not in hidden and value not in (None, [], {})}
    for name, value in shown.items():
        print(f"{name}: {', '.join(map(str, value)) if isinstance(value, list) else value}")
    print(f"\n{cube.content}")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"
