"""Sessions inside vLLM: a sequence waits with its KV cache, is cut back to its first n tokens, and goes on.

    endpoint.py     the HTTP routes               ┐
    registry.py     which sessions there are      │ in the API server
    resumable.py    one resumable request         ┘
    scheduler.py    cuts a waiting request back   ┐ in the engine core
    cutting.py      the arithmetic of a cut       ┘
    seeding.py      a seed counts anew per chunk    in the worker
    signatures.py   what of vLLM we rely on; sessions stay off when it is another   everywhere

vLLM has resumable requests that only grow. What is added: `SamplingParams.extra_args[KEEP] = n` with the next chunk means
that only the first n tokens stay. This package is installed into vLLM's environment and imports nothing of the service.
Source: vllm.md §4.
"""

from __future__ import annotations

# The name of the extra argument that carries n, and of the report that the scheduler sends with the end of a chunk.
KEEP = "kv_truncate_to"
REPORT = "mneme_session"
