"""What the field `data` of a memory holds, per semantic type: checked on every write, so readers can rely on it.

Types without a model of their own take any JSON object. Agents write the learned ones: `experience` (Empirical-MCTS),
`concept` and `lesson` (ArcMemo), `note` (working memory), `file` (L2MAC), `memory_point` (HGMem); their fields are those
of the agents' sheets. Source: contract §4; the sheets of the agents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from memory.types import SemanticType
from runtime.errors import InvalidInput

MAX_BYTES = 1_000_000


class Payload(BaseModel):
    """Known keys are typed; an unknown one is refused, because nobody would ever read it."""

    model_config = ConfigDict(extra="forbid")


class ExperienceKey(Payload):
    """A question that an experience came from, by which it is found again; `problem_id` says where it stood."""

    text: str
    problem_id: str | None = None


class Experience(Payload):
    """What a search learned: a general lesson, the questions it came from, and which experiences went into it.

    `method` parts the stores of different methods in one vault. Source: Empirical-MCTS.
    """

    method: str | None = None
    keys: list[ExperienceKey] = []
    lineage: list[str] = []
    problem: str | None = None
    insight: str | None = None
    category: str | None = None
    op: Literal["add", "modify", "merge", "delete"] | None = None
    reward: float | None = None
    detail: dict[str, JsonValue] = {}


class Parameter(Payload):
    """A parameter of a concept."""

    name: str
    typing: str | None = None
    description: str | None = None


class Concept(Payload):
    """A typed, parameterised idea of how puzzles work; `used_in` names the problems. Source: ArcMemo, PS format."""

    concept: str
    kind: str | None = None
    routine_subtype: str | None = None
    output_typing: str | None = None
    parameters: list[Parameter] = []
    description: str | None = None
    cues: list[str] = []
    implementation: list[str] = []
    used_in: list[str] = []


class Pair(Payload):
    """A grid and what becomes of it."""

    input: list[list[int]]
    output: list[list[int]]


class Proof(Payload):
    """A program that is right and needs the helper of a concept, and what it is right on."""

    problem: str
    program: str
    train: list[Pair]


class ExecutableConcept(Concept):
    """The same with code: `helper` is the source of a function that programs may call, and it was tried on `proofs`."""

    helper: str | None = None
    proofs: list[Proof] = []


class Lesson(Payload):
    """A situation and what to do in it; `source` is the problem that it came from. Source: ArcMemo, OE format."""

    situation: str
    suggestion: str
    source: str | None = None


class Note(Payload):
    """A stretch of an agent's context that it put away, and the run it can be fetched back into. Source: memact."""

    run_id: str | None = None
    segments: list[str] = []
    tokens: int | None = Field(None, ge=0)


class File(Payload):
    """A file that an agent wrote. Source: L2MAC."""

    path: str
    language: str | None = None
    run_id: str | None = None
    sha256: str | None = None


class MemoryPoint(Payload):
    """A statement over several entities with the passages that carry it. Source: HGMem."""

    vertices: list[str] = []
    passages: list[str] = []
    order: int | None = Field(None, ge=1)
    step: int | None = Field(None, ge=0)


class ToolTrace(Payload):
    """A tool call and what came of it."""

    tool: str | None = None
    arguments: JsonValue = None
    result: JsonValue = None
    ok: bool | None = None


MODELS: Mapping[SemanticType, type[Payload]] = {
    "experience": Experience,
    "concept": ExecutableConcept,
    "lesson": Lesson,
    "note": Note,
    "file": File,
    "memory_point": MemoryPoint,
    "tool_trace": ToolTrace,
}


def checked(semantic_type: SemanticType, data: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """`data` as it is stored. Raises `InvalidInput` naming the field, what was expected, and the type of the memory."""
    try:
        size = len(orjson.dumps(dict(data)))
    except (TypeError, UnicodeEncodeError) as error:
        raise InvalidInput(
            f"data: {error}; expected a JSON object of plain text and 64-bit numbers", param="data"
        ) from error
    if size > MAX_BYTES:
        raise InvalidInput(
            f"data: {size} bytes; expected at most {MAX_BYTES}; store it as several memories", param="data"
        )
    if _has_no_number(data):
        raise InvalidInput("data: holds NaN or infinity, which JSON has not; leave the number out", param="data")
    model = MODELS.get(semantic_type)
    if model is None:
        return dict(data)
    try:
        # An empty payload is a memory of which only the text is known, as a person writes it.
        return model.model_validate(dict(data)).model_dump(mode="json", exclude_unset=True) if data else {}
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("data", *first["loc"]))
        raise InvalidInput(
            f"{where}: {first['msg']}; a {semantic_type!r} carries {sorted(model.model_fields)}", param=where
        ) from error


def names(semantic_type: SemanticType, data: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """What full text shall find beside the words of the memory: of an experience the questions that it came from."""
    keys = data.get("keys") if semantic_type == "experience" else None
    if not isinstance(keys, list):
        return ()
    return tuple(str(key["text"]) for key in keys if isinstance(key, dict) and key.get("text"))


def _has_no_number(value: object) -> bool:
    if isinstance(value, Mapping):
        return any(_has_no_number(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_has_no_number(item) for item in value)
    return isinstance(value, float) and not math.isfinite(value)
