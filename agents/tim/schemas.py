"""One step of a tree on the wire: the schema that a reply is bound to, and the reply read back.

Each call has a schema of its own, flat and without references to itself, built from what may be done at this place: only
tools that may still be called, `descend` only where a deeper level is allowed, `more` only where that is the model's
choice. A server that does not bind replies, or a stream that breaks off, can still send anything: what is read is checked
again, what is right of a broken reply is kept, and the rest is asked for. Fields that nobody asked for (a `tool_result`
that the model wrote itself) are dropped. Source: tim §3.5, §5; contract §5.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final, Generic, Literal, NamedTuple, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from agents.thinking import visible
from agents.tim.repairing import Repair, close_string, remaining, repair
from agents.tim.typed import embedded
from agents.tooling.schemas import faults
from runtime.errors import InvalidInput
from runtime.llm.estimate import CHARS_PER_TOKEN
from runtime.llm.structured import first_object
from runtime.types import FinishReason, JsonObject, ToolSpec

TITLE_CHARS: Final = 120


class StepReply(BaseModel):
    """Base of what is read from a model: surplus fields are dropped, types are not bent."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


def _something(value: JsonValue) -> JsonValue:
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ValueError("expected something")
    return value


Conclusion = Annotated[JsonValue, AfterValidator(_something)]


class UseTool(StepReply):
    kind: Literal["tool"]
    tool_name: str
    parameters: JsonObject = {}


class Descend(StepReply):
    """`parallel`: titles of subtasks that need nothing of each other."""

    kind: Literal["descend"]
    parallel: list[str] = []


class Conclude(StepReply):
    kind: Literal["conclude"]
    conclusion: Conclusion
    more: bool = False


Action = UseTool | Descend | Conclude
_Action = Annotated[Action, Field(discriminator="kind")]


class Opened(StepReply):
    title: str = ""
    thought: str
    task_kind: str = ""
    action: _Action


class AfterTool(StepReply):
    action: _Action


class Concluded(StepReply):
    conclusion: Conclusion
    more: bool = False


class Answered(StepReply):
    answer: JsonValue


Reply = TypeVar("Reply", bound=StepReply)


@dataclass(frozen=True, slots=True)
class Can:
    """What may be done at a place of the tree.

    `descend`: how many subtasks may be opened at once, 0 for none at all. `more`: whether the list goes on, None where the
    model chooses. `kind` and `conclusion_schema` are of a typed tree.
    """

    tools: tuple[ToolSpec, ...] = ()
    descend: int = 0
    conclude: bool = True
    more: bool | None = None
    kind: str = ""
    conclusion_schema: JsonObject | None = None

    @property
    def acts(self) -> frozenset[str]:
        """The kinds of action."""
        offered = {"conclude": self.conclude, "descend": self.descend > 0, "tool": bool(self.tools)}
        return frozenset(kind for kind, there in offered.items() if there)

    def concluding(self) -> Can:
        """Nothing but a conclusion that ends the list."""
        return replace(self, tools=(), descend=0, conclude=True, more=False)

    def goes_on(self, reply: Conclude | Concluded) -> bool:
        """Whether the list goes on behind this conclusion."""
        return reply.more if self.more is None else self.more


@dataclass(frozen=True, slots=True)
class Lengths:
    """Caps in tokens. `least_conclusion` is in characters."""

    thought: int
    conclusion: int
    least_conclusion: int = 1


def open_schema(cans: Sequence[Can], lengths: Lengths) -> JsonObject:
    """The schema of `tim.open`: `{title?, thought, action}`; a task of a typed tree says its kind first."""
    kinds: list[JsonValue] = [can.kind for can in cans if can.kind]
    kind: JsonObject = {"task_kind": {"enum": kinds}} if kinds else {}
    defs: JsonObject = {}
    options: list[JsonObject] = []
    for can in cans:
        options += [option for option in _options(can, lengths, defs) if option not in options]
    properties: JsonObject = {
        **kind,
        "title": {"type": "string", "maxLength": TITLE_CHARS},
        "thought": _text(lengths.thought),
        "action": _one_of(options),
    }
    return _whole(properties, defs, required=[*kind, "thought", "action"])


def after_tool_schema(can: Can, lengths: Lengths) -> JsonObject:
    """The schema of `tim.after_tool`: `{action}`, never another tool."""
    defs: JsonObject = {}
    return _whole({"action": _one_of(_options(replace(can, tools=()), lengths, defs))}, defs)


def after_list_schema(can: Can, lengths: Lengths) -> JsonObject:
    """The schema of `tim.after_list`: `{conclusion, more}`."""
    defs: JsonObject = {}
    return _whole(_conclusion(can, lengths, defs), defs)


def answer_schema(wanted: JsonObject | None, max_tokens: int) -> JsonObject:
    """The schema of `tim.answer`: `{answer}`, text or what the caller wants. Raises `InvalidInput` for a schema whose
    references lead out of it."""
    if wanted is None:
        return _object({"answer": _text(max_tokens)})
    defs: JsonObject = {}
    return _whole({"answer": embedded(wanted, "answer", defs)}, defs)


class Read(NamedTuple, Generic[Reply]):
    """`reply`: the step, when it is whole. Else `kept` is what is right of it and `broken` the first field that is not."""

    reply: Reply | None
    kept: JsonObject
    broken: str


def read(
    text: str,
    finish: FinishReason,
    model: type[Reply],
    schema: JsonObject,
    *,
    kept: JsonObject | None = None,
    cans: Sequence[Can] = (),
    plain: bool = False,
    capped: bool = False,
) -> Read[Reply]:
    """Read a reply to `schema`, or to what remains of it where `kept` is there already. A reply that was cut off is never
    taken as whole as it stands; only fields that were finished before the cut count. `plain`: text without any object is
    an answer too, as a server that binds nothing may send it. `capped`: the text in which the reply was cut off has had
    all the room that a field may take, and so it gets its closing quote; parameters of a tool never do."""
    kept = kept or {}
    text = visible(text)
    if finish != "length":
        try:
            said = json.loads(first_object(text))
            return Read(_valid({**kept, **said}, model, cans), {}, "")
        except (ValueError, RecursionError):  # pydantic's error is one too
            if plain and text and not text.startswith(("{", "```")):
                return Read(model.model_validate({"answer": text}), {}, "")
    rest = remaining(schema, kept) if kept else schema
    cut = repair(text, rest)
    if capped:
        cut = _closed(text, rest, cut, inside="" if model is Answered else "}")
    whole = {**kept, **cut.kept}
    if cut.broken is not None:
        return Read(None, whole, cut.broken)
    try:
        return Read(_valid(whole, model, cans), {}, "")
    except ValidationError as error:
        wrong = str(error.errors()[0]["loc"][0])
    except ValueError as error:
        wrong = str(error)
    return Read(None, {name: value for name, value in whole.items() if name != wrong}, wrong)


def _closed(text: str, schema: JsonObject, cut: Repair, *, inside: str) -> Repair:
    """The same reply with its open text closed, where that saves a field; `inside`: what closes an object that is a field,
    as the action is. Parameters lie one deeper and stay open."""
    for end in ("", inside):
        closed = repair(close_string(text) + end, schema)
        if len(closed.kept) > len(cut.kept):
            return closed
    return cut


def _valid(said: JsonObject, model: type[Reply], cans: Sequence[Can]) -> Reply:
    """The reply. Raises `ValidationError`, and `ValueError` with the field that names what may not be done here."""
    reply = model.model_validate(said)
    if isinstance(reply, Concluded) and not any(_concludes(can, reply.conclusion) for can in cans or [Can()]):
        raise ValueError("conclusion")
    if not isinstance(reply, Opened | AfterTool):
        return reply
    fitting = [can for can in cans if _admits(can, reply.action)]
    if not fitting:
        raise ValueError("action")
    if isinstance(reply, Opened) and reply.task_kind not in [can.kind for can in fitting]:
        # The kind and the action are bound one by one; where they do not go together the action says what is meant.
        return reply.model_copy(update={"task_kind": fitting[0].kind})
    return reply


def _admits(can: Can, action: Action) -> bool:
    """Whether the action is of a kind that may be done. In a typed tree the tool must be one of the kind's; in a free one
    a tool that there is not is answered in its place."""
    if isinstance(action, UseTool) and can.kind:
        return action.tool_name in [tool.name for tool in can.tools]
    if isinstance(action, Conclude) and not _concludes(can, action.conclusion):
        return False
    return action.kind in can.acts


def _concludes(can: Can, conclusion: JsonValue) -> bool:
    """Whether it is of the form that the kind of the task wants; a kind that wants none takes what comes."""
    return can.conclusion_schema is None or not faults(can.conclusion_schema, conclusion)


def fits(answer: JsonValue, wanted: JsonObject | None) -> bool:
    """False for an answer that is not of the wanted type: text where nothing else was asked for."""
    if wanted is None:
        return isinstance(answer, str)
    types = {"object": dict, "array": list, "string": str, "boolean": bool}
    kind = wanted.get("type")
    return not isinstance(kind, str) or kind not in types or isinstance(answer, types[kind])


def _options(can: Can, lengths: Lengths, defs: JsonObject) -> list[JsonObject]:
    options: list[JsonObject] = []
    if can.conclude:
        options.append(_object({"kind": {"const": "conclude"}, **_conclusion(can, lengths, defs)}))
    if can.descend:
        options.append(_descend(can.descend))
    return options + [_tool(spec, defs) for spec in can.tools]


def _one_of(options: list[JsonObject]) -> JsonObject:
    return options[0] if len(options) == 1 else {"anyOf": [*options]}


def _descend(at_once: int) -> JsonObject:
    kind: JsonObject = {"kind": {"const": "descend"}}
    if at_once < 2:
        return _object(kind)
    titles: JsonObject = {
        "type": "array",
        "minItems": 2,
        "maxItems": at_once,
        "items": {"type": "string", "minLength": 1, "maxLength": TITLE_CHARS},
    }
    return _object({**kind, "parallel": titles}, required=["kind"])


def _tool(spec: ToolSpec, defs: JsonObject) -> JsonObject:
    own: JsonObject = {}
    try:
        parameters = embedded(spec.parameters, spec.name, own)
    except InvalidInput:  # its references lead elsewhere: the tool itself checks what it is given
        parameters, own = {"type": "object"}, {}
    defs.update(own)
    return _object({"kind": {"const": "tool"}, "tool_name": {"const": spec.name}, "parameters": parameters})


def _conclusion(can: Can, lengths: Lengths, defs: JsonObject) -> JsonObject:
    conclusion: JsonObject = _text(lengths.conclusion, least=lengths.least_conclusion)
    if can.conclusion_schema is not None:
        conclusion = embedded(can.conclusion_schema, f"{can.kind}.conclusion", defs)
    return {"conclusion": conclusion, **({"more": {"type": "boolean"}} if can.more is None else {})}


def _text(max_tokens: int, *, least: int = 1) -> JsonObject:
    return {"type": "string", "minLength": least, "maxLength": max_tokens * CHARS_PER_TOKEN}


def _whole(properties: JsonObject, defs: JsonObject, *, required: Sequence[str] | None = None) -> JsonObject:
    whole = _object(properties, required=required)
    return {**whole, "$defs": defs} if defs else whole


def _object(properties: JsonObject, *, required: Sequence[str] | None = None) -> JsonObject:
    names: list[JsonValue] = [*(properties if required is None else required)]
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}
