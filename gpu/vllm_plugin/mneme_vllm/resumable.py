"""One resumable request of vLLM: it gets chunk after chunk and holds its KV cache between them until it is closed.

Closing the stream of outputs aborts the request in the engine and frees its blocks, also in the middle of a chunk.
Source: vllm.md §4.5.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from vllm.engine.protocol import EngineClient, StreamingInput
from vllm.inputs.engine import tokens_input
from vllm.outputs import RequestOutput
from vllm.sampling_params import SamplingParams


class Resumable:
    """Not for two chunks at once."""

    def __init__(self, engine: EngineClient, request_id: str) -> None:
        self._engine, self._id = engine, request_id
        self._chunks: asyncio.Queue[StreamingInput] = asyncio.Queue()
        self._outputs: AsyncGenerator[RequestOutput, None] | None = None

    async def run(self, ids: Sequence[int], params: SamplingParams) -> AsyncIterator[RequestOutput]:
        """Give the next chunk and yield what comes of it; the last output has a finish reason."""
        self._chunks.put_nowait(StreamingInput(tokens_input(list(ids)), params))
        if self._outputs is None:
            self._outputs = self._engine.generate(self._inputs(), params, self._id)
        async for output in self._outputs:
            yield output
            if output.outputs[0].finish_reason is not None:
                return

    async def close(self) -> None:
        """Abort the request wherever it stands. Again: nothing."""
        if self._outputs is not None:
            await self._outputs.aclose()

    async def _inputs(self) -> AsyncGenerator[StreamingInput, None]:
        while True:
            yield await self._chunks.get()
