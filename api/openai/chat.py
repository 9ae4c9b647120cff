"""`POST /v1/chat/completions`: a run, waited for or streamed as it happens. Source: OpenAI API; contract §4."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response

from agents.live import LiveRun
from agents.service import Service
from api.auth import Runs, TheService
from api.errors import openai_body, status_of
from api.idempotency import json_response
from api.openai.replies import Ended, cancel_unfinished, ended, stopped_when_gone, usage_body
from api.openai.wire import ChatRequest
from api.sse import event_stream
from runtime.errors import MnemeError
from runtime.events import ReasoningDelta, TextDelta
from runtime.types import ToolCall

router = APIRouter(prefix="/v1/chat", tags=["openai"])


@router.post("/completions")
async def chat_completions(body: ChatRequest, request: Request, service: TheService, caller: Runs) -> Response:
    """Answer a conversation with an agent."""
    live = await service.foreground(body.spec(), owner=caller.user_id)
    headers = {"X-Run-Id": live.run_id}
    if body.stream:
        include_usage = body.stream_options is not None and body.stream_options.include_usage
        return event_stream(_frames(service, live, body.model, include_usage=include_usage), headers)
    async with stopped_when_gone(request, service, live):
        async for _ in live.items():
            pass
    assert live.end is not None
    try:
        end = ended(live.end)
    except MnemeError as error:
        body_ = openai_body(status_of(error), error.message, code=error.code)
        return json_response(body_, status_of(error), headers)
    return json_response(_completion(live, body.model, end), headers=headers)


def _completion(live: LiveRun, model: str, end: Ended) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": end.answer.text or None, "refusal": None}
    if end.answer.tool_calls:
        message["tool_calls"] = [_tool_call(call) for call in end.answer.tool_calls]
    elif end.answer.text == "":
        message["content"] = ""
    if live.reasoning:
        message["reasoning"] = message["reasoning_content"] = live.reasoning
    return {
        "id": f"chatcmpl-{live.run_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": _finish(end),
                "logprobs": end.answer.detail.get("logprobs"),
            }
        ],
        "usage": usage_body(live.usage, "prompt", "completion"),
    }


async def _frames(service: Service, live: LiveRun, model: str, *, include_usage: bool) -> AsyncIterator[bytes]:
    head = {
        "id": f"chatcmpl-{live.run_id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": model,
    }
    # Everything but the delta is the same in every chunk of a stream, so it is written once.
    begin = orjson.dumps(head)[:-1] + b',"choices":[{"index":0,"delta":'
    before, after = b"data: " + begin, b',"logprobs":null,"finish_reason":null}]}\n\n'
    try:
        yield before + b'{"role":"assistant","content":""}' + after
        async for payload in live.items():
            if isinstance(payload, TextDelta):
                yield before + orjson.dumps({"content": payload.text}) + after
            elif isinstance(payload, ReasoningDelta):
                delta = {"reasoning": payload.text, "reasoning_content": payload.text}
                yield before + orjson.dumps(delta) + after
        assert live.end is not None
        try:
            end = ended(live.end)
        except MnemeError as error:
            yield b"data: " + orjson.dumps(openai_body(status_of(error), error.message, code=error.code)) + b"\n\n"
            return
        for number, call in enumerate(end.answer.tool_calls):
            yield before + orjson.dumps({"tool_calls": [{"index": number, **_tool_call(call)}]}) + after
        if not live.showed_text and end.answer.text:
            yield before + orjson.dumps({"content": end.answer.text}) + after
        choice = {"index": 0, "delta": {}, "logprobs": end.answer.detail.get("logprobs"), "finish_reason": _finish(end)}
        yield b"data: " + orjson.dumps({**head, "choices": [choice]}) + b"\n\n"
        if include_usage:
            usage = usage_body(live.usage, "prompt", "completion")
            yield b"data: " + orjson.dumps({**head, "choices": [], "usage": usage}) + b"\n\n"
        yield b"data: [DONE]\n\n"
    finally:
        await cancel_unfinished(service, live)


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _finish(end: Ended) -> str:
    return "length" if end.cut else end.answer.finish_reason
