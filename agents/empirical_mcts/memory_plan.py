"""A plan of the memory agent, and what it may do: the rules under which operations become changes. Pure.

The model names experiences by the numbers under which it was shown them. What it names may have changed or gone since; then
its text is not lost, but becomes a new experience, and nothing is deleted. Each experience is touched once in a plan, one
at most is deleted, and no text comes in that is there already.

    published   modify and merge leave the old ones and write a new one under today's question, as the released code does
    otherwise   an experience keeps its id, and every question that it ever came from

Source: empirical_mcts §3.8, §5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, Protocol

from pydantic import BaseModel, BeforeValidator, ConfigDict

from agents.empirical_mcts.judging import MAX_LESSON_CHARS
from runtime.types import JsonObject

MAX_DELETES: Final = 1


def _all_asked_for(schema: dict[str, Any]) -> None:
    schema["required"] = [name for name in schema["properties"] if name in ("think", "plan")]


class Op(BaseModel):
    """One operation; what it needs depends on the option."""

    option: Literal["add", "modify", "merge", "delete"]
    experience: str | None = None
    modified_from_id: int | None = None
    merged_from_ids: list[int] | None = None
    delete_id: int | None = None

    @property
    def text(self) -> str:
        """The text on one line; empty when there is none."""
        said = (self.experience or "").replace("\x00", " ").encode("utf-8", "ignore").decode()
        return " ".join(said.split())[:MAX_LESSON_CHARS].strip()


class MemoryPlan(BaseModel):
    """What the memory agent writes."""

    model_config = ConfigDict(json_schema_extra=_all_asked_for)
    think: Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) else "")] = ""
    plan: list[Op]


class Collection(Protocol):
    """What is there when the plan is applied, by the numbers that the model saw."""

    def state(self, number: int) -> Literal["unknown", "gone", "changed", "there"]:
        """`unknown`: never shown; `gone`: not there, or not to be changed; `changed`: in another version than was shown."""
        ...

    def same(self, text: str) -> Sequence[int | str]:
        """The experiences that say what this text says: the number of one that was shown, the id of any other."""
        ...

    def alike(self, a: str, b: str) -> bool:
        """Whether two texts say the same."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """One change. `numbers` are those it touches: one for modify and delete, one or more for merge."""

    kind: Literal["add", "modify", "merge", "delete"]
    text: str = ""
    numbers: tuple[int, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """An operation that is not done, and why."""

    why: str


def additions(lessons: Sequence[str]) -> list[Op]:
    """The plan for when there is none: every lesson as it is."""
    return [Op(option="add", experience=lesson) for lesson in lessons]


def decide(plan: Sequence[Op], there: Collection) -> list[Decision | Skipped]:
    """What becomes of each operation, in order."""
    deciding = _Deciding(there)
    return [deciding.op(op) for op in plan]


@dataclass(slots=True)
class _Deciding:
    there: Collection
    touched: set[int] = field(default_factory=set)
    written: list[str] = field(default_factory=list)
    deleted: int = 0

    def op(self, op: Op) -> Decision | Skipped:
        match op.option:
            case "add":
                return self._add(op.text) if op.text else Skipped("add: the text is empty")
            case "modify":
                return self._modify(op)
            case "merge":
                return self._merge(op)
            case "delete":
                return self._delete(op)

    def _add(self, text: str, why: str = "") -> Decision | Skipped:
        said = why or "add"
        there = [name for name in self.there.same(text) if name not in self.touched]
        if there:
            return Skipped(f"{said}: {there[0]} says this already")
        if any(self.there.alike(text, other) for other in self.written):
            return Skipped(f"{said}: the plan has written this already")
        self.written.append(text)
        return Decision("add", text, why=why)

    def _modify(self, op: Op) -> Decision | Skipped:
        number = op.modified_from_id
        if not op.text:
            return Skipped(f"modify {number}: the text is empty; nothing is changed")
        if number in self.touched:
            return Skipped(f"modify {number}: the plan has touched it already")
        state = "unknown" if number is None else self.there.state(number)
        if number is None or state != "there":
            return self._add(op.text, f"modify {number}: it is {state}, so its text is added")
        return self._touch(Decision("modify", op.text, (number,)))

    def _merge(self, op: Op) -> Decision | Skipped:
        numbers = list(dict.fromkeys(op.merged_from_ids or []))
        if not op.text:
            return Skipped(f"merge {numbers}: the text is empty; nothing is changed")
        if twice := self.touched.intersection(numbers):
            return Skipped(f"merge {numbers}: the plan has touched {sorted(twice)} already")
        alive = tuple(number for number in numbers if self.there.state(number) == "there")
        if len(numbers) < 2 or not alive:
            return self._add(op.text, f"merge {numbers}: it takes two, of which one is there, so its text is added")
        return self._touch(Decision("merge", op.text, alive))

    def _delete(self, op: Op) -> Decision | Skipped:
        number = op.delete_id
        if number in self.touched:
            return Skipped(f"delete {number}: the plan has touched it already")
        state = "unknown" if number is None else self.there.state(number)
        if number is None or state != "there":
            return Skipped(f"delete {number}: it is {state}")
        if self.deleted >= MAX_DELETES:
            return Skipped(f"delete {number}: a plan deletes {MAX_DELETES} at most")
        self.deleted += 1
        return self._touch(Decision("delete", numbers=(number,)))

    def _touch(self, decision: Decision) -> Decision:
        self.touched.update(decision.numbers)
        if decision.text:
            self.written.append(decision.text)
        return decision


def union_of_keys(keys: Sequence[JsonObject], sources: Sequence[Mapping[str, Any]]) -> list[JsonObject]:
    """The questions of all sources and these, each text once, the older ones first."""
    found: dict[str, JsonObject] = {}
    for key in [*(key for source in sources for key in source.get("keys") or []), *keys]:
        found.setdefault(str(key["text"]), dict(key))
    return list(found.values())
