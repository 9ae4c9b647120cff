"""Any server that speaks the OpenAI chat protocol: vLLM, OpenAI, a proxy, our own scripted server.

A call is always streamed. The openai SDK makes the request (address, credentials, connection pool, status errors); the
answer is read by `answer.py`, because building the SDK's models for each token costs more than all else on this path.
What a server turns out not to know is remembered, and left out from then on. Source: ours.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, cast
from urllib.parse import urlsplit

import anyio
import httpx2
from openai import (
    AsyncOpenAI,
    AsyncStream,
    BadRequestError,
    DefaultAsyncHttpx2Client,
    Omit,
    UnprocessableEntityError,
)
from pydantic import SecretStr

from runtime import textsafe
from runtime.errors import ModelUnavailable, SettingsError
from runtime.llm import probe
from runtime.llm.answer import Patience, chunks
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.faults import TRANSPORT_FAULTS
from runtime.llm.wire import request_body
from runtime.settings import Settings
from runtime.types import JsonSchema, Message, Sampling, ToolSpec

_KEEP_ALIVE_S = 60.0
# Two headers that the SDK adds behind `default_headers`.
_LEFT_OUT = {"x-stainless-retry-count": Omit(), "x-stainless-read-timeout": Omit()}
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class _PlainClient(AsyncOpenAI):
    """Sends what the protocol needs, and nothing about this machine or its environment."""

    @property
    def default_headers(self) -> dict[str, str | Omit]:
        return {"Accept": "application/json", "Content-Type": "application/json", "User-Agent": "mneme"}


class OpenAICompatible:
    """An `LLM` over HTTP. One object serves every run of the process and holds one pool of connections.

    `model` None is the first model the server lists, looked up once. `timeout_s` bounds a whole answer,
    `idle_timeout_s` each silence in it. Raises `SettingsError` for an address that is not http(s).
    """

    def __init__(
        self,
        base_url: str,
        *,
        model: str | None,
        backend: str = "openai",
        api_key: SecretStr | None = None,
        timeout_s: float = 600.0,
        idle_timeout_s: float = 120.0,
        connect_timeout_s: float = 5.0,
        max_connections: int = 256,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError(
                f"llm.base_url {base_url!r}: expected an address like 'http://127.0.0.1:8000/v1'"
            )
        self._backend = backend
        self._model = model
        self._patience = Patience(base_url, timeout_s, idle_timeout_s)
        self._lock = anyio.Lock()
        self._binds_schema: bool | None = None
        self._knows_stream_options = True
        self._max_tokens_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
        timeout = httpx2.Timeout(connect=connect_timeout_s, read=idle_timeout_s, write=idle_timeout_s, pool=timeout_s)
        limits = httpx2.Limits(
            max_connections=max_connections,
            max_keepalive_connections=max_connections,
            keepalive_expiry=_KEEP_ALIVE_S,
        )
        self._client = _PlainClient(
            base_url=base_url,
            # The SDK insists on some key; servers without keys ignore it.
            api_key=api_key.get_secret_value() if api_key else "none",
            # Set, so that the SDK does not look for them in the environment.
            admin_api_key="",
            organization="",
            project="",
            webhook_secret="",
            max_retries=0,
            timeout=timeout,
            # A proxy named by the environment is for the world outside, not for a server of this machine.
            http_client=DefaultAsyncHttpx2Client(
                timeout=timeout, limits=limits, trust_env=parts.hostname not in _LOOPBACK
            ),
        )

    @classmethod
    def from_settings(cls, backend: str, model: str | None, settings: Settings) -> OpenAICompatible:
        """The configured server, or our own vLLM process when none is configured."""
        llm, engine = settings.llm, settings.engine
        return cls(
            llm.base_url or f"http://{engine.host}:{engine.port}/v1",
            model=model or llm.model,
            backend=backend,
            api_key=llm.api_key,
            timeout_s=llm.timeout_s,
            idle_timeout_s=llm.idle_timeout_s,
            connect_timeout_s=llm.connect_timeout_s,
            max_connections=llm.max_connections,
        )

    @property
    def ref(self) -> str:
        return f"{self._backend}/{self._model or 'default'}"

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        info: CallInfo,
        sampling: Sampling,
        tools: Sequence[ToolSpec] = (),
        schema: JsonSchema | None = None,
    ) -> AsyncIterator[Chunk]:
        """Yield what the server sends, as it comes. Raises `ModelError`s only."""
        started = time.monotonic()
        body = request_body(await self._model_name(), messages, sampling, tools, schema)
        response = await self._open(body, {"X-Mneme-Purpose": info.purpose, "X-Mneme-Run": info.run_id})
        try:
            async for chunk in chunks(response, self._patience, started=started):
                yield chunk
        finally:
            # Cancelling a run must still close the connection: that is what stops the server.
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def models(self) -> Sequence[str]:
        """The names of `GET /models`, in the server's order. Raises `ModelUnavailable`."""
        server = self._patience.server
        try:
            page = await self._client.get("/models", cast_to=httpx2.Response)
            return [str(model["id"]) for model in textsafe.loads(page.text)["data"]]
        except TRANSPORT_FAULTS as error:
            raise ModelUnavailable(self._patience.error(error).message) from error
        except (KeyError, TypeError, ValueError) as error:
            raise ModelUnavailable(
                f"model server {server!r}: its list of models is not the OpenAI protocol ({error!r}); "
                "check llm.base_url, which usually ends in '/v1'"
            ) from error

    async def binds_schema(self) -> bool:
        """Probe the server on the first call and remember. Raises `ModelError`s when it cannot be asked."""
        async with self._lock:
            if self._binds_schema is None:
                self._binds_schema = await probe.binds_schema(self)
        return self._binds_schema

    async def aclose(self) -> None:
        await self._client.close()

    async def _model_name(self) -> str:
        if self._model is None:
            listed = await self.models()
            if not listed:
                raise ModelUnavailable(f"model server {self._patience.server!r}: it lists no model; set llm.model")
            self._model = listed[0]
        return self._model

    async def _open(self, body: dict[str, Any], headers: dict[str, str]) -> httpx2.Response:
        """Send the request; when the server does not know a field of ours, put it its way and remember."""
        while True:
            sent = self._in_its_words(body)
            try:
                response = await self._client.post(
                    "/chat/completions",
                    cast_to=httpx2.Response,
                    content=textsafe.dumps(sent).encode(),
                    options={"headers": {**headers, **_LEFT_OUT}},
                    stream=True,
                    stream_cls=AsyncStream[object],
                )
            except (BadRequestError, UnprocessableEntityError) as error:
                if not self._learn(error.message, sent):
                    raise self._patience.error(error) from error
            except TRANSPORT_FAULTS as error:
                raise self._patience.error(error) from error
            else:
                # With this `cast_to` the SDK hands out the open response itself, which its types do not say.
                return cast(httpx2.Response, response)

    def _in_its_words(self, body: dict[str, Any]) -> dict[str, Any]:
        sent = {**body, "stream": True}
        if self._knows_stream_options:
            sent["stream_options"] = {"include_usage": True}
        if "max_tokens" in sent:
            sent[self._max_tokens_name] = sent.pop("max_tokens")
        return sent

    def _learn(self, refusal: str, sent: dict[str, Any]) -> bool:
        """True when the refusal is about a field that can be put differently, which is done from now on."""
        if "stream_options" in sent and "stream_options" in refusal:
            self._knows_stream_options = False
            return True
        if "max_tokens" in sent and "max_completion_tokens" in refusal:
            self._max_tokens_name = "max_completion_tokens"
            return True
        return False
