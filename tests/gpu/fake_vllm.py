"""A server with vLLM's routes that sessions use, and the plug-in's, over the scripted engine; in this process."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from runtime.llm.base import CallInfo
from runtime.llm.scripted_sessions import (
    END_OF_TEXT,
    Asked,
    Generated,
    ScriptedEngine,
    chat_prompt,
    decode,
    encode,
)
from runtime.llm.sessions import Bound
from runtime.types import Message, Sampling


class FakeVLLM:
    """`seen`: bodies by route. `drop()` forgets the held sessions, `disabled` is what the plug-in says when it refuses."""

    def __init__(self, engine: ScriptedEngine, *, tokenizes: bool = True, holds: bool = True) -> None:
        self.engine = engine
        self.seen: list[tuple[str, dict[str, Any]]] = []
        self.disabled = False
        self.breaks_after: int | None = None
        self._tokenizes = tokenizes
        self._holds = holds

    def drop(self) -> None:
        self.engine.sessions.clear()

    def bodies(self, path: str) -> list[dict[str, Any]]:
        return [body for at, body in self.seen if at == path]

    def app(self) -> Starlette:
        routes = [
            Route("/v1/models", self.models),
            Route("/v1/completions", self.completions, methods=["POST"]),
        ]
        if self._tokenizes:
            routes.append(Route("/tokenize", self.tokenize, methods=["POST"]))
        if self._holds:
            routes += [
                Route("/mneme/sessions", self.state),
                Route("/mneme/sessions/{sid}/generate", self.generate, methods=["POST"]),
                Route("/mneme/sessions/{sid}", self.close, methods=["DELETE"]),
            ]
        return Starlette(routes=routes)

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [{"id": "m", "object": "model", "created": 0, "owned_by": "x"}]})

    async def tokenize(self, request: Request) -> Response:
        body = await self._body(request, "/tokenize")
        if "messages" in body:
            assert body["add_generation_prompt"] is True
            text = chat_prompt([Message(m["role"], m["content"]) for m in body["messages"]])
        else:
            assert body["add_special_tokens"] is False
            text = body["prompt"]
        ids = encode(text)
        return JSONResponse({"count": len(ids), "max_model_len": self.engine.window, "tokens": ids})

    async def completions(self, request: Request) -> Response:
        body = await self._body(request, "/v1/completions")
        assert "prompt_logprobs" not in body
        assert body["stream"] is body["return_token_ids"] is True
        asked = _asked(request, body["prompt"], body, body.get("structured_outputs"))
        return StreamingResponse(self._completion(self.engine.complete(asked), body), media_type="text/event-stream")

    async def _completion(self, made: Generated, body: dict[str, Any]) -> AsyncIterator[str]:
        prompt, text, stops = len(body["prompt"]), "", body.get("stop", [])
        for n, token in enumerate(made.ids):
            if self.breaks_after == n:
                self.breaks_after = None
                return
            piece = decode([token])
            stop = next((stop for stop in stops if stop in text + piece), None)
            if stop is not None:
                # The text ends with the stop string; the token that completes it is there as a whole.
                whole = (text + piece)[: (text + piece).index(stop) + len(stop)]
                yield _frame(
                    {"text": whole[len(text) :], "token_ids": [token], "finish_reason": "stop", "stop_reason": stop}
                )
                break
            text += piece
            last = n == len(made.ids) - 1 and made.finish == "length"
            yield _frame({"text": piece, "token_ids": [token], "finish_reason": "length" if last else None})
        else:
            if made.finish == "stop":
                yield _frame({"text": "", "token_ids": [END_OF_TEXT], "finish_reason": "stop", "stop_reason": None})
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": len(made.ids),
            "prompt_tokens_details": {"cached_tokens": made.cached},
        }
        yield f"data: {json.dumps({'model': 'm', 'choices': [], 'usage': usage})}\n\n"
        yield "data: [DONE]\n\n"

    async def state(self, request: Request) -> Response:
        return JSONResponse({"enabled": not self.disabled, "reason": None, "sessions": len(self.engine.sessions)})

    async def close(self, request: Request) -> Response:
        self.seen.append(("DELETE", {}))
        self.engine.sessions.pop(request.path_params["sid"], None)
        return Response(status_code=204)

    async def generate(self, request: Request) -> Response:
        body = await self._body(request, "generate")
        assert set(body) == {"truncate_to", "append", "holds", "sampling", "bound"}
        if self.disabled:
            return JSONResponse({"error": {"code": "sessions_disabled", "message": "no"}}, 503)
        sid = request.path_params["sid"]
        live = self.engine.sessions.get(sid, [])
        if body["holds"] != len(live):
            self.engine.sessions.pop(sid, None)
            return JSONResponse({"error": {"code": "session_gone", "message": "gone"}}, 409)
        kept = live if body["truncate_to"] is None else live[: body["truncate_to"]]
        # The token that was written last has no keys and values yet.
        computed = len(kept) if len(kept) < len(live) else max(0, len(kept) - 1)
        asked = _asked(request, [*kept, *body["append"]], body["sampling"], body["bound"])
        made = self.engine.go_on(sid, asked, computed)
        return StreamingResponse(self._turn(made, sid), media_type="text/event-stream")

    async def _turn(self, made: Generated, sid: str) -> AsyncIterator[str]:
        for token in made.ids:
            yield f"data: {json.dumps({'ids': [token], 'text': decode([token])})}\n\n"
        end = {
            "finish": made.finish,
            "prompt_tokens": made.computed + made.cached,
            "computed": made.computed,
            "cached": made.cached,
            "blocks": made.blocks,
            "live": len(self.engine.sessions[sid]),
        }
        yield f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n"

    async def _body(self, request: Request, path: str) -> dict[str, Any]:
        body = json.loads(await request.body())
        self.seen.append((path, body))
        return dict(body)


@asynccontextmanager
async def serve(app: Starlette) -> AsyncIterator[str]:
    """The root address of the app while the block lasts."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


def _asked(request: Request, ids: list[int], sampling: dict[str, Any], form: dict[str, Any] | None) -> Asked:
    info = CallInfo(request.headers["x-mneme-purpose"], request.headers["x-mneme-run"])
    chosen = Sampling(max_tokens=sampling["max_tokens"], seed=sampling.get("seed"))
    return Asked(info, tuple(ids), decode(ids), chosen, Bound(**form) if form else None)


def _frame(choice: dict[str, Any]) -> str:
    return f"data: {json.dumps({'model': 'm', 'choices': [{'index': 0, **choice}]})}\n\n"
