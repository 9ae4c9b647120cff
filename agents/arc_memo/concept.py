"""A concept, a lesson, the memory that holds concepts; and what a model may write when it names one. Pure.

A concept is known by its exact name. It is a `structure` (something to see in a grid) or a `routine` (something to do),
with typed parameters, which may be routines themselves. A type is declared where it is first used, in any typing field,
as `name := definition`; the custom types of a memory are what its concepts declare, so they are derived, not kept. The
order of the concepts means nothing: everything made from a memory goes by their names. A concept may carry code that
programs call, its helper, with proofs: programs that are right and need it.

A model writes entries, not concepts: `ConceptEntry` takes whatever it can read and refuses nothing for its form.
Source: arcmemo §2, §3.3, §5.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, cast, get_args

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

from runtime.telemetry import get_logger
from runtime.types import JsonObject

Kind = Literal["structure", "routine"]
KINDS: Final[tuple[str, ...]] = get_args(Kind)
GRID_MANIPULATION: Final = "grid manipulation"
# A name is also the subject of a memory, which has at most 300 characters.
MAX_NAME: Final = 200
MAX_LINE: Final = 2000
MAX_ITEMS: Final = 100
MAX_HELPER: Final = 4000
DEFINES: Final = ":="
TYPE_NAME: Final = re.compile(r"[A-Za-z_][\w -]*$")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a concept; `typing` is python-like, with words of the domain."""

    name: str
    typing: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What a helper can be tried on again: a problem, the program that solved it and needs the helper, without the helper,
    and the train pairs, each an input and an output."""

    problem: str
    program: str
    train: tuple[tuple[list[list[int]], list[list[int]]], ...]

    def to_json(self) -> JsonObject:
        """As a concept keeps it."""
        return {
            "problem": self.problem,
            "program": self.program,
            "train": cast(JsonValue, [{"input": given, "output": wanted} for given, wanted in self.train]),
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Proof:
        """Read what `to_json` wrote."""
        return cls(kept["problem"], kept["program"], tuple((pair["input"], pair["output"]) for pair in kept["train"]))


@dataclass(frozen=True, slots=True)
class Concept:
    """See the module. `cues`: what shows that it may matter; `implementation`: how it was coded before; `used_in`: the ids
    of the problems whose programs used it; `helper`: the source of a function, and `proofs` of it, the oldest first."""

    name: str
    kind: Kind
    routine_subtype: str | None = None
    output_typing: str | None = None
    parameters: tuple[Parameter, ...] = ()
    description: str | None = None
    cues: tuple[str, ...] = ()
    implementation: tuple[str, ...] = ()
    used_in: tuple[str, ...] = ()
    helper: str | None = None
    proofs: tuple[Proof, ...] = ()

    @property
    def typings(self) -> list[str]:
        """What stands in its typing fields."""
        return [typing for typing in (self.output_typing, *(each.typing for each in self.parameters)) if typing]

    @property
    def custom_types(self) -> dict[str, str]:
        """The types that its typing fields declare; the first declaration of a name counts."""
        found: dict[str, str] = {}
        for typing in self.typings:
            for name, definition in definitions(typing):
                found.setdefault(name, definition)
        return found

    def to_json(self) -> JsonObject:
        """The concept as the `data` of a memory (memory/payloads.py)."""
        parameters = [{"name": p.name, "typing": p.typing, "description": p.description} for p in self.parameters]
        code: JsonObject = {"helper": self.helper} if self.helper else {}
        if self.proofs:
            code["proofs"] = [proof.to_json() for proof in self.proofs]
        return {
            "concept": self.name,
            "kind": self.kind,
            "routine_subtype": self.routine_subtype,
            "output_typing": self.output_typing,
            "parameters": cast(JsonValue, parameters),
            "description": self.description,
            "cues": [*self.cues],
            "implementation": [*self.implementation],
            "used_in": [*self.used_in],
            **code,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Concept:
        """Read what `to_json` wrote; what a person left out is empty, an unknown kind is a routine."""
        return cls(
            name=data["concept"],
            kind=data["kind"] if data.get("kind") in KINDS else "routine",
            routine_subtype=data.get("routine_subtype"),
            output_typing=data.get("output_typing"),
            parameters=tuple(
                Parameter(each["name"], each.get("typing"), each.get("description"))
                for each in data.get("parameters") or ()
            ),
            description=data.get("description"),
            cues=tuple(data.get("cues") or ()),
            implementation=tuple(data.get("implementation") or ()),
            used_in=tuple(data.get("used_in") or ()),
            helper=as_code(data.get("helper")),
            proofs=tuple(map(Proof.from_json, data.get("proofs") or ())),
        )


@dataclass(frozen=True, slots=True)
class Lesson:
    """What to do in which situation; `source` is the id of the problem that it came from."""

    situation: str
    suggestion: str
    source: str


@dataclass(frozen=True, slots=True)
class ConceptMemory:
    """The concepts by name."""

    concepts: Mapping[str, Concept] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """All names in order."""
        return sorted(self.concepts)

    @property
    def custom_types(self) -> dict[str, str]:
        """Name and definition of the types that concepts declare, by name; of two definitions the one of the concept whose
        name comes first counts."""
        found: dict[str, str] = {}
        for name in self.names:
            for type_name, definition in self.concepts[name].custom_types.items():
                found.setdefault(type_name, definition)
        return dict(sorted(found.items()))

    @property
    def categories(self) -> dict[str, list[str]]:
        """The names by kind."""
        return {kind: [name for name in self.names if self.concepts[name].kind == kind] for kind in KINDS}

    def to_json(self) -> JsonObject:
        """The memory as one object: equal memories give the same bytes."""
        return {
            "concepts": {name: self.concepts[name].to_json() for name in self.names},
            "custom_types": cast(JsonValue, self.custom_types),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ConceptMemory:
        """Read what `to_json` wrote."""
        return cls({name: Concept.from_json(each) for name, each in data["concepts"].items()})


def definitions(typing: str) -> list[tuple[str, str]]:
    """The `name := definition` pairs of a typing field. A name may have several words; a definition ends at a `;`, or
    where the bracket around it does."""
    found: list[tuple[str, str]] = []
    for part in typing.split(";"):
        before, sign, after = part.partition(DEFINES)
        name = TYPE_NAME.search(before.rstrip())
        definition = _balanced(after).strip()
        if sign and name and definition:
            found.append((" ".join(name.group().split()), definition))
    return found


def _balanced(text: str) -> str:
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign in "[(") - (sign in "])")
        if depth < 0:
            return text[:place]
    return text


# -- what a model writes -----------------------------------------------------------------------------------------------


def as_line(value: object) -> str:
    """Whatever a model wrote for a text, on one line. `a: b` without quotes is a mapping to a parser; it is a text again."""
    match value:
        case None:
            text = ""
        case str():
            text = value
        case {**pairs} if len(pairs) == 1:
            ((key, inner),) = pairs.items()
            text = f"{as_line(key)}: {as_line(inner)}"
        case _:
            text = json.dumps(value, ensure_ascii=False, default=str)
            log.debug("arc_memo.stringified", text=text)
    plain = text.replace("\x00", " ").encode("utf-8", "ignore").decode()
    return " ".join(plain.split())[:MAX_LINE].rstrip()


def as_lines(value: object) -> list[str]:
    """A list of texts; one alone is a list too, and empty ones are left out."""
    items = value if isinstance(value, list) else [] if value is None else [value]
    return [line for line in map(as_line, items) if line][:MAX_ITEMS]


def as_code(value: object) -> str | None:
    """The text of a helper, without blanks at its ends; None when there is none, or one longer than `MAX_HELPER`."""
    if not isinstance(value, str):
        return None
    plain = value.replace("\x00", " ").encode("utf-8", "ignore").decode()
    lines = [line.rstrip() for line in re.split(r"\r\n?|\n", plain)]
    code = "\n".join(lines).strip("\n")
    return code if 0 < len(code) <= MAX_HELPER else None


def _as_name(value: object) -> str:
    return as_line(value)[:MAX_NAME].rstrip()


def _as_optional(value: object) -> str | None:
    return as_line(value) or None


Name = Annotated[str, BeforeValidator(_as_name)]
Line = Annotated[str, BeforeValidator(as_line)]
OptionalLine = Annotated[str | None, BeforeValidator(_as_optional)]
Lines = Annotated[list[str], BeforeValidator(as_lines)]


class ParameterEntry(BaseModel):
    """A parameter as a model writes it: an object, `name: typing`, or a bare name."""

    name: Name
    typing: OptionalLine = None
    description: OptionalLine = None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        match value:
            case {"name": _} | ParameterEntry():
                return value
            case {**pairs} if len(pairs) == 1:
                ((name, rest),) = pairs.items()
                return {**rest, "name": name} if isinstance(rest, dict) else {"name": name, "typing": rest}
            case {**pairs}:
                return {**pairs, "name": None}
            case _:
                name, _, typing = as_line(value).partition(": ")
                return {"name": name, "typing": typing}


def _as_parameters(value: object) -> object:
    match value:
        case {"name": _}:
            return [value]
        case {**pairs}:
            return [{name: rest} for name, rest in pairs.items()][:MAX_ITEMS]
        case list():
            return value[:MAX_ITEMS]
        case None:
            return []
        case _:
            return [value]


class ConceptEntry(BaseModel):
    """What a model says of a concept: a new one, more about a known one, or only its name, which records that it was used.

    Nothing is refused for its form; unknown keys are ignored, and an entry without a name has an empty one.
    """

    model_config = ConfigDict(
        extra="ignore", populate_by_name=True, json_schema_extra=lambda schema: schema.update(required=["name"])
    )

    name: Name = Field("", validation_alias=AliasChoices("name", "concept"))
    kind: OptionalLine = None
    routine_subtype: OptionalLine = None
    output_typing: OptionalLine = None
    parameters: Annotated[list[ParameterEntry], BeforeValidator(_as_parameters)] = []
    description: OptionalLine = None
    cues: Lines = []
    implementation: Lines = []

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        if isinstance(value, cls):
            return value
        if isinstance(value, dict):
            known = {"concept", *cls.model_fields}
            return value if len(value) != 1 or known & value.keys() else {"name": value}
        return {"name": value}


class CodedEntry(ConceptEntry):
    """An entry that may come with a helper."""

    helper: Annotated[str | None, BeforeValidator(as_code)] = None


class LessonEntry(BaseModel):
    """What a model says of a lesson; one without both fields is no lesson."""

    model_config = ConfigDict(
        extra="ignore", json_schema_extra=lambda schema: schema.update(required=["situation", "suggestion"])
    )

    situation: Line = ""
    suggestion: Line = ""
