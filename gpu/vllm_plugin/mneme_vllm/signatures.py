"""What of vLLM this package overrides and calls, as it was when that was checked.

vLLM declares the scheduler's interface as not public. When its version or one of these signatures is another, sessions
stay off with the reason and ordinary serving goes on. A new version is added here after tests/gpu/test_vllm_sessions.py
passed on it. Source: vllm.md §5.7.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

VERSIONS = ("0.32.0",)
SCHEDULER = "vllm.v1.core.sched.scheduler:Scheduler"
TABLE: Mapping[str, str] = {
    f"{SCHEDULER}._update_request_as_session": "self, session, update",
    f"{SCHEDULER}.update_from_output": "self, scheduler_output, model_runner_output",
    f"{SCHEDULER}._request_blocks_can_be_freed": "self, request",
    f"{SCHEDULER}._handle_stopped_request": "self, request",
    "vllm.v1.core.kv_cache_manager:KVCacheManager.evict_blocks": "self, block_ids",
    "vllm.v1.core.block_pool:BlockPool.free_blocks": "self, ordered_blocks",
    "vllm.v1.metrics.stats:PrefillStats.set": (
        "self, num_prompt_tokens, num_local_cached_tokens, num_external_cached_tokens"
    ),
    "vllm.v1.request:StreamingUpdate": "mm_features, prompt_token_ids, max_tokens, arrival_time, sampling_params",
    "vllm.v1.structured_output:StructuredOutputManager.grammar_init": "self, request",
    "vllm.v1.structured_output.request:StructuredOutputRequest.from_sampling_params": "sampling_params",
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner._update_streaming_request": "self, req_id, new_req_data",
    "vllm.entrypoints.serve.middleware.authenticate:AuthenticationMiddleware.verify_token": "self, headers",
    "vllm.engine.protocol:StreamingInput": "prompt, sampling_params=",
    "vllm.inputs.engine:tokens_input": "prompt_token_ids, *, prompt=, cache_salt=",
    "vllm.v1.engine.detokenizer:IncrementalDetokenizer.from_new_request": "tokenizer, request",
    "vllm.v1.engine.detokenizer:IncrementalDetokenizer.update": "self, new_token_ids, stop_terminated",
    "vllm.v1.engine.detokenizer:IncrementalDetokenizer.get_next_output_text": "self, finished, delta",
}


def problem(table: Mapping[str, str] = TABLE, versions: tuple[str, ...] = VERSIONS) -> str | None:
    """Why sessions cannot be had with the vLLM that is installed here, or None when they can."""
    version = importlib.import_module("vllm").__version__
    if version not in versions:
        return f"vllm {version} was not checked with sessions; checked: {', '.join(versions)}"
    for name, expected in table.items():
        found = shape(named(name))
        if found != expected:
            return f"{name} takes ({found}), expected ({expected})"
    return None


def named(name: str) -> Any:
    """The object of `module:attribute.attribute`, or None when there is none."""
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in path.split("."):
        found = getattr(found, attribute, None)
    return found


def shape(called: Any) -> str:
    """The parameters in order: names, `*` before those by keyword only, `=` behind those with a default; no types."""
    if not callable(called):
        return "missing"
    words: list[str] = []
    for parameter in inspect.signature(called).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not any(word.startswith("*") for word in words):
            words.append("*")
        mark = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        mark = "**" if parameter.kind is parameter.VAR_KEYWORD else mark
        words.append(mark + parameter.name + ("" if parameter.default is parameter.empty else "="))
    return ", ".join(words)
