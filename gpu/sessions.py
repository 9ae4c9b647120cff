"""Sessions over a vLLM server: the live tokens are kept here, as ids, and are sent again with every generation (A1).

`Resubmitted` needs nothing but the server's public API: `/tokenize`, and `/v1/completions` with ids as prompt and as answer.
What the server still has of them it finds in its prefix cache, whole blocks only; so a cut costs what stood behind it and at
most a block less one token. The other way, in which the server holds the sequence itself, is gpu/in_engine.py.

How its answers become ids and text stands in gpu/session_wire.py. `prompt_logprobs` is never asked for: it would pass the
prefix cache by. Source: vllm §4, §6.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Literal, cast

import httpx2
import openai

from gpu.session_wire import Written, bound_body, ids_of, sampling_body
from runtime.errors import MalformedReply, ModelError, ModelRejected
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.fold import closing
from runtime.llm.openai import LEFT_OUT, BodyFor, OpenAICompatible, connect
from runtime.llm.sequence import LiveTokens
from runtime.llm.sessions import Bound, Session
from runtime.llm.wire import message_body
from runtime.settings import Settings
from runtime.types import Message, Sampling, Usage

# Encodings of texts that the runtime writes again and again (brackets, keys) are remembered.
SHORT_CHARS = 200
REMEMBERED = 2000


def from_settings(model: str | None, settings: Settings) -> VLLM:
    """The client for `vllm/<model>`: a configured server that is vLLM, or our own engine."""
    return _make(model, settings, "vllm")


def own_engine(model: str | None, settings: Settings) -> VLLM:
    """The client for a model of our own engine. It is named like any other configured server's."""
    return _make(model, settings, "openai")


def _make(model: str | None, settings: Settings, backend: str) -> VLLM:
    in_engine = settings.engine.sessions == "in_engine"
    return VLLM(
        connect(settings),
        model,
        settings.llm_base_url,
        timeout_s=settings.llm.timeout_s,
        backend=backend,
        in_engine=in_engine,
    )


class VLLM(OpenAICompatible):
    """A model of a vLLM server: everything that `OpenAICompatible` does, and sessions."""

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        model: str | None,
        base_url: str,
        *,
        timeout_s: float,
        backend: str = "vllm",
        in_engine: bool = False,
    ) -> None:
        super().__init__(client, model, base_url, timeout_s=timeout_s)
        self._backend = backend
        self._in_engine = in_engine
        self._encoded: dict[str, tuple[int, ...]] = {}

    @property
    def ref(self) -> str:
        """See `LLM`."""
        return f"{self._backend}/{self._model or 'default'}"

    @property
    def root(self) -> str:
        """The server's address without the `/v1` of the OpenAI protocol."""
        return self._base_url.rstrip("/").removesuffix("/v1")

    @asynccontextmanager
    async def session(self, messages: Sequence[Message], *, info: CallInfo) -> AsyncIterator[Session]:
        """See `SupportsSessions`. Raises `ModelUnavailable`, and `ModelRejected` for a server that has no `/tokenize`."""
        prompt = await self._tokenize(
            {"messages": [message_body(message) for message in messages], "add_generation_prompt": True}
        )
        ids, window = ids_of(prompt.get("tokens")), prompt.get("max_model_len")
        if not isinstance(window, int):
            raise MalformedReply(
                f"model server {self._base_url!r}: expected 'max_model_len' from /tokenize; is it vLLM?"
            )
        if self._in_engine and await self._holds_sessions():
            # It is an optional part: without it nothing of it is loaded.
            from gpu.in_engine import Held

            held = Held(self, ids, window)
            try:
                yield held
            finally:
                await held.leave()
        else:
            yield Resubmitted(self, ids, window)

    async def encode(self, text: str) -> tuple[int, ...]:
        """The ids of a text inside a sequence: no special tokens are added. Raises `ModelError`s."""
        if not text:
            return ()
        known = self._encoded.get(text)
        if known is None:
            known = ids_of((await self._tokenize({"prompt": text, "add_special_tokens": False})).get("tokens"))
            if len(text) <= SHORT_CHARS and len(self._encoded) < REMEMBERED:
                self._encoded[text] = known
        return known

    async def exchange(
        self, method: Literal["GET", "POST", "DELETE"], path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """One request below the server's root, answered by a JSON object. Raises `ModelError`s only."""
        send = {"GET": self._client.get, "POST": self._client.post, "DELETE": self._client.delete}[method]
        more = {} if body is None else {"body": body}
        try:
            reply = cast(
                httpx2.Response,
                await cast(Any, send)(
                    f"{self.root}{path}", options={"headers": LEFT_OUT}, cast_to=httpx2.Response, **more
                ),
            )
            found = json.loads(reply.text or "{}")
        except (openai.OpenAIError, httpx2.HTTPError) as error:
            raise self._in_our_words(error) from error
        except json.JSONDecodeError as error:
            raise MalformedReply(f"model server {self._base_url!r}: {path} did not answer JSON") from error
        if not isinstance(found, dict):
            raise MalformedReply(
                f"model server {self._base_url!r}: {path} did not answer an object, got {found!r:.200}"
            )
        return found

    async def _tokenize(self, body: dict[str, Any]) -> dict[str, Any]:
        try:
            return await self.exchange("POST", "/tokenize", {"model": await self.pin(), **body})
        except ModelRejected as error:
            if error.status not in (404, 405):
                raise
            raise ModelRejected(
                f"model server {self._base_url!r}: it has no /tokenize and takes no token ids; sessions need vLLM",
                status=error.status,
            ) from error

    async def _holds_sessions(self) -> bool:
        # A server that cannot be asked may have them again the next time: the answer is not remembered.
        with contextlib.suppress(ModelError):
            return (await self.exchange("GET", "/mneme/sessions")).get("enabled") is True
        return False


class Resubmitted(LiveTokens):
    """A session whose tokens are all sent again with each generation; the server keeps nothing for it."""

    def __init__(self, server: VLLM, prompt: Sequence[int], window: int) -> None:
        super().__init__(prompt)
        self._server = server
        self._window = window

    @property
    def backend(self) -> Literal["resubmit", "in_engine"]:
        """See `Session`."""
        return "resubmit"

    @property
    def window(self) -> int:
        """See `Session`."""
        return self._window

    async def encode(self, text: str) -> tuple[int, ...]:
        """See `Session`."""
        return await self._server.encode(text)

    async def stream(self, *, info: CallInfo, sampling: Sampling, bound: Bound | None = None) -> AsyncIterator[Chunk]:
        """See `Session`."""
        prompt, limit = list(self._ids), self._room(sampling)

        def body_for(model: str) -> dict[str, Any]:
            body: dict[str, Any] = {**dict(sampling.extra), **sampling_body(sampling), **bound_body(bound)}
            if sampling.stop:
                body |= {"stop": list(sampling.stop), "include_stop_str_in_output": True}
            return body | {"model": model, "prompt": prompt, "max_tokens": limit, "return_token_ids": True}

        written = Written(sampling.stop)
        async with aclosing(self._pieces("/completions", body_for, info, written)) as pieces:
            async for piece in pieces:
                yield piece
        rest = await written.rest(self.encode)
        usage = written.usage or Usage(len(prompt), written.generated)
        self.wrote(written.kept, usage)
        yield replace(rest, usage=usage)

    def _room(self, sampling: Sampling) -> int:
        """How many tokens may be generated."""
        room = self._window - len(self._ids)
        if room < 1:
            raise ModelRejected(
                f"session: {len(self._ids)} live tokens fill the model's window of {self._window}; cut something",
                status=400,
            )
        return room if sampling.max_tokens is None else max(1, min(sampling.max_tokens, room))

    async def _pieces(
        self, path: str, body_for: BodyFor, info: CallInfo, written: Written
    ) -> AsyncGenerator[Chunk, None]:
        async with closing(events := self._server.stream_from(path, body_for, info, written.read)):
            async for _ in events:
                for piece in written.ready():
                    yield piece
