"""What can be asked: a chat, or a typed task. The `input` of a run becomes one of these (contract §4).

A task says what a plain model is shown (`messages`, and `prompt`, the file they were made with); a gold answer never
stands in it. `MathTask.check` is ours: equations that an answer can be put into, so that an agent may verify without
knowing the answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from agents.equations import read_equation
from runtime.errors import InvalidInput
from runtime.prompts import PromptFile, load_prompt
from runtime.types import JsonObject, Message, ToolCall

PROMPTS = {
    name: load_prompt(Path(__file__).parent / "prompts" / f"{name}.md")
    for name in ("math", "qa", "code", "code_tests", "arc")
}
Row = Annotated[list[Annotated[int, Field(ge=0, le=9)]], Field(min_length=1, max_length=30)]


def _rectangular(rows: list[list[int]]) -> list[list[int]]:
    if len({len(row) for row in rows}) != 1:
        raise ValueError("a grid has rows of one length")
    return rows


Grid = Annotated[list[Row], Field(min_length=1, max_length=30), AfterValidator(_rectangular)]


class Part(BaseModel):
    """Base of tasks and their parts: immutable, unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FunctionCall(Part):
    name: str
    arguments: str


class ChatToolCall(Part):
    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ChatMessage(BaseModel):
    """A message of the OpenAI protocol; fields that newer clients add are let through."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[JsonObject] | None = None
    name: str | None = None
    tool_calls: list[ChatToolCall] | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ChatMessage:
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError(f"a message of role {self.role!r} without content")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a message of role 'tool' without the tool_call_id it answers")
        return self

    def message(self) -> Message:
        calls = tuple(ToolCall(c.id, c.function.name, c.function.arguments) for c in self.tool_calls or ())
        return Message(self.role, self.content, self.name, calls, self.tool_call_id)


class ChatTask(Part):
    """A conversation to go on with."""

    prompt: ClassVar[PromptFile | None] = None
    kind: Literal["chat"] = "chat"
    chat: list[ChatMessage] = Field(min_length=1)

    def messages(self) -> list[Message]:
        return [message.message() for message in self.chat]


class MathCheck(Part):
    """A test for a numeric answer: put in for `variable`, every equation `left = right` must hold."""

    equations: list[str] = Field(min_length=1, max_length=16)
    variable: str = Field("x", pattern=r"^[A-Za-z]$")

    @model_validator(mode="after")
    def _is_readable(self) -> MathCheck:
        for equation in self.equations:
            read_equation(equation, self.variable)
        return self


class MathTask(Part):
    """A problem with one final answer."""

    prompt: ClassVar[PromptFile | None] = PROMPTS["math"]
    kind: Literal["math"] = "math"
    problem: str = Field(min_length=1)
    check: MathCheck | None = None

    def messages(self) -> list[Message]:
        return [Message("user", PROMPTS["math"].render(problem=self.problem))]


class Document(Part):
    title: str = ""
    text: str


def _as_document(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


class QATask(Part):
    """A question, with or without documents to answer it from. A document may be given as plain text."""

    prompt: ClassVar[PromptFile | None] = PROMPTS["qa"]
    kind: Literal["qa"] = "qa"
    question: str = Field(min_length=1)
    documents: list[Annotated[Document, BeforeValidator(_as_document)]] = []

    def messages(self) -> list[Message]:
        blocks = [f"{document.title}\n{document.text}".strip() for document in self.documents]
        documents = "\n\n".join(f"[{n}] {block}" for n, block in enumerate(blocks, start=1)) or "(none)"
        return [Message("user", PROMPTS["qa"].render(question=self.question, documents=documents))]


class ArcPair(Part):
    input: Grid
    output: Grid


class ArcInput(Part):
    input: Grid


class ArcTask(Part):
    """Grids by example: what turns each train input into its output, for the test inputs. `id` is the name that the problem
    has elsewhere; no model is shown it."""

    prompt: ClassVar[PromptFile | None] = PROMPTS["arc"]
    kind: Literal["arc"] = "arc"
    id: str | None = Field(None, min_length=1, max_length=200)
    train: list[ArcPair] = Field(min_length=1)
    test: list[ArcInput] = Field(min_length=1)

    def messages(self) -> list[Message]:
        text = json.dumps(self.model_dump(exclude={"kind", "id"}), separators=(",", ":"))
        return [Message("user", PROMPTS["arc"].render(task=text))]


class CodeTask(Part):
    """Something to be written. The contract knows `task` and `requirements`.

    `tests` is ours: Python statements such as `assert double(2) == 4`, each run by itself with the code of the answer; it
    passes when it raises nothing. They are part of what is asked, so a model is shown them.
    """

    prompt: ClassVar[PromptFile | None] = PROMPTS["code"]
    kind: Literal["code"] = "code"
    task: str = Field(min_length=1)
    requirements: list[str] = []
    tests: list[Annotated[str, Field(min_length=1, max_length=4000)]] = Field([], max_length=100)

    def messages(self) -> list[Message]:
        requirements = "\n".join(f"- {line}" for line in self.requirements) or "- none beyond the task"
        text = PROMPTS["code"].render(task=self.task, requirements=requirements)
        if self.tests:
            text += "\n\n" + PROMPTS["code_tests"].render(tests="\n".join(self.tests))
        return [Message("user", text)]


Task = ChatTask | MathTask | QATask | ArcTask | CodeTask
TYPED: Mapping[str, TypeAdapter[Any]] = {
    "math": TypeAdapter(MathTask),
    "qa": TypeAdapter(QATask),
    "arc": TypeAdapter(ArcTask),
    "code": TypeAdapter(CodeTask),
}
CHAT = TypeAdapter(list[ChatMessage])


def parse_input(value: JsonValue) -> Task:
    """A string, a list of messages, or an object with a `kind`. Raises `InvalidInput` with the path of the field."""
    if isinstance(value, str):
        if not value.strip():
            raise InvalidInput("input: got empty text; expected a question", param="input")
        return ChatTask(chat=[ChatMessage(role="user", content=value)])
    if isinstance(value, list):
        messages = _validated(CHAT, value, "a list of chat messages")
        if not messages:
            raise InvalidInput("input: got no message; expected at least one", param="input")
        return ChatTask(chat=messages)
    if isinstance(value, dict):
        kind = value.get("kind")
        if not isinstance(kind, str) or kind not in TYPED:
            raise InvalidInput(f"input.kind: got {kind!r}; expected one of {', '.join(TYPED)}", param="input.kind")
        task: Task = _validated(TYPED[kind], value, f"a task of kind {kind!r}")
        return task
    raise InvalidInput(
        f"input: got {type(value).__name__}; expected text, a list of messages or a typed task", param="input"
    )


def _validated(adapter: TypeAdapter[Any], value: JsonValue, what: str) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(["input", *(str(part) for part in first["loc"])])
        raise InvalidInput(f"{path}: {first['msg']}; expected {what}", param=path) from error
