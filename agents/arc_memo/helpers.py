"""Helpers: functions of concepts that programs may call, and how a program is put together with them.

A helper is the text of one function that stands alone. It is data wherever it comes from: read, and run, only in the
sandbox. A program gets the helpers whose names it holds, ahead of its own text, so a function of its own takes the place
of a helper of that name. How a helper gets into the memory: agents/arc_memo/proving.py. Source: ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from agents.arc_memo.concept import Concept, as_line
from agents.arc_memo.programs import ENTRY
from agents.arc_memo.prompting import PROMPTS, data
from agents.base import Context
from runtime.prompts import load_prompt
from runtime.sandbox.base import Limits, Program

HELPERS: Final = load_prompt(PROMPTS / "helpers.md")
READER: Final = Path(__file__).with_name("signature.py").read_text(encoding="utf-8")
NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{1,59}")


@dataclass(frozen=True, slots=True)
class Helper:
    """A helper as programs may call it. `signature` and `doc` are of one line."""

    concept: str
    name: str
    signature: str
    doc: str
    source: str

    def is_named_in(self, program: str) -> bool:
        """Whether the program holds its name, so that it may call it."""
        return re.search(rf"(?<![\w.]){self.name}(?!\w)", program) is not None


@dataclass(frozen=True, slots=True)
class NoHelper:
    """Why a text is no helper."""

    why: str


async def described(ctx: Context, concepts: Sequence[Concept], seconds: float) -> list[Helper | NoHelper]:
    """What the helpers of these concepts are, in their order. Raises `SandboxUnavailable`."""
    if not concepts:
        return []
    program = Program(READER, "signature", tuple(concept.helper for concept in concepts))
    outcome = await ctx.sandbox.run(program, tenant=ctx.owner, limits=Limits(seconds=seconds))
    return [_read(concept, case.value) for concept, case in zip(concepts, outcome.cases, strict=True)]


def apart(helpers: Iterable[Helper]) -> dict[str, Helper]:
    """By concept; of two functions of one name that of the concept whose name comes first."""
    kept: dict[str, Helper] = {}
    for helper in sorted(helpers, key=lambda each: each.concept):
        if helper.name not in {each.name for each in kept.values()}:
            kept[helper.concept] = helper
    return kept


def called(helpers: Mapping[str, Helper], program: str) -> dict[str, str]:
    """The texts of the helpers that the program names, by concept."""
    return {concept: helper.source for concept, helper in helpers.items() if helper.is_named_in(program)}


def listed(helpers: Mapping[str, Helper]) -> str:
    """What a solver is told of them; empty without any."""
    lines = [_line(helpers[concept]) for concept in sorted(helpers)]
    return HELPERS.render(helpers="\n".join(lines)) if lines else ""


def _line(helper: Helper) -> str:
    doc = f": {helper.doc}" if helper.doc else ""
    return data(as_line(f"- {helper.signature} ({helper.concept}){doc}"))


def _read(concept: Concept, said: JsonValue) -> Helper | NoHelper:
    match said:
        case {"name": str(name), "signature": str(signature), "doc": str(doc)} if NAME.fullmatch(name):
            if name == ENTRY:
                return NoHelper(f"{ENTRY!r} is the name of the program; expected another name")
            return Helper(concept.name, name, signature, doc, concept.helper or "")
        case {"why": str(why)}:
            return NoHelper(why)
        case _:
            return NoHelper("expected a function with a name of 2 to 60 letters, digits and underscores")
