"""One client per model, shared by every run of the process, so that connections are reused. Source: ours."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import anyio

from runtime.errors import ModelUnavailable, UnknownName
from runtime.ids import Clock
from runtime.llm.base import LLM, SupportsPinning
from runtime.llm.registry import resolve
from runtime.settings import Settings

LISTED_FOR_S = 30.0


class LLMs:
    """Gives out the client for a model reference and knows which models the server offers."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._clients: dict[str | None, LLM] = {}
        self._listed: tuple[float, tuple[str, ...]] | None = None
        self._lock = anyio.Lock()

    async def get(self, ref: str | None) -> LLM:
        """The client for `ref`; None is the configured model. Raises `UnknownName` for an unknown backend."""
        client = self._clients.get(ref)
        if client is None:
            async with self._lock:
                client = self._clients.get(ref) or resolve(ref, self._settings)
                self._clients[ref] = client
        if isinstance(client, SupportsPinning):
            # Settle the name where it was left open, so that the log says which model answers. A server that is down
            # leaves it open; the call itself will say so.
            with contextlib.suppress(ModelUnavailable):
                await client.pin()
        return client

    async def models(self) -> tuple[str, ...]:
        """The names the configured server lists, at most 30 s old. Raises `ModelUnavailable`."""
        now = self._clock.now().timestamp()
        if self._listed is None or now - self._listed[0] > LISTED_FOR_S:
            names = tuple(await (self._clients.get(None) or await self.get(None)).models())
            self._listed = (now, names)
        return self._listed[1]

    async def check(self, ref: str) -> None:
        """Raise `UnknownName` when the configured server can be asked and does not offer `ref`."""
        if ref.startswith("scripted/"):
            # A script is a file of this machine; only whoever configures the service may name one.
            if ref not in ("scripted/echo", self._settings.llm.model):
                raise UnknownName(f"model {ref!r}: scripts are chosen by the setting 'llm.model' only", param="model")
            return
        try:
            offered: Sequence[str] = await self.models()
        except ModelUnavailable:
            return  # The run itself will say so; a server that is down says nothing about names.
        name = ref.partition("/")[2] if ref.split("/", 1)[0] in {"openai", "vllm"} else ref
        if ref not in offered and name not in offered:
            raise UnknownName(
                f"model {ref!r}: the model server does not offer it; expected one of {', '.join(map(repr, offered))}",
                param="model",
            )

    async def aclose(self) -> None:
        """Close every client."""
        for client in self._clients.values():
            await client.aclose()
