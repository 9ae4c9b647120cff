"""The OpenAI chat protocol as plain data: our values into a request body, the server's JSON into chunks.

It knows field names, not connections. What a server adds beyond the protocol is ignored; what it lacks or has the wrong
shape is a `MalformedReply`. No pydantic here: this runs for every token of every call. Source: OpenAI chat completions
reference; `reasoning` and `reasoning_content` after vLLM and DeepSeek.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from runtime.errors import MalformedReply, ModelOverloaded, ModelRejected, ModelUnavailable
from runtime.llm.base import Chunk, ToolCallDelta
from runtime.types import FinishReason, JsonObject, JsonSchema, Message, Sampling, ToolSpec, Usage

_FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
# Reasons that say the server gave up on the answer, seen from vLLM.
_BROKEN = frozenset({"abort", "error"})
_SAMPLING = (
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "tool_choice",
    "parallel_tool_calls",
    "logprobs",
    "top_logprobs",
    "response_format",
)
_SHOWN_CHARS = 300


def request_body(
    model: str,
    messages: Sequence[Message],
    sampling: Sampling,
    tools: Sequence[ToolSpec] = (),
    schema: JsonSchema | None = None,
) -> dict[str, Any]:
    """The body of `POST /chat/completions` without the fields about streaming.

    `sampling.extra` goes in as it is, but never over a field that has a name of its own here. `schema` is the
    `response_format` when given.
    """
    body: dict[str, Any] = dict(sampling.extra)
    body["model"] = model
    body["messages"] = [message_body(message) for message in messages]
    for name in _SAMPLING:
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if tools:
        body["tools"] = [tool_body(tool) for tool in tools]
    if schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": schema.name, "schema": schema.schema, "strict": schema.strict},
        }
    return body


def message_body(message: Message) -> dict[str, Any]:
    """One message of the request; parts that are not set are left out."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        body["name"] = message.name
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in message.tool_calls
        ]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    return body


def tool_body(tool: ToolSpec) -> dict[str, Any]:
    """One tool of the request."""
    function: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def chunk_of(event: object) -> Chunk | None:
    """A `chat.completion.chunk` object as a chunk; None when it says nothing (a first chunk with only the role).

    Raises `MalformedReply`, and the error a server puts into the stream in the place of a chunk.
    """
    if not isinstance(event, dict):
        _malformed("an object", event)
    if event.get("error"):
        raise_error(event["error"])
    usage = event.get("usage")
    choices = event.get("choices")
    if not choices:
        return Chunk(usage=usage_of(usage), model=event.get("model")) if usage else None
    choice = _first(choices)
    delta = choice.get("delta") or {}
    if not isinstance(delta, dict):
        _malformed("an object as 'delta'", delta)
    return _chunk(choice, delta, usage, event.get("model"))


def whole_chunk_of(body: object) -> Chunk:
    """A whole `chat.completion` object as one chunk: some servers answer so although a stream was asked for."""
    if not isinstance(body, dict):
        _malformed("an object", body)
    if body.get("error"):
        raise_error(body["error"])
    choice = _first(body.get("choices"))
    message = choice.get("message")
    if not isinstance(message, dict):
        _malformed("an object as 'message'", message)
    chunk = _chunk(choice, message, body.get("usage"), body.get("model"))
    if chunk is None or chunk.finish_reason is None:
        _malformed("a choice with a finish_reason", choice)
    return chunk


def usage_of(usage: object) -> Usage:
    """The `usage` object; details that are absent count nothing."""
    if not isinstance(usage, dict):
        _malformed("an object as 'usage'", usage)
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return Usage(
        prompt_tokens=_count(usage, "prompt_tokens"),
        completion_tokens=_count(usage, "completion_tokens"),
        cached_tokens=_count(prompt, "cached_tokens") if isinstance(prompt, dict) else 0,
        reasoning_tokens=_count(completion, "reasoning_tokens") if isinstance(completion, dict) else 0,
    )


def raise_error(error: object) -> NoReturn:
    """Raise what an `error` object inside a stream stands for; without a status it counts as the server's fault."""
    code = error.get("code") if isinstance(error, dict) else None
    text = str(error.get("message") if isinstance(error, dict) else error)[:_SHOWN_CHARS]
    status = code if isinstance(code, int) else int(code) if isinstance(code, str) and code.isdecimal() else 500
    message = f"the model server reported an error in its answer ({status}): {text}"
    if 400 <= status < 500 and status != 429:
        raise ModelRejected(message, status=status)
    raise ModelOverloaded(message, status=status)


def _chunk(choice: JsonObject, delta: Mapping[str, Any], usage: object, model: str | None) -> Chunk | None:
    text, refusal = delta.get("content"), delta.get("refusal")
    reasoning = delta.get("reasoning") or delta.get("reasoning_content")
    calls, finish, logprobs = delta.get("tool_calls"), choice.get("finish_reason"), choice.get("logprobs")
    if not (text or reasoning or finish or calls or usage or refusal or logprobs):
        return None
    if not isinstance(text or "", str) or not isinstance(reasoning or "", str):
        _malformed("text as 'content' and 'reasoning'", delta)
    return Chunk(
        text=(text or "") + str(refusal or ""),
        reasoning=reasoning or "",
        tool_calls=_tool_calls(calls) if calls else (),
        finish_reason=_finish(finish) if finish else None,
        usage=usage_of(usage) if usage else None,
        model=model,
        logprobs=logprobs if isinstance(logprobs, dict) else None,
    )


def _tool_calls(calls: object) -> tuple[ToolCallDelta, ...]:
    if not isinstance(calls, list):
        _malformed("a list as 'tool_calls'", calls)
    deltas = []
    for position, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            _malformed("objects with a 'function' as 'tool_calls'", call)
        index = call.get("index")
        deltas.append(
            ToolCallDelta(
                index=index if isinstance(index, int) else position,
                id=call.get("id"),
                name=function.get("name"),
                arguments=function.get("arguments") or "",
            )
        )
    return tuple(deltas)


def _finish(reason: object) -> FinishReason:
    if reason in _BROKEN:
        raise ModelUnavailable(f"the model server broke the answer off (finish_reason {reason!r}); see its log")
    # A reason we have no word for still ends the answer.
    return _FINISH.get(str(reason), "stop")


def _first(choices: object) -> dict[str, Any]:
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        _malformed("a list with one choice as 'choices'", choices)
    first: dict[str, Any] = choices[0]
    return first


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name) or 0
    return value if isinstance(value, int) else _malformed(f"a number as {name!r}", value)


def _malformed(expected: str, got: object) -> NoReturn:
    raise MalformedReply(
        f"the model server's answer is not the OpenAI protocol: expected {expected}, got {repr(got)[:_SHOWN_CHARS]}; "
        "check that llm.base_url is an OpenAI-compatible server"
    )
