"""`mneme memory learn`: a vault learns to rank from a file of questions and what was used for them. Source: ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.output import AsJson, print_json, remark, table
from api.cli.progress import bar
from api.cli.remembering import InVault, with_memory
from runtime.errors import InvalidInput

if TYPE_CHECKING:
    from memory.ranking.teaching import LearnedRanking, Used
    from memory.service import Memory
    from memory.types import Actor

EXPECTED = 'expected {"query": "…", "used": ["mem_…", …]}'


def learn(
    file: Annotated[Path, typer.Argument(help='JSON lines, each {"query": "…", "used": ["mem_…"]}.')],
    vault: InVault = None,
    as_json: AsJson = False,
) -> None:
    """Learn from which hits were used how the vault is to rank, in place of what it has learned before.

    Every question is asked again. With too little to learn from, nothing changes.
    """
    from memory.access import DEFAULT

    uses = read(file)
    with bar("asking again") as progress:

        async def work(memory: Memory, actor: Actor) -> LearnedRanking:
            return await memory.teaching.learn(actor, vault or DEFAULT, uses, progress=progress)

        learned = with_memory(work)
    _tell(learned, as_json=as_json)


def read(file: Path) -> list[Used]:
    """The uses of a file; empty lines do not count. Raises `InvalidInput` naming the line and what is wrong with it."""
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"FILE {str(file)!r}: {error}; expected a readable UTF-8 file", param="file") from error
    uses = [_use(file, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not uses:
        raise InvalidInput(f"FILE {str(file)!r}: is empty; {EXPECTED} on each line", param="file")
    return uses


def _use(file: Path, number: int, line: str) -> Used:
    from pydantic import ValidationError

    from api.routes.vault_ranking import UsedHits

    try:
        return UsedHits.model_validate_json(line).use()
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        told = f"{where}: {first['msg']}" if where else first["msg"]
        raise InvalidInput(f"FILE {str(file)!r}, line {number}: {told}; {EXPECTED}", param="file") from error


def _tell(learned: LearnedRanking, *, as_json: bool) -> None:
    if as_json:
        from api.routes.vault_ranking import learned_body

        print_json(learned_body(learned))
        return
    if learned.left_out:
        why = "none of what was used was found again, or not every index could be asked"
        remark(f"{learned.left_out} questions told nothing: {why}")
    if learned.weights is None:
        print(f"nothing was learned: {learned.why}")
        return
    from memory.ranking.fusion import WEIGHTS

    print(f"learned from {learned.samples} hits, of which {learned.used} were used")
    rows = [[name, f"{weight:.3f}", f"{WEIGHTS[name]:.3f}"] for name, weight in learned.weights.items()]
    print(table(["part", "weight", "default"], rows))
