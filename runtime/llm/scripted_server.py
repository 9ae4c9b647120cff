"""The scripted model as a server that speaks the OpenAI protocol, so that clients of any kind can be tried on it.

    python -m runtime.llm.scripted_server --port 0 --script rules.toml

Prints `listening on http://127.0.0.1:PORT` when it is ready. Faults of a script come over the wire as a broken server
would send them. `GET /__requests` shows what came in: body, purpose and run headers, and whether the client went away
before the end. Source: ours.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import time
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from runtime.llm.scripted import Planned, Script
from runtime.types import JsonSchema, Message, Sampling

MODEL = "scripted"
KEPT = 10_000


class _Server:
    def __init__(self, script: Script) -> None:
        self._script = script
        self._seen: deque[dict[str, Any]] = deque(maxlen=KEPT)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/health", self.health),
                Route("/__requests", self.requests),
            ]
        )

    async def health(self, request: Request) -> Response:
        return Response()

    async def models(self, request: Request) -> Response:
        return JSONResponse(
            {"object": "list", "data": [{"id": MODEL, "object": "model", "created": 0, "owned_by": "x"}]}
        )

    async def requests(self, request: Request) -> Response:
        return JSONResponse(list(self._seen))

    async def chat(self, request: Request) -> Response:
        raw = await request.body()
        try:
            body = orjson.loads(raw)
            asked = (_messages(body), _sampling(body), _schema(body))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _error(f"not a chat request: {error!r}", 400)
        note: dict[str, Any] = {
            "body": body,
            "purpose": request.headers.get("x-mneme-purpose", ""),
            "run": request.headers.get("x-mneme-run", ""),
            "headers": dict(request.headers),
            "finished": False,
            "disconnected": False,
        }
        self._seen.append(note)
        try:
            plan = self._script.plan(note["purpose"], *asked)
        except ValueError as error:
            return _error(str(error), 400)
        refusal = _refusal(plan)
        if refusal is not None:
            return refusal
        if body.get("stream"):
            usage = bool((body.get("stream_options") or {}).get("include_usage"))
            return StreamingResponse(_noted(_stream(plan, note, usage=usage), note), media_type="text/event-stream")
        await asyncio.sleep(plan.first_delay_s + plan.delay_s * len(plan.tokens))
        if plan.fault == "hang":
            await asyncio.Event().wait()
        note["finished"] = True
        return Response(orjson.dumps(_whole(plan)), media_type="application/json")


def _error(message: str, status: int) -> Response:
    return JSONResponse({"error": {"message": message, "code": status}}, status)


def _refusal(plan: Planned) -> Response | None:
    match plan.fault:
        case "429":
            return JSONResponse({"error": {"message": "slow down"}}, 429, {"retry-after": "0"})
        case "500" | "400":
            return JSONResponse({"error": {"message": f"scripted {plan.fault}"}}, int(plan.fault))
        case "garbage":
            return Response("<html>no", media_type="text/html")
        case _:
            return None


async def _noted(frames: AsyncIterator[bytes], note: dict[str, Any]) -> AsyncIterator[bytes]:
    """The frames; the server cancels the answer of a client that went away, and the note says so."""
    try:
        async for frame in frames:
            yield frame
    except asyncio.CancelledError:
        note["disconnected"] = True
        raise


async def _stream(plan: Planned, note: dict[str, Any], *, usage: bool) -> AsyncIterator[bytes]:
    if plan.fault == "malformed":
        yield b"data: {not json\n\n"
        return
    if plan.fault == "error":
        yield b'data: {"error": {"message": "scripted error", "code": 500}}\n\n'
        return
    if plan.fault == "empty":
        yield _frame([])
        return
    if plan.first_delay_s:
        await asyncio.sleep(plan.first_delay_s)
    if plan.fault == "hang":
        await asyncio.Event().wait()
    yield _frame([_choice({"role": "assistant", "content": ""})])
    for kind, tokens in (("reasoning_content", plan.reasoning), ("content", plan.tokens)):
        for n, token in enumerate(tokens):
            if kind == "content" and plan.fault in ("half", "die") and n >= len(tokens) // 2:
                if plan.fault == "die":
                    raise ConnectionResetError("scripted death in the middle of an answer")
                return
            if plan.delay_s:
                await asyncio.sleep(plan.delay_s)
            yield _frame([_choice({kind: token})])
    for n, call in enumerate(plan.tool_calls):
        function = {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()}
        yield _frame(
            [_choice({"tool_calls": [{"index": n, "id": f"call_{n}", "type": "function", "function": function}]})]
        )
    yield _frame([_choice({}, plan.finish)])
    if usage:
        yield _frame([], _usage(plan))
    note["finished"] = True
    yield b"data: [DONE]\n\n"


def _frame(choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
    event = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": MODEL,
        "choices": choices,
    }
    if usage is not None:
        event["usage"] = usage
    return b"data: " + orjson.dumps(event) + b"\n\n"


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}


def _whole(plan: Planned) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(plan.tokens)}
    if plan.reasoning:
        message["reasoning_content"] = "".join(plan.reasoning)
    if plan.tool_calls:
        message["tool_calls"] = [
            {
                "id": f"call_{n}",
                "type": "function",
                "function": {"name": call.name, "arguments": orjson.dumps(call.arguments).decode()},
            }
            for n, call in enumerate(plan.tool_calls)
        ]
    return {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": MODEL,
        "choices": [{"index": 0, "message": message, "finish_reason": plan.finish}],
        "usage": _usage(plan),
    }


def _usage(plan: Planned) -> dict[str, Any]:
    usage = plan.usage
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _messages(body: dict[str, Any]) -> list[Message]:
    return [Message(role=m["role"], content=m.get("content")) for m in body["messages"]]


def _sampling(body: dict[str, Any]) -> Sampling:
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    return Sampling(max_tokens=limit, seed=body.get("seed"))


def _schema(body: dict[str, Any]) -> JsonSchema | None:
    wanted = body.get("response_format") or {}
    if wanted.get("type") != "json_schema":
        return None
    return JsonSchema(wanted["json_schema"]["name"], wanted["json_schema"]["schema"])


def main() -> None:
    """Serve until the process is stopped."""
    parser = argparse.ArgumentParser(description="An OpenAI-compatible server with scripted replies.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--script", type=Path)
    options = parser.parse_args()
    script = Script.load(options.script) if options.script else Script()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((options.host, options.port))
        sock.listen(1024)
        print(f"listening on http://{options.host}:{sock.getsockname()[1]}", flush=True)
        config = uvicorn.Config(_Server(script).app(), log_level="critical", access_log=False, lifespan="off")
        uvicorn.Server(config).run(sockets=[sock])


if __name__ == "__main__":
    main()
