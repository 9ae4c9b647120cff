"""Sessions over a vLLM server: the live tokens are kept here, as ids, and are sent again with every generation (A1).

`Resubmitted` needs nothing but the server's public API: `/tokenize`, and `/v1/completions` with ids as prompt and as answer.
What the server still has of them it finds in its prefix cache, whole blocks only; so a cut costs what stood behind it and at
most a block less one token. The other way, in which the server holds the sequence itself, is gpu/in_engine.py.

What vLLM sends and what becomes of it: the end-of-text token is among the ids of the last event and is told by a `stop`
without a reason or with a number as the reason; it is dropped. Ids at the end that gave no text (half a character, a special
token) are dropped as well, so that ids and text say the same. With stop strings the server is asked to leave the string in
its answer: then every event has the text of its own ids, and the piece in which the string begins is cut there and encoded
anew. A regular expression or grammar that ends where the text is to end needs no such repair. `prompt_logprobs` is never
asked for: it would pass the prefix cache by. Source: vllm §4, §6; the shapes after vLLM 0.32.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, Literal, cast

import httpx2
import openai

from runtime.errors import MalformedReply, ModelError, ModelRejected
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.fold import closing
from runtime.llm.openai import LEFT_OUT, BodyFor, OpenAICompatible, connect
from runtime.llm.sequence import LiveTokens
from runtime.llm.sessions import Bound, Session
from runtime.llm.wire import chunk_of, message_body
from runtime.settings import Settings
from runtime.types import FinishReason, Message, Sampling, Usage

# Encodings of texts that the runtime writes again and again (brackets, keys) are remembered.
SHORT_CHARS = 200
REMEMBERED = 2000
_SAMPLING = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty")


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
        ids, window = _ids(prompt.get("tokens")), prompt.get("max_model_len")
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
            known = _ids((await self._tokenize({"prompt": text, "add_special_tokens": False})).get("tokens"))
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


class Written:
    """What one generation has written so far: reads the events of its stream, gives out what can no longer change."""

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._hold = max((len(stop) for stop in stops), default=0)
        self._pieces: list[tuple[str, tuple[int, ...]]] = []
        self._given = 0
        self._pending: tuple[int, ...] = ()
        self._stop_reason: object = None
        self._finish: FinishReason = "stop"
        self._model: str | None = None
        self.usage: Usage | None = None
        self.generated = 0
        self.kept: list[int] = []

    def read(self, event: object) -> Chunk | None:
        """Take an event of `/v1/completions` with `return_token_ids`."""
        if isinstance(event, dict) and event.get("choices"):
            choice = event["choices"][0]
            self._stop_reason = choice.get("stop_reason") or self._stop_reason
            found = chunk_of({**event, "choices": [{**choice, "delta": {"content": choice.get("text")}}]})
            if found is not None and found.usage is not None:
                self.usage = found.usage
            finish, model = (found.finish_reason, found.model) if found else (None, None)
            self.take(choice.get("text") or "", _ids(choice.get("token_ids") or []), finish)
            self._model = model or self._model
            return found or Chunk()
        found = chunk_of(event)
        if found is not None and found.usage is not None:
            self.usage = found.usage
        return found

    def take(self, text: str, ids: tuple[int, ...], finish: FinishReason | None) -> None:
        """Take what came: ids with their text, and how it ended."""
        self.generated += len(ids)
        if finish is not None:
            self._finish = finish
            if finish == "stop" and not isinstance(self._stop_reason, str):
                ids = ids[:-1]
        self._pending += ids
        if text:
            self._pieces.append((text, self._pending))
            self._pending = ()

    def ready(self) -> list[Chunk]:
        """The pieces that no stop string can reach any more, each once; the last one is always kept back."""
        out: list[Chunk] = []
        behind = sum(len(text) for text, _ in self._pieces[self._given :])
        while self._given < len(self._pieces) - 1:
            text, ids = self._pieces[self._given]
            behind -= len(text)
            if behind < self._hold:
                break
            out.append(Chunk(text=text, token_ids=ids))
            self.kept.extend(ids)
            self._given += 1
        return out

    async def rest(self, encode: Callable[[str], Awaitable[tuple[int, ...]]]) -> Chunk:
        """The last piece, after the end of the stream; what lies behind a stop string is gone."""
        whole = "".join(text for text, _ in self._pieces)
        end = len(whole)
        if isinstance(self._stop_reason, str) and self._stop_reason in whole:
            end = whole.rindex(self._stop_reason)
        at = sum(len(text) for text, _ in self._pieces[: self._given])
        said, ids = "", list[int]()
        for text, own in self._pieces[self._given :]:
            left = end - at
            at += len(text)
            if left <= 0:
                break
            said += text[:left]
            ids.extend(own if left >= len(text) else await encode(text[:left]))
        self.kept.extend(ids)
        return Chunk(text=said, token_ids=tuple(ids), finish_reason=self._finish, model=self._model)


def sampling_body(sampling: Sampling) -> dict[str, Any]:
    """How to sample, as both ways of a session send it."""
    return {name: getattr(sampling, name) for name in _SAMPLING if getattr(sampling, name) is not None}


def bound_body(bound: Bound | None) -> dict[str, Any]:
    """The `structured_outputs` of a request. Raises `ValueError` unless exactly one kind is given."""
    if bound is None:
        return {}
    kinds = {"json": bound.json, "regex": bound.regex, "grammar": bound.grammar}
    given = {name: value for name, value in kinds.items() if value is not None}
    if len(given) != 1:
        raise ValueError(f"bound {bound!r}: expected exactly one of json, regex and grammar")
    return {"structured_outputs": given}


def _ids(found: object) -> tuple[int, ...]:
    if not isinstance(found, list) or not all(isinstance(token, int) for token in found):
        raise MalformedReply(f"model server: expected a list of token ids, got {found!r:.200}; sessions need vLLM")
    return tuple(found)
