"""A helper is kept when it was tried: the program of a problem is right with it and wrong without it.

The problem, its program and its train pairs stay with the concept as a proof. A helper that comes to replace another is
first run with every proof of that one; where one fails, the old helper stays. All of it runs in the sandbox, before
anything is written. The write, which may meet a concept that has changed meanwhile, only compares: a helper is taken for
a concept whose helper and proofs are those that were replayed. A helper without proofs was written by a person, and no
model replaces it. Source: ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from agents.arc_memo.concept import Concept, Proof
from agents.arc_memo.config import ArcMemoConfig
from agents.arc_memo.grids import Grid, problem_id
from agents.arc_memo.helpers import Helper, NoHelper, apart, called, described
from agents.arc_memo.programs import ENTRY, Attempt, holds, linked, program_of
from agents.base import Context, Step
from agents.tasks import ArcTask
from runtime.events import CheckFailed, StepCompleted
from runtime.sandbox.base import Limits
from runtime.types import JsonObject

MAX_OFFERED: Final = 8
MAX_PROOFS: Final = 6
MAX_PROOF_CHARS: Final = 40_000
NOTHING: Final = f"def {ENTRY}(grid):\n    return grid\n"


@dataclass(frozen=True, slots=True)
class Proven:
    """A helper of a concept that a problem proves; one more proof when the concept has that helper already. `replayed`: what
    the concept held when it was tried, see `state_of`."""

    concept: str
    helper: str
    proof: Proof
    replayed: str

    def applied(self, concept: Concept) -> Concept | None:
        """The concept with it; None for one that holds another helper, or of another helper other proofs, than was tried."""
        if concept.helper != self.helper and state_of(concept) != self.replayed:
            return None
        if concept.helper == self.helper and self.proof in concept.proofs:
            return concept
        others = [proof for proof in concept.proofs if proof.problem != self.proof.problem]
        return replace(concept, helper=self.helper, proofs=tuple([*others, self.proof][-MAX_PROOFS:]))

    def to_json(self) -> JsonObject:
        """As a step keeps it."""
        return {
            "concept": self.concept,
            "helper": self.helper,
            "proof": self.proof.to_json(),
            "replayed": self.replayed,
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Proven:
        """Read what `to_json` wrote."""
        return cls(**{**kept, "proof": Proof.from_json(kept["proof"])})


def state_of(concept: Concept | None) -> str:
    """A hash of the helper and the proofs of a concept; that of one without any when there is no concept."""
    held = [concept.helper, [proof.to_json() for proof in concept.proofs]] if concept else [None, []]
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()


async def proved(
    ctx: Context,
    step: Step,
    config: ArcMemoConfig,
    task: ArcTask,
    best: Attempt,
    *,
    offered: Mapping[str, str],
    program: str | None,
    known: Mapping[str, Concept],
) -> list[Proven]:
    """What the solved problem proves: of the helpers that were offered for concepts, and of those that `best` was run with.

    `program`: the program as the model wrote it anew to call what it offers; `known`: the concepts as the memory holds them.
    What is not taken, and why, is told in the log. Raises `SandboxUnavailable`.
    """
    proving = _Proving(ctx, step, config, task)
    used = await proving.read(best.helpers)
    new = await proving.accepted({name: source for name, source in offered.items() if not _has(known, name, source)})
    source, helpers = best.source or "", dict(best.helpers)
    if new:
        anew = _rewritten(program) or source
        together = called(apart([*{**used, **new}.values()]), anew)
        if together.keys() & new.keys() and await proving.right(linked(together.values(), anew), "with"):
            source, helpers = anew, together
        else:
            await proving.refuse([*new], "the program that calls it does not get every train pair right")
            new = {}
    found: list[Proven] = []
    for concept, helper in helpers.items():
        if concept not in new and not _has(known, concept, helper):
            continue
        made = await proving.proven(concept, helper, source, helpers, known.get(concept))
        found += [made] if made else []
    await step.emit(StepCompleted(name=step.key, detail={"helpers": [each.concept for each in found]}))
    return found


@dataclass(frozen=True, slots=True)
class _Proving:
    ctx: Context
    step: Step
    config: ArcMemoConfig
    task: ArcTask

    @property
    def train(self) -> tuple[tuple[Grid, Grid], ...]:
        return tuple(([[*row] for row in pair.input], [[*row] for row in pair.output]) for pair in self.task.train)

    async def refuse(self, concepts: Sequence[str], why: str) -> None:
        for concept in concepts:
            await self.step.emit(CheckFailed(name=self.step.key, detail=f"helper of {concept!r}: {why}"))

    async def read(self, sources: Mapping[str, str]) -> dict[str, Helper]:
        concepts = [Concept(name, "routine", helper=source) for name, source in sources.items()]
        found = await described(self.ctx, concepts, self.config.seconds)
        for concept, helper in zip(concepts, found, strict=True):
            if isinstance(helper, NoHelper):
                await self.refuse([concept.name], helper.why)
        return {helper.concept: helper for helper in found if isinstance(helper, Helper)}

    async def accepted(self, offered: Mapping[str, str]) -> dict[str, Helper]:
        """Those that are functions and can be loaded alone."""
        first = dict([*offered.items()][:MAX_OFFERED])
        found = await self.read(first)
        for number, (concept, helper) in enumerate([*found.items()]):
            cell: Grid = [[0]]
            if not await self.right(linked([helper.source], NOTHING), f"alone.{number}", [(cell, cell)]):
                await self.refuse([concept], "it cannot be loaded alone")
                del found[concept]
        return found

    async def right(self, source: str, name: str, pairs: Sequence[tuple[Grid, Grid]] | None = None) -> bool:
        limits = Limits(seconds=self.config.seconds)
        return await holds(self.ctx, self.step, source, limits, self.train if pairs is None else pairs, name)

    async def proven(
        self, concept: str, helper: str, program: str, helpers: Mapping[str, str], known: Concept | None
    ) -> Proven | None:
        """The helper with its proof, when the program needs it and so far nothing speaks against it."""
        others = linked([source for name, source in helpers.items() if name != concept], program)
        proof = Proof(problem_id(self.task), others, self.train)
        old = known.helper if known else None
        if await self.right(others, f"without.{concept}"):
            await self.refuse([concept], "the program does not need it")
        elif len(json.dumps(proof.to_json())) > MAX_PROOF_CHARS:
            await self.refuse([concept], f"its proof is longer than {MAX_PROOF_CHARS} characters")
        elif known and old and old != helper and not known.proofs:
            await self.refuse([concept], "the one that is there was not learned; it stays")
        elif known and old != helper and (failing := await self.failing(helper, known)):
            await self.refuse([concept], f"the program of problem {failing!r} is not right with it; the old one stays")
        else:
            return Proven(concept, helper, proof, state_of(known))
        return None

    async def failing(self, helper: str, known: Concept) -> str | None:
        """The first problem whose program is not right with this helper."""
        for proof in known.proofs:
            name = f"replay.{known.name}.{proof.problem}"
            if not await self.right(linked([helper], proof.program), name, proof.train):
                return proof.problem
        return None


def _has(known: Mapping[str, Concept], name: str, helper: str) -> bool:
    return name in known and known[name].helper == helper


def _rewritten(program: str | None) -> str | None:
    if not program:
        return None
    found = program_of(program if "```" in program else f"```python\n{program}\n```")
    return found if isinstance(found, str) else None
