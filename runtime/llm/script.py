"""What a scripted model answers: a TOML or JSON file of rules, read and checked.

The first rule that fits a request answers it; without one the model echoes (see `scripted.py`). An example:

    models = ["echo", "tutor"]       # what /v1/models lists
    binds_schema = true              # false: response_format is ignored, as by a server that does not know it
    delay_ms = 0                     # pause before each token

    [[rules]]
    purpose = "best_of_n.*"          # glob on the purpose of the call
    model = "tutor"                  # glob on the model name
    match = "train .* km"            # regular expression, searched in the last user message
    contains = "kilometres"          # text somewhere in the messages
    turns = 0                        # number of assistant messages so far, to tell a repair turn from the first
    order = "seed"                   # or "sequence"
    delay_ms = 20                    # here instead of the general one

    [[rules.replies]]
    text = "The answer is \\\\boxed{4}."
    reasoning = "…"                  # comes first, as reasoning deltas
    json = {answer = 4}              # instead of text
    tool_calls = [{name = "add", arguments = {a = 1}}]
    finish_reason = "stop"           # default: stop, tool_calls, or length when max_tokens cuts it
    usage = {prompt_tokens = 7}      # default: counted; false: the server sends none
    fault = "cut"                    # see below
    after = 2                        # the fault strikes behind this many tokens
    times = 3                        # in a sequence: this reply so often

Every condition that is left out fits everything. Which of several replies is given depends only on the request: with
`order = "seed"` it is reply number `seed mod n`; with "sequence" the first request with these contents (run, purpose,
model, messages, seed) gets the first reply, the next one with the same contents the second, and the last one stays.

Faults: `status` (an HTTP error: `status`, `retry_after_s`, `message`), `malformed` (a chunk that is not JSON),
`empty_choices`, `error_event` (an error object inside the stream), `cut` (the stream ends, but not the answer), `reset`
(the connection breaks), `hang` (silence, the connection stays), `crash` (the server process dies). Source: ours.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError, model_validator

from runtime.errors import SettingsError
from runtime.types import FinishReason, JsonSchema, Message, Sampling, ToolSpec

FaultKind = Literal["status", "malformed", "empty_choices", "error_event", "cut", "reset", "hang", "crash"]
Name = Annotated[str, StringConstraints(min_length=1)]


@dataclass(frozen=True, slots=True)
class Request:
    """One call as the model sees it."""

    purpose: str
    run_id: str
    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()  # noqa: RUF009 - frozen
    tools: tuple[ToolSpec, ...] = ()
    schema: JsonSchema | None = None

    @property
    def last_user_text(self) -> str:
        """The text of the last user message, or nothing."""
        return next((m.text for m in reversed(self.messages) if m.role == "user"), "")


class Part(BaseModel):
    """Base of what a script consists of: unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScriptedCall(Part):
    """A tool call the model makes."""

    name: Name
    arguments: dict[str, JsonValue] = {}


class ScriptedUsage(Part):
    """Counts to report; what is left out is counted."""

    prompt_tokens: int | None = Field(None, ge=0)
    completion_tokens: int | None = Field(None, ge=0)
    cached_tokens: int = Field(0, ge=0)
    reasoning_tokens: int | None = Field(None, ge=0)


class ScriptedReply(Part):
    """One answer, or a fault in its place or in the middle of it."""

    model_config = ConfigDict(populate_by_name=True)

    text: str = ""
    reasoning: str = ""
    json_: JsonValue = Field(None, alias="json")
    tool_calls: tuple[ScriptedCall, ...] = ()
    finish_reason: FinishReason | None = None
    usage: ScriptedUsage | Literal[False] = ScriptedUsage()
    fault: FaultKind | None = None
    after: int = Field(0, ge=0)
    status: int = Field(500, ge=400, le=599)
    retry_after_s: float | None = Field(None, ge=0)
    message: str = "scripted fault"
    times: int = Field(1, ge=1)

    @property
    def content(self) -> str:
        """The text of the answer."""
        return self.text if self.json_ is None else json.dumps(self.json_, ensure_ascii=False)


class Rule(Part):
    """When it fits, and what is answered then."""

    purpose: Name | None = None
    model: Name | None = None
    match: Name | None = None
    contains: Name | None = None
    turns: int | None = Field(None, ge=0)
    order: Literal["seed", "sequence"] = "seed"
    delay_ms: float | None = Field(None, ge=0)
    replies: tuple[ScriptedReply, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_consistent(self) -> Rule:
        if self.match is not None:
            try:
                _compiled(self.match)
            except re.error as error:
                raise ValueError(f"match {self.match!r} is not a regular expression: {error}") from error
        if self.order == "seed" and any(reply.times != 1 for reply in self.replies):
            raise ValueError('times counts requests; expected order = "sequence" beside it')
        return self

    def fits(self, request: Request) -> bool:
        """True when every condition that is given holds."""
        return (
            (self.purpose is None or fnmatchcase(request.purpose, self.purpose))
            and (self.model is None or fnmatchcase(request.model, self.model))
            and (self.turns is None or self.turns == sum(m.role == "assistant" for m in request.messages))
            and (self.match is None or _compiled(self.match).search(request.last_user_text) is not None)
            and (self.contains is None or any(self.contains in m.text for m in request.messages))
        )


class Script(Part):
    """All of it. `Script()` is the model that echoes."""

    models: tuple[Name, ...] = Field(("echo",), min_length=1)
    binds_schema: bool = True
    delay_ms: float = Field(0.0, ge=0)
    rules: tuple[Rule, ...] = ()

    def rule_for(self, request: Request) -> int | None:
        """The number of the first rule that fits."""
        return next((number for number, rule in enumerate(self.rules) if rule.fits(request)), None)


class Turns:
    """Counts how often a request with the same contents was answered from the same rule; the only state there is."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[int, bytes]] = Counter()

    def reply(self, number: int, rule: Rule, request: Request) -> ScriptedReply:
        """The reply of `rule` that this request gets."""
        if rule.order == "seed":
            return rule.replies[(request.sampling.seed or 0) % len(rule.replies)]
        key = (number, _contents(request))
        at = self._seen[key]
        self._seen[key] += 1
        for reply in rule.replies:
            if at < reply.times:
                return reply
            at -= reply.times
        return rule.replies[-1]


def load_script(path: Path) -> Script:
    """Read a `.toml` or `.json` file. Raises `SettingsError` naming file, field and what was expected."""
    try:
        text = path.read_text(encoding="utf-8")
        tree: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
        return Script.model_validate(tree)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"script {str(path)!r}: {faults}; see runtime/llm/script.py for the format") from error
    except (OSError, ValueError) as error:
        raise SettingsError(f"script {str(path)!r}: {error}; expected a TOML or JSON file") from error


def _contents(request: Request) -> bytes:
    said: Sequence[dict[str, Any]] = [asdict(message) for message in request.messages]
    parts = [request.run_id, request.purpose, request.model, request.sampling.seed, said]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).digest()


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)
