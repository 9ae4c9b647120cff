"""`POST /v1/responses`: the same runs in the shape of OpenAI's newer surface.

Nothing is kept between requests: `previous_response_id` is refused, the input carries the whole conversation. Source:
OpenAI API; contract §4.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any, Literal

import orjson
from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import Response

from agents.live import LiveRun
from agents.service import Service
from api.auth import Runs, TheService
from api.errors import openai_body, status_of
from api.idempotency import json_response
from api.openai.replies import Ended, cancel_unfinished, ended, stopped_when_gone, usage_body
from api.openai.wire import MAX_TOKENS, Generation, run_spec
from api.sse import event_stream
from runtime.errors import InvalidInput, MnemeError
from runtime.events import ReasoningDelta, TextDelta
from runtime.runs import RunSpec
from runtime.types import JsonObject

router = APIRouter(prefix="/v1", tags=["openai"])
Status = Literal["in_progress", "completed", "incomplete", "failed"]


class ResponsesRequest(Generation):
    """`POST /v1/responses`."""

    input: str | list[JsonObject]
    instructions: str | None = None
    max_output_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    tools: list[JsonObject] | None = None
    text: JsonObject | None = None
    reasoning: JsonObject | None = None
    include: list[str] | None = None
    truncation: str | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    max_tool_calls: int | None = None

    def spec(self) -> RunSpec:
        """The run that answers this request. Raises `InvalidInput` naming the field."""
        if self.previous_response_id is not None:
            raise InvalidInput(
                "previous_response_id: responses are not kept; send the whole conversation as 'input'",
                param="previous_response_id",
            )
        if self.background:
            raise InvalidInput("background: use POST /api/runs for a run that nobody waits for", param="background")
        sampling: dict[str, Any] = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_logprobs": self.top_logprobs,
            "logprobs": True if self.top_logprobs else None,
            "parallel_tool_calls": self.parallel_tool_calls,
            "tool_choice": _tool_choice(self.tool_choice),
            "max_tokens": self.max_output_tokens,
            "response_format": _response_format(self.text),
            "reasoning_effort": (self.reasoning or {}).get("effort"),
        }
        chat = _chat(self.input)
        if self.instructions:
            chat.insert(0, {"role": "system", "content": self.instructions})
        return run_spec(self, chat, sampling, [_tool(tool) for tool in self.tools or []], None)


@router.post("/responses")
async def responses(body: ResponsesRequest, request: Request, service: TheService, caller: Runs) -> Response:
    """Answer a conversation with an agent."""
    live = await service.foreground(body.spec(), owner=caller.user_id)
    headers = {"X-Run-Id": live.run_id}
    made = int(time.time())
    if body.stream:
        return event_stream(_frames(service, live, body, made), headers)
    async with stopped_when_gone(request, service, live):
        async for _ in live.items():
            pass
    assert live.end is not None
    try:
        end = ended(live.end)
    except MnemeError as error:
        failure = openai_body(status_of(error), error.message, code=error.code)
        return json_response(failure, status_of(error), headers)
    return json_response(_response(live, body, made, end), headers=headers)


def _response(
    live: LiveRun, body: ResponsesRequest, made: int, end: Ended | None, error: MnemeError | None = None
) -> dict[str, Any]:
    status: Status = "in_progress"
    if error is not None:
        status = "failed"
    elif end is not None:
        status = "incomplete" if end.cut or end.answer.finish_reason == "length" else "completed"
    return {
        "id": f"resp_{live.run_id}",
        "object": "response",
        "created_at": made,
        "status": status,
        "error": None if error is None else {"code": "server_error", "message": error.message},
        "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "model": body.model,
        "output": [] if end is None else _items(live, end),
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "temperature": body.temperature,
        "text": body.text or {"format": {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "tools": body.tools or [],
        "top_p": body.top_p,
        "truncation": "disabled",
        "usage": None if end is None else usage_body(live.usage, "input", "output"),
    }


def _items(live: LiveRun, end: Ended) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if live.reasoning:
        items.append(_reasoning_item(live, live.reasoning))
    if end.answer.text or not end.answer.tool_calls:
        items.append(_message_item(live, end.answer.text, "completed"))
    items += [
        {
            "type": "function_call",
            "id": f"fc_{live.run_id}_{number}",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        for number, call in enumerate(end.answer.tool_calls)
    ]
    return items


def _reasoning_item(live: LiveRun, text: str) -> dict[str, Any]:
    content = [{"type": "reasoning_text", "text": text}] if text else []
    return {"type": "reasoning", "id": f"rs_{live.run_id}", "summary": [], "content": content}


def _message_item(live: LiveRun, text: str, status: str) -> dict[str, Any]:
    content = [_text_part(text)] if status == "completed" else []
    return {"type": "message", "id": f"msg_{live.run_id}", "role": "assistant", "status": status, "content": content}


def _text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


class _Events:
    """The event sequence of one streamed response: items open and close in order, everything is numbered."""

    def __init__(self, live: LiveRun) -> None:
        self._live = live
        self._number = -1
        self._index = -1
        self._open: Literal["reasoning", "message"] | None = None
        self._text: list[str] = []

    def event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        data = orjson.dumps({"type": kind, "sequence_number": self._number, **fields})
        return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)

    def delta(self, kind: Literal["reasoning", "message"], text: str) -> list[bytes]:
        frames = [] if self._open == kind else [*self.close(), *self._begin(kind)]
        self._text.append(text)
        if kind == "reasoning":
            return [*frames, self.event("response.reasoning_text.delta", **self._at(), delta=text)]
        return [*frames, self.event("response.output_text.delta", **self._at(), delta=text, logprobs=[])]

    def close(self) -> list[bytes]:
        kind, text = self._open, "".join(self._text)
        self._open, self._text = None, []
        if kind == "reasoning":
            item = _reasoning_item(self._live, text)
            return [
                self.event("response.reasoning_text.done", **self._at("reasoning"), text=text),
                self.event("response.output_item.done", output_index=self._index, item=item),
            ]
        if kind == "message":
            item = _message_item(self._live, text, "completed")
            at = self._at("message")
            return [
                self.event("response.output_text.done", **at, text=text, logprobs=[]),
                self.event("response.content_part.done", **at, part=_text_part(text)),
                self.event("response.output_item.done", output_index=self._index, item=item),
            ]
        return []

    def call(self, item: dict[str, Any]) -> list[bytes]:
        self._index += 1
        at = {"item_id": item["id"], "output_index": self._index}
        begun = {**item, "arguments": "", "status": "in_progress"}
        return [
            self.event("response.output_item.added", output_index=self._index, item=begun),
            self.event("response.function_call_arguments.delta", **at, delta=item["arguments"]),
            self.event("response.function_call_arguments.done", **at, name=item["name"], arguments=item["arguments"]),
            self.event("response.output_item.done", output_index=self._index, item=item),
        ]

    def _begin(self, kind: Literal["reasoning", "message"]) -> list[bytes]:
        self._open = kind
        self._index += 1
        if kind == "reasoning":
            item = _reasoning_item(self._live, "")
            return [self.event("response.output_item.added", output_index=self._index, item=item)]
        item = _message_item(self._live, "", "in_progress")
        return [
            self.event("response.output_item.added", output_index=self._index, item=item),
            self.event("response.content_part.added", **self._at(), part=_text_part("")),
        ]

    def _at(self, kind: str | None = None) -> dict[str, Any]:
        prefix = "rs" if (kind or self._open) == "reasoning" else "msg"
        return {"item_id": f"{prefix}_{self._live.run_id}", "output_index": self._index, "content_index": 0}


async def _frames(service: Service, live: LiveRun, body: ResponsesRequest, made: int) -> AsyncIterator[bytes]:
    events = _Events(live)
    try:
        begun = _response(live, body, made, None)
        yield events.event("response.created", response=begun)
        yield events.event("response.in_progress", response=begun)
        async for payload in live.items():
            if isinstance(payload, TextDelta | ReasoningDelta):
                kind: Literal["reasoning", "message"] = "message" if isinstance(payload, TextDelta) else "reasoning"
                for frame in events.delta(kind, payload.text):
                    yield frame
        assert live.end is not None
        try:
            end = ended(live.end)
        except MnemeError as error:
            for frame in events.close():
                yield frame
            yield events.event("response.failed", response=_response(live, body, made, None, error))
            return
        if not live.showed_text and (end.answer.text or not end.answer.tool_calls):
            for frame in events.delta("message", end.answer.text):
                yield frame
        for frame in events.close():
            yield frame
        whole = _response(live, body, made, end)
        for item in whole["output"]:
            if item["type"] == "function_call":
                for frame in events.call(item):
                    yield frame
        kind_of_end = "response.incomplete" if whole["status"] == "incomplete" else "response.completed"
        yield events.event(kind_of_end, response=whole)
    finally:
        await cancel_unfinished(service, live)


def _chat(value: str | list[JsonObject]) -> list[dict[str, Any]]:
    """Input items as chat messages. Raises `InvalidInput` with the path of the item."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    chat: list[dict[str, Any]] = []
    for number, item in enumerate(value):
        kind = item.get("type", "message")
        where = f"input.{number}"
        if kind == "message":
            chat.append({"role": item.get("role"), "content": _content(item.get("content"), where)})
        elif kind == "function_call":
            function = {"name": str(item.get("name")), "arguments": str(item.get("arguments"))}
            call = {"id": str(item.get("call_id")), "type": "function", "function": function}
            if chat and chat[-1].get("tool_calls"):
                chat[-1]["tool_calls"].append(call)
            else:
                chat.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            output = item.get("output")
            text = output if isinstance(output, str) else orjson.dumps(output).decode()
            chat.append({"role": "tool", "tool_call_id": str(item.get("call_id")), "content": text})
        elif kind != "reasoning":
            raise InvalidInput(
                f"{where}.type: got {kind!r}; expected message, function_call, function_call_output or reasoning",
                param=f"{where}.type",
            )
    return chat


def _content(content: Any, where: str) -> Any:
    if not isinstance(content, list):
        return content
    parts: list[dict[str, Any]] = []
    for number, part in enumerate(content):
        match part:
            case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
                parts.append({"type": "text", "text": text})
            case {"type": "input_image", "image_url": str(url)}:
                parts.append({"type": "image_url", "image_url": {"url": url}})
            case _:
                raise InvalidInput(
                    f"{where}.content.{number}: expected an input_text, output_text or input_image part",
                    param=f"{where}.content.{number}",
                )
    return parts


def _tool(tool: JsonObject) -> JsonObject:
    # The flat form of this surface; the nested one of chat completions is taken too.
    if tool.get("type") == "function" and "function" not in tool:
        return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}
    return tool


def _tool_choice(choice: str | JsonObject | None) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function" and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return choice


def _response_format(text: JsonObject | None) -> JsonObject | None:
    wanted = (text or {}).get("format")
    if not isinstance(wanted, dict) or wanted.get("type") in (None, "text"):
        return None
    if wanted["type"] == "json_schema":
        return {"type": "json_schema", "json_schema": {k: v for k, v in wanted.items() if k != "type"}}
    return wanted
