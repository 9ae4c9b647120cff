"""Typed trees: what kinds of task there are and what each may do.

A caller may replace the free tree by named kinds of task. Each kind has its tools, a hint for the thought, the form of
its conclusion and a shape of its subtasks:

    null                    none: a task of this kind is a leaf
    {"list": "read"}        one or more, all of one kind
    {"tuple": ["a", "b"]}   exactly these, in this order
    {"union": ["a", "b"]}   one or more, each of one of these kinds

A kind with a shape must go down and one without cannot; only at the depth cap every task goes without subtasks. `root`
is the shape of the top list. In a document the title of a typed task is its kind, or begins with it (`read: page 2`);
that is how a reader of the document knows the kind. Source: TIM §2.1, §8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from agents.tooling.schemas import malformed
from runtime.errors import InvalidInput
from runtime.types import JsonObject

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=64)]
Tool = Annotated[str, Field(min_length=1, max_length=200)]
MAX_DEPTH: Final = 16


class _Edge(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shape(_Edge):
    """The shape of a list of tasks; exactly one of the three is given."""

    each: Name | None = Field(None, alias="list")
    order: tuple[Name, ...] | None = Field(None, alias="tuple", min_length=1, max_length=64)
    either: tuple[Name, ...] | None = Field(None, alias="union", min_length=1, max_length=64)

    @model_validator(mode="after")
    def _one(self) -> Shape:
        given = [part for part in (self.each, self.order, self.either) if part is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one of 'list', 'tuple' and 'union', found {len(given)}")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind that it names, once, in order."""
        named = (self.each,) if self.each is not None else (self.order or self.either or ())
        return tuple(dict.fromkeys(named))

    def at(self, index: int) -> tuple[str, ...]:
        """The kinds that the task at `index` may have, counted from 0; empty when the list is complete."""
        return self.order[index : index + 1] if self.order is not None else self.kinds


class Kind(_Edge):
    """One kind of task. `must_call`: nothing comes before the call of one of its tools, as long as the run may call any.
    `conclusion` is the JSON schema of its conclusion, null for text."""

    tools: tuple[Tool, ...] = ()
    must_call: bool = False
    hint: str = Field("", max_length=4_000)
    subtasks: Shape | None = None
    conclusion: JsonObject | None = None

    @field_validator("conclusion")
    @classmethod
    def _can_be_asked_for(cls, conclusion: JsonObject | None) -> JsonObject | None:
        return conclusion if conclusion is None else usable(conclusion, "conclusion")


class TypedTree(_Edge):
    """See the module. `max_depth`: levels of tasks, the top list is 1; needed where a kind can come up within itself."""

    root: Shape
    kinds: dict[Name, Kind] = Field(min_length=1, max_length=64)
    max_depth: int | None = Field(None, ge=1, le=MAX_DEPTH)

    @classmethod
    def parse(cls, data: JsonObject) -> TypedTree:
        """Read a typed tree as a caller writes it. Raises `InvalidInput` whose `param` is the key at fault."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(["tree", *(str(part) for part in first["loc"])])
            raise InvalidInput(f"{key}: {first['msg'].removeprefix('Value error, ')}", param=key) from error

    @model_validator(mode="after")
    def _connected(self) -> TypedTree:
        for key, shape in self._shapes():
            for name in shape.kinds:
                if name not in self.kinds:
                    known = ", ".join(self.kinds)
                    raise ValueError(f"{key} names the kind {name!r}, which is not in 'kinds'; known: {known}")
        for name, kind in self.kinds.items():
            if kind.must_call and not kind.tools:
                raise ValueError(f"kinds.{name}: 'must_call' needs 'tools' to call one of")
        levels = self._levels(len(self.kinds) + 1)
        reached = {name for level in levels for name in level}
        if lost := [name for name in self.kinds if name not in reached]:
            raise ValueError(
                f"kinds {lost!r} can never come up; name them in a shape that leads from 'root', or drop them"
            )
        # A path that is longer than there are kinds passes one of them twice.
        if levels[-1] and self.max_depth is None:
            ring = [name for name in self.kinds if name in self._below(name)]
            raise ValueError(f"kinds {ring!r} can come up within themselves; set 'max_depth' so that the tree ends")
        return self

    def next_kinds(self, parent_kind: str | None, index: int) -> tuple[str, ...]:
        """The kinds that child `index` (from 0) of a `parent_kind` may have; None: of the top list.

        Empty when the list is complete. Raises `InvalidInput` for a kind that does not exist.
        """
        shape = self._shape(parent_kind)
        return shape.at(index) if shape is not None else ()

    def must_close(self, parent_kind: str | None, count: int) -> bool:
        """Whether a list of `count` tasks is complete, so that its last task cannot say `more`."""
        return not self.next_kinds(parent_kind, count)

    def may_close(self, parent_kind: str | None, count: int) -> bool:
        """Whether a list may end after `count` tasks: a tuple only when it is complete."""
        shape = self._shape(parent_kind)
        return shape is None or count >= (len(shape.order) if shape.order is not None else 1)

    def descends(self, kind: str) -> bool:
        """Whether a task of this kind has subtasks: always, or never; at the depth cap it has none."""
        return self._kind(kind).subtasks is not None

    def tools_of(self, kind: str) -> tuple[str, ...]:
        """The tools that a task of this kind may call; empty for none."""
        return self._kind(kind).tools

    def hint_of(self, kind: str) -> str:
        """What the thought of such a task should be about; empty for no hint."""
        return self._kind(kind).hint

    def conclusion_schema(self, kind: str) -> JsonObject | None:
        """The JSON schema of the conclusion of such a task; None for text."""
        return self._kind(kind).conclusion

    def check_tools(self, known: Sequence[str]) -> None:
        """Raises `InvalidInput` when a kind names a tool that is not among the `known`."""
        for name, kind in self.kinds.items():
            for tool in kind.tools:
                if tool not in known:
                    raise InvalidInput(
                        f"tree.kinds.{name}.tools names {tool!r}; available: {', '.join(known) or 'none'}",
                        param=f"tree.kinds.{name}.tools",
                    )

    def levels(self, max_depth: int) -> list[tuple[str, ...]]:
        """The kinds that can stand at depth 1, 2, … down to the cap: `max_depth` or the own one, the smaller."""
        return self._levels(max_depth if self.max_depth is None else min(max_depth, self.max_depth))

    def _kind(self, kind: str) -> Kind:
        if kind not in self.kinds:
            raise InvalidInput(f"tree: there is no kind {kind!r}; known: {', '.join(self.kinds)}", param="tree.kinds")
        return self.kinds[kind]

    def _shape(self, parent_kind: str | None) -> Shape | None:
        return self.root if parent_kind is None else self._kind(parent_kind).subtasks

    def _shapes(self) -> Iterator[tuple[str, Shape]]:
        yield "root", self.root
        for name, kind in self.kinds.items():
            if kind.subtasks is not None:
                yield f"kinds.{name}.subtasks", kind.subtasks

    def _levels(self, depth: int) -> list[tuple[str, ...]]:
        found = [tuple(name for name in self.kinds if name in self.root.kinds)]
        while len(found) < depth:
            below = {child for name in found[-1] for child in self._children(name)}
            found.append(tuple(name for name in self.kinds if name in below))
        return found

    def _children(self, kind: str) -> tuple[str, ...]:
        shape = self.kinds[kind].subtasks
        return shape.kinds if shape is not None else ()

    def _below(self, kind: str) -> set[str]:
        found: set[str] = set()
        waiting = list(self._children(kind))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self._children(name))
        return found


def usable(schema: JsonObject, name: str) -> JsonObject:
    """The schema, when a reply can be bound to it as a part of another. Raises `ValueError`, which pydantic reports."""
    if (wrong := malformed(schema)) is not None:
        raise ValueError(wrong)
    try:
        embedded(schema, name, {})
    except InvalidInput as error:
        raise ValueError(error.message) from error
    return schema


_OF_A_ROOT: Final = ("$schema", "$id", "$defs", "definitions")


def embedded(schema: JsonObject, name: str, defs: JsonObject) -> JsonObject:
    """`schema` as a part of another: its definitions move into `defs`, under names that begin with `name`.

    Raises `InvalidInput` for a reference to anything but a definition: in the whole it would lead elsewhere.
    """

    def moved(part: JsonValue) -> JsonValue:
        if isinstance(part, list):
            return [moved(each) for each in part]
        if not isinstance(part, dict):
            return part
        made = {key: moved(value) for key, value in part.items() if key not in _OF_A_ROOT}
        if isinstance(to := part.get("$ref"), str):
            _, _, key = to.rpartition("/")
            if key not in own or to not in (f"#/$defs/{key}", f"#/definitions/{key}"):
                raise InvalidInput(
                    f"the schema of {name!r} refers to {to!r}; expected a reference to one of its own '$defs'",
                    param=name,
                )
            made["$ref"] = f"#/$defs/{name}.{key}"
        return made

    own: JsonObject = {}
    for group in ("definitions", "$defs"):
        if isinstance(found := schema.get(group), dict):
            own.update(found)
    defs.update({f"{name}.{key}": moved(part) for key, part in own.items()})
    whole = moved(schema)
    return whole if isinstance(whole, dict) else {}
