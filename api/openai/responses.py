"""`POST /v1/responses`: the same runs in the shape of OpenAI's newer surface.

Nothing is kept between requests: `previous_response_id` is refused, the input carries the whole conversation. Source:
OpenAI API; contract §4.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from api.acting import WritesMemory
from api.answers import json_bytes
from api.auth import TheService
from api.openai.documented import RESPONSES
from api.openai.replies import LiveAnswer
from api.openai.response_voice import ResponseVoice
from api.openai.wire import MAX_TOKENS, Generation, StreamOptions, named_as_sent, run_spec
from api.route import Route
from runtime.errors import InvalidInput
from runtime.runs import RunSpec
from runtime.types import JsonObject

router = APIRouter(prefix="/v1", tags=["openai"], route_class=Route)


class ResponsesRequest(Generation):
    """`POST /v1/responses`."""

    input: str | list[JsonObject] = Field(min_length=1)
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
    stream_options: StreamOptions | None = None

    def spec(self) -> RunSpec:
        """The run that answers this request. Raises `InvalidInput` naming the field."""
        if self.previous_response_id is not None:
            raise InvalidInput(
                "previous_response_id: responses are not kept; send the whole conversation as 'input'",
                param="previous_response_id",
            )
        if self.truncation not in (None, "disabled"):
            raise InvalidInput(
                f"truncation: got {self.truncation!r}; expected 'disabled', because the input is never cut",
                param="truncation",
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


@router.post("/responses", responses=RESPONSES)
async def responses(body: ResponsesRequest, service: TheService, actor: WritesMemory) -> Response:
    """Answer a conversation with an agent.

    With `stream` events come as the model produces tokens; closing the stream cancels the run. `X-Run-Id` names the run.
    """
    with named_as_sent("input"):
        live = await service.foreground(replace(body.spec(), context=actor.context), owner=actor.user_id)
    asked = body.model_dump(exclude_none=True, exclude={"input", "stream", "stream_options", "mneme"})
    return LiveAnswer(service, live, ResponseVoice(live, asked), stream=bool(body.stream))


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
            text = output if isinstance(output, str) else json_bytes(output).decode()
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
