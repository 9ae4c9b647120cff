"""Any OpenAI-compatible server, through the openai SDK without its retries.

The SDK makes the request and tells what went wrong before an answer begins; the event stream itself is read line by
line here, because its models cost more per token than the rest of the gateway together. What a compatible server gets
wrong (no usage, an error inside the stream, an end without a finish) is put into words here, once. Source: OpenAI chat
protocol; ours.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

import httpx2
import openai
import orjson

from runtime.errors import MalformedReply, ModelError, ModelOverloaded, ModelRejected, ModelUnavailable
from runtime.llm.base import CallInfo, Chunk, ToolCallDelta
from runtime.settings import Settings
from runtime.types import FinishReason, JsonObject, JsonSchema, Message, Sampling, ToolSpec, Usage

PROBE_SCHEMA: JsonObject = {
    "type": "object",
    "properties": {"ok": {"type": "boolean"}},
    "required": ["ok"],
    "additionalProperties": False,
}
FINISH: Mapping[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def from_settings(model: str | None, settings: Settings) -> OpenAICompatible:
    """The client for `model` on the configured server, or on our own engine when none is configured."""
    llm = settings.llm
    timeout = httpx2.Timeout(llm.idle_timeout_s, connect=llm.connect_timeout_s, pool=llm.timeout_s)
    limits = httpx2.Limits(max_connections=llm.max_connections, max_keepalive_connections=llm.max_connections)
    client = openai.AsyncOpenAI(
        base_url=settings.llm_base_url,
        api_key=llm.api_key.get_secret_value() if llm.api_key else "none",
        max_retries=0,
        timeout=timeout,
        http_client=openai.DefaultAsyncHttpxClient(timeout=timeout, limits=limits, trust_env=False),
    )
    return OpenAICompatible(client, model, settings.llm_base_url, timeout_s=llm.timeout_s)


class OpenAICompatible:
    """One model of one server. Without a model name the first that the server lists is taken, once it can be asked."""

    def __init__(self, client: openai.AsyncOpenAI, model: str | None, base_url: str, *, timeout_s: float) -> None:
        self._client = client
        self._model = model
        self._base_url = base_url
        self._timeout_s = timeout_s
        self._usage_option = True
        self._binds: bool | None = None

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
        try:
            page = await self._client.models.list(timeout=10.0)
            return [model.id for model in page.data]
        except (openai.OpenAIError, httpx2.HTTPError, json.JSONDecodeError, TypeError, AttributeError) as error:
            raise ModelUnavailable(
                f"model server {self._base_url!r}: cannot list its models: {_words(error)}"
            ) from error

    async def aclose(self) -> None:
        """See `LLM`."""
        await self._client.close()

    async def binds_schema(self) -> bool:
        """See `SupportsSchema`. Asks for a tiny object in a sentence that does not lead to one."""
        if self._binds is None:
            text = ""
            try:
                stream = self.stream(
                    [Message("user", "Say hello.")],
                    info=CallInfo("probe.json_schema", "none"),
                    sampling=Sampling(temperature=0.0, max_tokens=24),
                    schema=JsonSchema("probe", PROBE_SCHEMA),
                )
                async for chunk in stream:
                    text += chunk.text
                self._binds = isinstance(json.loads(text).get("ok"), bool)
            except (ModelRejected, json.JSONDecodeError, AttributeError):
                self._binds = False
        return self._binds

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]:
        """See `LLM`."""
        body = request_body(await self.pin(), messages, sampling, tools, schema)
        headers = {"X-Mneme-Purpose": info.purpose, "X-Mneme-Run": info.run_id}
        deadline = time.monotonic() + self._timeout_s
        finished = False
        try:
            async with _Opened(self, body, headers) as response:
                async for chunk in _chunks(response):
                    finished = finished or chunk.finish_reason is not None
                    yield chunk
                    if time.monotonic() > deadline:
                        raise ModelUnavailable(
                            f"model server {self._base_url!r}: no end of the answer after {self._timeout_s:g} s"
                        )
        except ModelError:
            raise
        except (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError) as error:
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
        return ModelUnavailable(f"{where}: {_words(error)}; is it running?")


class _Opened:
    """An answer that has begun. Entering sends the request, leaving closes it, whatever has been read."""

    def __init__(self, owner: OpenAICompatible, body: dict[str, Any], headers: dict[str, str]) -> None:
        self._owner = owner
        self._body = body
        self._headers = headers
        self._response: httpx2.Response | None = None

    async def __aenter__(self) -> httpx2.Response:
        body = dict(self._body)
        if self._owner._usage_option:
            body["stream_options"] = {"include_usage": True}
        try:
            self._response = await self._send(body)
        except openai.BadRequestError as error:
            if "stream_options" not in body or "stream_options" not in str(error):
                raise
            self._owner._usage_option = False
            self._response = await self._send(self._body)
        return self._response

    async def __aexit__(self, *_: object) -> None:
        if self._response is not None:
            await self._response.aclose()

    async def _send(self, body: dict[str, Any]) -> httpx2.Response:
        # Asked to cast to the bare response, the SDK hands it out unread; its types only know the event streams.
        response: object = await self._owner._client.post(
            "/chat/completions",
            body=body,
            options={"headers": self._headers},
            cast_to=httpx2.Response,
            stream=True,
            stream_cls=openai.AsyncStream[httpx2.Response],
        )
        return cast(httpx2.Response, response)


def request_body(
    model: str,
    messages: Sequence[Message],
    sampling: Sampling,
    tools: Sequence[ToolSpec],
    schema: JsonSchema | None,
) -> dict[str, Any]:
    """The JSON of a chat request; what is not set is left out."""
    body: dict[str, Any] = {"model": model, "messages": [message_body(m) for m in messages], "stream": True}
    for name in (
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
    ):
        value = getattr(sampling, name)
        if value is not None:
            body[name] = value
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if tools:
        body["tools"] = [_tool_body(tool) for tool in tools]
    if schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": schema.name, "schema": schema.schema, "strict": schema.strict},
        }
    body.update(sampling.extra)
    return body


def message_body(message: Message) -> dict[str, Any]:
    """The JSON of one message."""
    body: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        body["name"] = message.name
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return body


def _tool_body(tool: ToolSpec) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


async def _chunks(response: httpx2.Response) -> AsyncIterator[Chunk]:
    """Server-sent events to chunks, up to `[DONE]`."""
    if "text/event-stream" not in response.headers.get("content-type", "text/event-stream"):
        await response.aread()
        raise MalformedReply(f"model server: expected an event stream, got {response.text[:200]!r}")
    async for line in response.aiter_lines():
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        try:
            event = orjson.loads(data)
        except orjson.JSONDecodeError as error:
            raise MalformedReply(f"model server: a line of its stream is not JSON: {data[:200]!r}") from error
        yield _chunk(event)


def _chunk(event: Any) -> Chunk:
    if not isinstance(event, dict):
        raise MalformedReply(f"model server: expected an object in its stream, got {event!r:.200}")
    if event.get("error"):
        raise _stream_error(event["error"])
    usage = event.get("usage")
    choices = event.get("choices")
    try:
        if not choices:
            if choices is None or usage is None:
                raise MalformedReply(f"model server: an answer without choices: {event!r:.200}")
            return Chunk(usage=_usage(usage), model=event.get("model"))
        choice = choices[0]
        delta = choice.get("delta") or {}
        finish = choice.get("finish_reason")
        return Chunk(
            text=delta.get("content") or "",
            reasoning=delta.get("reasoning") or delta.get("reasoning_content") or "",
            tool_calls=tuple(_tool_delta(piece) for piece in delta.get("tool_calls") or ()),
            finish_reason=None if finish is None else FINISH.get(finish, "stop"),
            usage=None if usage is None else _usage(usage),
            model=event.get("model"),
            logprobs=choice.get("logprobs"),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MalformedReply(f"model server: not a chat completion chunk: {event!r:.200}") from error


def _tool_delta(piece: dict[str, Any]) -> ToolCallDelta:
    function = piece.get("function") or {}
    return ToolCallDelta(
        int(piece.get("index", 0)), piece.get("id"), function.get("name"), function.get("arguments") or ""
    )


def _usage(usage: dict[str, Any]) -> Usage:
    prompt, completion = usage.get("prompt_tokens_details") or {}, usage.get("completion_tokens_details") or {}
    return Usage(
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        cached_tokens=int(prompt.get("cached_tokens") or 0),
        reasoning_tokens=int(completion.get("reasoning_tokens") or 0),
    )


def _stream_error(error: Any) -> ModelError:
    text = error.get("message", error) if isinstance(error, dict) else error
    status = error.get("code") if isinstance(error, dict) else None
    status = int(status) if str(status).isdigit() else 500
    if status == 429 or status >= 500:
        return ModelOverloaded(f"model server: broke off with {status}: {text!s:.300}", status=status)
    return ModelRejected(f"model server: broke off with {status}: {text!s:.300}", status=status)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.replace(".", "", 1).isdigit() else None


def _words(error: Exception) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, dict) and isinstance(body.get("message"), str):
        return str(body["message"])[:500]
    cause = error.__cause__
    return f"{error}{f' ({cause})' if cause is not None and str(cause) else ''}"[:500]
