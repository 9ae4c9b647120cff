"""`mneme memory forget-problem`: what was learned from a problem is taken out, as when its program turns out to be wrong.

Source: arcmemo §5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.output import AsJson, print_json, remark, table
from api.cli.remembering import InVault, with_memory

if TYPE_CHECKING:
    from memory.revisions import Revised
    from memory.service import Memory
    from memory.types import Actor


def forget_problem(
    problem: Annotated[str, typer.Argument(help="The id of the problem, as `used_in` of a concept has it.")],
    vault: InVault = None,
    as_json: AsJson = False,
) -> None:
    """Take out what a problem left: its lessons, the concepts that no other problem used, its place in those of others.

    `restore` brings a memory back.
    """
    from agents.arc_memo import keeping
    from memory.access import DEFAULT

    async def work(memory: Memory, actor: Actor) -> Revised:
        return await keeping.forget_problem(memory, actor, vault or DEFAULT, problem)

    done = with_memory(work)
    for reason in done.skipped:
        remark(f"left as it is: {reason}")
    if as_json:
        items = [{"id": each.id, "version": each.version, "op": each.op} for each in done.written]
        print_json({"items": items, "skipped": [*done.skipped]})
        return
    if not done.written:
        print(f"nothing of problem {problem!r} was changed")
        return
    print(table(["id", "what"], [[each.id, each.op] for each in done.written]))
