"""What the OpenAI surface answers, for `/openapi.json`. The answers are written by hand for speed (chat.py, responses.py);
a test holds both together. Source: OpenAI API; ours.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue

Responses = dict[int | str, dict[str, Any]]


class Documented(BaseModel):
    """More fields than these may come."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class OpenAIErrorDetail(Documented):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(Documented):
    """OpenAI's envelope."""

    error: OpenAIErrorDetail


class Model(Documented):
    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    description: str


class ModelList(Documented):
    object: Literal["list"]
    data: list[Model]


class CompletionUsage(Documented):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class Choice(Documented):
    index: int
    message: dict[str, JsonValue]
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]
    logprobs: JsonValue


class Completion(Documented):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionUsage


class ResponseBody(Documented):
    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    model: str
    output: list[dict[str, JsonValue]]
    usage: dict[str, JsonValue] | None


ERRORS: Final[Responses] = {
    status: {"description": text, "model": OpenAIError}
    for status, text in {
        400: "a field is wrong: `param` names it",
        401: "no valid API key",
        403: "the key may not do this, or the request came from another site",
        404: "no such model",
        413: "the body is too large",
        415: "the body is not announced as JSON",
        422: "an option of the agent is wrong: `param` names it",
        429: "the model server is overloaded",
        499: "the run was cancelled",
        502: "the model server answered nonsense",
        503: "the model server or the database is not available",
    }.items()
}
_STREAM: Final[dict[str, dict[str, str]]] = {"text/event-stream": {}}
_RUN_ID: Final = {"X-Run-Id": {"description": "the run that answers", "schema": {"type": "string"}}}
_BODY: Final = frozenset({400, 413, 415, 422, 429, 499, 502})


def _of(model: type[Documented], *, takes_body: bool, streams: bool = False) -> Responses:
    good: dict[str, Any] = {"model": model, "description": "the answer"}
    if streams:
        good |= {"content": _STREAM, "headers": _RUN_ID}
    return {200: good, **{code: text for code, text in ERRORS.items() if takes_body or code not in _BODY}}


CHAT: Final = _of(Completion, takes_body=True, streams=True)
RESPONSES: Final = _of(ResponseBody, takes_body=True, streams=True)
MODELS: Final = _of(ModelList, takes_body=False)
MODEL: Final[Responses] = {**_of(Model, takes_body=False), 400: ERRORS[400], 422: ERRORS[422]}
