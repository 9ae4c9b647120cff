"""`POST /v1/chat/completions`: a run, waited for or streamed as it happens. Source: OpenAI API; contract §4."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from agents.live import LiveRun
from api.acting import WritesMemory
from api.answers import json_bytes
from api.auth import TheService
from api.errors import openai_body, status_of
from api.openai.documented import CHAT
from api.openai.replies import Ended, LiveAnswer, usage_body
from api.openai.wire import ChatRequest, named_as_sent
from api.route import Route
from runtime.errors import MnemeError
from runtime.events import AnyPayload, ReasoningDelta, TextDelta
from runtime.llm.base import Chunk, ToolCallDelta
from runtime.types import ToolCall

router = APIRouter(prefix="/v1/chat", tags=["openai"], route_class=Route)


@router.post("/completions", responses=CHAT)
async def chat_completions(body: ChatRequest, service: TheService, actor: WritesMemory) -> Response:
    """Answer a conversation with an agent.

    With `stream` tokens come as the model produces them; closing the stream cancels the run. `X-Run-Id` names the run.
    """
    with named_as_sent("messages"):
        live = await service.foreground(replace(body.spec(), context=actor.context), owner=actor.user_id)
    usage = body.stream_options is not None and bool(body.stream_options.include_usage)
    return LiveAnswer(service, live, ChatVoice(live, body.model, include_usage=usage), stream=bool(body.stream))


class ChatVoice:
    """Chat completion chunks, or the whole completion."""

    def __init__(self, live: LiveRun, model: str, *, include_usage: bool) -> None:
        self._live = live
        self._include_usage = include_usage
        self._head = {
            "id": f"chatcmpl-{live.run_id}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }
        # Everything but the delta is the same in every chunk of a stream, so it is written once.
        self._before = b"data: " + json_bytes(self._head)[:-1] + b',"choices":[{"index":0,"delta":'
        usage = b',"usage":null' if include_usage else b""
        self._after = b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"

    def begin(self) -> bytes:
        return self._before + b'{"role":"assistant","content":""}' + self._after

    def say(self, piece: AnyPayload | Chunk) -> bytes:
        match piece:
            case TextDelta(text=text):
                return self._delta({"content": text})
            case ReasoningDelta(text=text):
                return self._delta({"reasoning": text, "reasoning_content": text})
            case Chunk(tool_calls=calls, logprobs=logprobs):
                said = [self._delta({"tool_calls": [_call_piece(call)]}) for call in calls]
                return b"".join(said) + (self._last(None, logprobs) if logprobs else b"")
            case _:
                return b""

    def end(self, end: Ended) -> bytes:
        calls = () if self._live.showed_calls else end.answer.tool_calls
        parts = [self._delta({"tool_calls": [{"index": n, **_tool_call(call)}]}) for n, call in enumerate(calls)]
        if not self._live.showed_text and end.answer.text:
            parts.append(self._delta({"content": end.answer.text}))
        logprobs = None if self._live.showed_logprobs else end.answer.detail.get("logprobs")
        parts.append(self._last(_finish(end), logprobs))
        if self._include_usage:
            total = usage_body(self._live.usage, "prompt", "completion")
            parts.append(b"data: " + json_bytes({**self._head, "choices": [], "usage": total}) + b"\n\n")
        return b"".join(parts) + b"data: [DONE]\n\n"

    def fail(self, error: MnemeError) -> bytes:
        return b"data: " + json_bytes(openai_body(status_of(error), error.message, code=error.code)) + b"\n\n"

    def whole(self, end: Ended) -> dict[str, Any]:
        answer = end.answer
        message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
        if answer.tool_calls:
            message["content"] = answer.text or None
            message["tool_calls"] = [_tool_call(call) for call in answer.tool_calls]
        if self._live.reasoning:
            message["reasoning"] = message["reasoning_content"] = self._live.reasoning
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": _finish(end),
            "logprobs": answer.detail.get("logprobs"),
        }
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage_body(self._live.usage, "prompt", "completion"),
        }

    def _last(self, finish: str | None, logprobs: object) -> bytes:
        choice = {"index": 0, "delta": {}, "logprobs": logprobs, "finish_reason": finish}
        usage = {"usage": None} if self._include_usage else {}
        return b"data: " + json_bytes({**self._head, "choices": [choice], **usage}) + b"\n\n"

    def _delta(self, delta: Mapping[str, object]) -> bytes:
        return self._before + json_bytes(delta) + self._after


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _call_piece(piece: ToolCallDelta) -> dict[str, Any]:
    function: dict[str, Any] = {"arguments": piece.arguments}
    if piece.name is not None:
        function["name"] = piece.name
    named = {} if piece.id is None else {"id": piece.id, "type": "function"}
    return {"index": piece.index, **named, "function": function}


def _finish(end: Ended) -> str:
    return "length" if end.cut else end.answer.finish_reason
