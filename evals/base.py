"""What a suite is: samples to ask, and a grader of answers. The gold answer never leaves this side.

A sample is plain data: `task` is the `input` of a run as anybody could send it, and holds no gold answer; `gold` is seen by
`Suite.score` alone, behind the run. Splits are declared in the sample: what was learned from `test` must not be read in a
frozen evaluation (evals/guards.py). Source: evaluation sheet §2, §3.2, §3.8; style sheet §5.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, get_args, runtime_checkable

from pydantic import BaseModel, JsonValue

from agents.base import Answer
from memory.types import Draft
from runtime import textsafe
from runtime.types import JsonObject

if TYPE_CHECKING:
    from evals.records import Record

__all__ = [
    "SPLITS",
    "Answer",
    "DataSet",
    "Grader",
    "Sample",
    "Score",
    "Split",
    "Suite",
    "SuiteSpec",
    "TellsMore",
    "digest",
]

Split = Literal["test", "validation", "train", "experience"]
SPLITS: Final[tuple[Split, ...]] = get_args(Split)
# boxed: in the last \boxed{}; stated: "the answer is N"; tagged: between <answer> tags; bare: the last number, or the whole
# reply; token: as a word of its own; grid: the last grids of the reply; attempts: in the detail of the answer.
How = Literal["boxed", "stated", "tagged", "bare", "token", "grid", "attempts"]


@dataclass(frozen=True, slots=True)
class DataSet:
    """Records as they were read, and where from. `licence` is what its publisher says, or what we know of it."""

    name: str
    source: str
    licence: str
    split: Split
    records: tuple[JsonObject, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One problem. `set` is the data set it belongs to, `memories` is what a warm store holds for it, and `chance` the rate
    at which a blind guess in the range of the answers is right, where that is known."""

    id: str
    set: str
    task: JsonObject
    gold: JsonValue
    split: Split = "test"
    meta: Mapping[str, JsonValue] = field(default_factory=dict)
    memories: tuple[Draft, ...] = ()
    chance: float | None = None

    def normal(self) -> JsonObject:
        """The internal record: what was read, whatever its fields were called."""
        record: JsonObject = {
            "id": self.id,
            "prompt": self.task,
            "gold": self.gold,
            "meta": dict(self.meta),
            "split": self.split,
        }
        if self.memories:
            record["memories"] = [draft.content for draft in self.memories]
        return record


@dataclass(frozen=True, slots=True)
class Score:
    """What an answer is worth, from 0 to 1.

    `answer` is what was read from the reply and votes, None when there is none that counts; `how` it was found.
    `fallback`: what the reply would be worth if the answer that the fallback finds counted; reported apart. `parts`: what is
    kept in the record for figures of the suite's own (`TellsMore`).
    """

    value: float
    answer: str | None
    how: How | None
    fallback: float | None = None
    detail: str = ""
    parts: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def correct(self) -> bool:
        """Whether it is right in all parts."""
        return self.value == 1.0


class Grader(Protocol):
    """Says whether two mathematical answers mean the same, in a process that can be killed (agents/verifiers/math.py)."""

    async def equal(self, gold: str, answer: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class SuiteSpec:
    """What is known of a suite without running it. `sets`: the built-in data sets that are asked when none is named;
    `version` grows when the same answers would get other scores. `by_id`: an id names the same problem in every suite and
    data set, so a memory that came from a problem of that id is not read where it is asked (evals/guards.py)."""

    name: str
    version: int
    description: str
    sets: tuple[str, ...]
    options: type[BaseModel]
    by_id: bool = False


class Suite(Protocol):
    """Data and a scorer; stateless, so one object serves every evaluation. Registered in evals/registry.py."""

    @property
    def spec(self) -> SuiteSpec: ...

    def samples(self, data: DataSet, options: BaseModel) -> list[Sample]:
        """The samples of a data set, in its order. Raises `InvalidInput` naming the record that cannot be read."""
        ...

    async def score(self, sample: Sample, answer: Answer, grader: Grader) -> Score:
        """Grade an answer. Raises nothing: what cannot be read is worth nothing."""
        ...


@runtime_checkable
class TellsMore(Protocol):
    """Optional ability of a suite: figures of its own beside the accuracy, and a picture of one attempt."""

    def figures(self, records: Sequence[Record]) -> JsonObject:
        """From the records of an evaluation, for `figures` of its summary. Pure."""
        ...

    def lines(self, told: Mapping[str, Any]) -> list[str]:
        """These figures as lines of the report."""
        ...

    def picture(self, asked: Mapping[str, Any], record: Record, *, colour: bool) -> str:
        """One attempt for a terminal; `asked` is the line of samples.jsonl, with the gold answer."""
        ...


def digest(samples: Sequence[Sample]) -> str:
    """SHA-256 (hex) of the normalised records in their order, one JSON line with sorted keys each."""
    hashed = hashlib.sha256()
    for sample in samples:
        hashed.update(textsafe.dumps(_sorted(sample.normal())).encode())
        hashed.update(b"\n")
    return hashed.hexdigest()


def _sorted(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
