"""Any OpenAI-compatible server, through the openai SDK without its retries.

The SDK makes the request and tells what went wrong before an answer begins; the event stream itself is read line by
line here, because its models cost more per token than the rest of the gateway together. What a compatible server gets
wrong (no usage, an error inside the stream, an end without a finish) is put into words here, once. Source: OpenAI chat
protocol; ours.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, cast

import anyio
import httpx2
import openai

from runtime import textsafe
from runtime.errors import MalformedReply, ModelError, ModelOverloaded, ModelRejected, ModelUnavailable
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.fold import complete
from runtime.llm.wire import chunk_of, request_body
from runtime.settings import Settings
from runtime.types import JsonObject, JsonSchema, Message, Sampling, ToolSpec

PROBE_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
# After its last event a server only has to end the body. Waiting that long for it keeps the connection usable.
DRAIN_S = 0.1
KEEP_ALIVE_S = 60.0
# Two headers that the SDK adds behind `default_headers`.
LEFT_OUT = {"x-stainless-retry-count": openai.Omit(), "x-stainless-read-timeout": openai.Omit()}
# The request body for a model name; a parsed event of an answer as a chunk, None when it says nothing.
BodyFor = Callable[[str], dict[str, Any]]
ReadEvent = Callable[[object], Chunk | None]


class _PlainClient(openai.AsyncOpenAI):
    """Sends what the protocol needs, and nothing about this machine or its environment."""

    @property
    def default_headers(self) -> dict[str, str | openai.Omit]:
        return {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "mneme"}


def from_settings(model: str | None, settings: Settings) -> OpenAICompatible:
    """The client for `model` on the configured server, or on our own engine when none is configured."""
    return OpenAICompatible(connect(settings), model, settings.llm_base_url, timeout_s=settings.llm.timeout_s)


def connect(settings: Settings) -> openai.AsyncOpenAI:
    """Connections to the configured server, or to our own engine; nothing is sent yet."""
    llm = settings.llm
    timeout = httpx2.Timeout(llm.idle_timeout_s, connect=llm.connect_timeout_s, pool=llm.timeout_s)
    limits = httpx2.Limits(
        max_connections=llm.max_connections,
        max_keepalive_connections=llm.max_connections,
        keepalive_expiry=KEEP_ALIVE_S,
    )
    return _PlainClient(
        base_url=settings.llm_base_url,
        api_key=llm.api_key.get_secret_value() if llm.api_key else "none",
        max_retries=0,
        timeout=timeout,
        http_client=openai.DefaultAsyncHttpxClient(timeout=timeout, limits=limits, trust_env=False),
    )


class OpenAICompatible:
    """One model of one server. Without a model name the first that the server lists is taken, once it can be asked."""

    def __init__(self, client: openai.AsyncOpenAI, model: str | None, base_url: str, *, timeout_s: float) -> None:
        self._client = client
        self._model = model
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._usage_option = True
        # The smallest `max_tokens` that the server has refused: more than its model can hold.
        self._too_many: float = math.inf
        self._binds: bool | None = None
        self._probing = anyio.Lock()

    @property
    def ref(self) -> str:
        """See `LLM`."""
        return f"openai/{self._model or 'default'}"

    async def pin(self) -> str:
        """Settle on a model name. Raises `ModelUnavailable`."""
        if self._model is None:
            names = await self.models()
            if not names:
                raise ModelUnavailable(f"model server {self._base_url!r}: it lists no model; set MNEME_LLM__MODEL")
            self._model = names[0]
        return self._model

    async def models(self) -> Sequence[str]:
        """See `LLM`."""
        return [*await self._listed()]

    async def window(self) -> int | None:
        """See `SupportsWindow`; vLLM tells it in its list of models."""
        return (await self._listed()).get(await self.pin())

    async def _listed(self) -> dict[str, int | None]:
        """The models of the server, and the window of each that tells it."""
        try:
            page = await self._client.models.list(timeout=10.0)
            told = {model.id: (model.model_extra or {}).get("max_model_len") for model in page.data}
            return {name: window if isinstance(window, int) else None for name, window in told.items()}
        except (openai.OpenAIError, httpx2.HTTPError, json.JSONDecodeError, TypeError, AttributeError) as error:
            raise ModelUnavailable(
                f"model server {self._base_url!r}: cannot list its models: {_words(error)}. One that Mneme starts needs "
                "a while to load; GET /ready says when it is there"
            ) from error

    async def aclose(self) -> None:
        """See `LLM`."""
        await self._client.close()

    async def binds_schema(self) -> bool:
        """See `SupportsSchema`. Asks for a tiny object in a sentence that does not lead to one."""
        async with self._probing:
            if self._binds is None:
                try:
                    reply = await complete(
                        self,
                        [Message("user", "Say hello.")],
                        info=CallInfo("probe.json_schema", "none"),
                        sampling=Sampling(temperature=0.0, max_tokens=24),
                        schema=JsonSchema("probe", PROBE_SCHEMA),
                    )
                    self._binds = isinstance(json.loads(reply.text).get("ok"), bool)
                except (ModelRejected, json.JSONDecodeError, AttributeError):
                    self._binds = False
        return self._binds

    def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]:
        """See `LLM`."""
        return self.stream_from(
            "/chat/completions", lambda model: request_body(model, messages, sampling, tools, schema), info, chunk_of
        )

    async def stream_from(self, path: str, body_for: BodyFor, info: CallInfo, read: ReadEvent) -> AsyncIterator[Chunk]:
        """Post the body for our model to `path` and yield what `read` makes of the events of the answer.

        `path` is one of the protocol, which is told to stream, or a whole URL, which gets the body as it is. `read` gives
        a chunk with a `finish_reason` for the event that ends the answer. Raises `ModelError`s only.
        """
        body = body_for(await self.pin())
        headers = {"X-Mneme-Purpose": info.purpose, "X-Mneme-Run": info.run_id}
        deadline = time.monotonic() + self._timeout_s
        finished = False
        try:
            async with _Opened(self, path, body, headers) as response:
                async for chunk in _chunks(response, read):
                    finished = finished or chunk.finish_reason is not None
                    yield chunk
                    if time.monotonic() > deadline:
                        raise ModelUnavailable(
                            f"model server {self._base_url!r}: no end of the answer after {self._timeout_s:g} s"
                        )
        except ModelError:
            raise
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError) as error:
            # An answer is whole once its finish_reason came; what happens to the connection behind it is no matter.
            if not finished:
                raise self._in_our_words(error) from error
        if not finished:
            raise ModelUnavailable(f"model server {self._base_url!r}: the answer broke off before its end")

    def _in_our_words(self, error: Exception) -> ModelError:
        where = f"model server {self._base_url!r}"
        if isinstance(error, openai.APIStatusError):
            status = error.status_code
            text = f"{where}: answered {status}: {_words(error)}"
            if status == 429 or status >= 500:
                return ModelOverloaded(text, status=status, retry_after_s=_retry_after(error.response.headers))
            return ModelRejected(text, status=status)
        if isinstance(error, openai.APITimeoutError | httpx2.TimeoutException):
            return ModelUnavailable(f"{where}: no word from it in time ({type(error).__name__})")
        if isinstance(error, httpx2.ReadError | httpx2.RemoteProtocolError):
            return ModelUnavailable(f"{where}: the answer broke off before its end ({error})")
        return ModelUnavailable(f"{where}: {_words(error)}; is it running?")


class _Opened:
    """An answer that has begun. Entering sends the request, leaving closes it, whatever has been read."""

    def __init__(self, owner: OpenAICompatible, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        self._owner = owner
        self._path = path
        self._body = body
        self._headers = headers
        self._response: httpx2.Response | None = None

    async def __aenter__(self) -> httpx2.Response:
        body = dict(self._body)
        if self._path.startswith("/"):
            body["stream"] = True
            if self._owner._usage_option:
                body["stream_options"] = {"include_usage": True}
        if body.get("max_tokens", 0) >= self._owner._too_many:
            del body["max_tokens"]
        try:
            self._response = await self._send(body)
        except openai.BadRequestError as error:
            self._do_without(body, error)
            self._response = await self._send(body)
        return self._response

    def _do_without(self, body: dict[str, Any], error: openai.BadRequestError) -> None:
        """Take what the server does not know or cannot give out of the body; raise the error when it is something else.

        A limit above what the model can hold (a budget, mostly) is none: without it the answer ends there all the same.
        """
        if "stream_options" in body and "stream_options" in str(error):
            self._owner._usage_option = False
            del body["stream_options"]
        elif "max_tokens" in body and error.param == "max_tokens":
            self._owner._too_many = min(self._owner._too_many, body.pop("max_tokens"))
        else:
            raise error

    async def __aexit__(self, *_: object) -> None:
        if self._response is not None:
            # A cancelled run must still close the connection: that is what stops the server.
            with anyio.CancelScope(shield=True):
                await self._response.aclose()

    async def _send(self, body: dict[str, Any]) -> httpx2.Response:
        # Asked to cast to the bare response, the SDK hands it out unread; its types only know the event streams.
        response: object = await self._owner._client.post(
            self._path,
            content=textsafe.dumps(body).encode(),
            options={"headers": {**self._headers, **LEFT_OUT}},
            cast_to=httpx2.Response,
            stream=True,
            stream_cls=openai.AsyncStream[httpx2.Response],
        )
        return cast(httpx2.Response, response)


async def _chunks(response: httpx2.Response, read: ReadEvent) -> AsyncIterator[Chunk]:
    """Server-sent events to chunks, up to `[DONE]`."""
    if "text/event-stream" not in response.headers.get("content-type", "text/event-stream"):
        await response.aread()
        raise MalformedReply(f"model server: expected an event stream, got {response.text[:200]!r}")
    lines, events, answered = response.aiter_lines(), 0, False
    async for line in lines:
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            # Only a connection whose answer was read to the end can be used again.
            with anyio.move_on_after(DRAIN_S):
                async for _ in lines:
                    pass
            break
        try:
            event = textsafe.loads(data)
        except ValueError as error:
            raise MalformedReply(f"model server: a line of its stream is not JSON: {data[:200]!r}") from error
        events += 1
        chunk = read(event)
        if chunk is not None:
            answered = answered or chunk.usage is None or chunk.finish_reason is not None
            yield chunk
    if events and not answered:
        raise MalformedReply("model server: an answer without choices; see its log")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.replace(".", "", 1).isdigit() else None


def _words(error: Exception) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])[:500]
    cause = error.__cause__
    return f"{error}{f' ({cause})' if cause is not None and str(cause) else ''}"[:500]
