"""vLLM's scheduler, which can also cut a waiting session back.

The base class puts a new chunk behind what a session has. Here the session is first cut to the n tokens that the chunk
names: token lists, block list, block hashes and the count of computed tokens go back, tail blocks are freed. A grammar
of the chunk takes the place of the last one. The worker builds a session from its block ids with every chunk, so nothing
needs to be told to it. Blocks that a step in flight may still write are freed as vLLM frees them: the order of the stream
holds, or the fence of deferred frees [read only for CUDA, where nothing was run]. Source: vllm.md §4.1; ours.
"""

from __future__ import annotations

from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.kv_cache_interface import FullAttentionSpec
from vllm.v1.metrics.stats import PrefillStats
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request, RequestStatus, StreamingUpdate
from vllm.v1.structured_output.request import StructuredOutputRequest

from . import KEEP, REPORT, cutting, signatures


class _Cutting(Scheduler):
    """What both schedulers add to theirs."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refused = signatures.problem() or self._unsupported()

    def _unsupported(self) -> str | None:
        """Why sessions of this model and configuration cannot be cut, or None."""
        groups = self.kv_cache_config.kv_cache_groups
        parallel = self.vllm_config.parallel_config
        if len(groups) != 1 or type(groups[0].kv_cache_spec) is not FullAttentionSpec:
            return "the model's KV cache is not one group of full attention"
        if self.hash_block_size != self.block_size:
            return f"blocks of {self.block_size} are hashed in parts of {self.hash_block_size}"
        if self.connector is not None or self.ec_connector is not None:
            return "a KV or encoder-cache connector is set"
        if self.num_spec_tokens:
            return "speculative decoding is on"
        if parallel.pipeline_parallel_size > 1 or parallel.decode_context_parallel_size > 1:
            return "pipeline or context parallelism is on"
        return None

    def _update_request_as_session(self, session: Request, update: StreamingUpdate) -> None:
        params = update.sampling_params
        keep = None if params is None else (params.extra_args or {}).get(KEEP)
        if keep is None or self._refused is not None:
            super()._update_request_as_session(session, update)
            return
        self._cut(session, update, keep)
        super()._update_request_as_session(session, update)
        session.prefill_stats = PrefillStats()
        session.prefill_stats.set(session.num_tokens, session.num_computed_tokens, 0)
        session.structured_output_request = StructuredOutputRequest.from_sampling_params(params)
        if session.structured_output_request is not None:
            self.structured_output_manager.grammar_init(session)
            session.status = RequestStatus.WAITING_FOR_STRUCTURED_OUTPUT_GRAMMAR

    def _cut(self, session: Request, update: StreamingUpdate, keep: int) -> None:
        """Leave the first `keep` tokens. Those of them that have no keys and values go to the front of the chunk."""
        manager = self.kv_cache_manager.coordinator.single_type_managers[0]
        blocks = manager.req_to_blocks[session.request_id]
        tokens = session._all_token_ids
        cut = cutting.plan(
            keep,
            session.num_computed_tokens,
            manager.block_size,
            lambda i: blocks[i].ref_cnt > 1,
        )
        update.prompt_token_ids = tokens[cut.computed : keep] + (update.prompt_token_ids or [])
        if cut.computed < session.num_prompt_tokens:
            session.prompt_token_ids = tokens[: cut.computed]
            session.num_prompt_tokens = cut.computed
        session.num_computed_tokens = cut.computed
        if cut.blocks == 0:
            # As a request that was never scheduled: it may look for a prefix that is cached.
            self._free_request_blocks(session)
            return
        if cut.inside is not None and blocks[cut.inside].block_hash is not None:
            self.kv_cache_manager.evict_blocks({blocks[cut.inside].block_id})
        freed = blocks[cut.blocks :]
        del blocks[cut.blocks :]
        hashed = manager.num_cached_block
        if session.request_id in hashed:
            hashed[session.request_id] = min(hashed[session.request_id], cut.computed // manager.block_size)
        if self._request_blocks_can_be_freed(session):
            self.kv_cache_manager.block_pool.free_blocks(reversed(freed))
        elif freed:
            self.deferred_frees.append((self.sched_step_seq, freed))

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        outputs: dict[int, EngineCoreOutputs] = super().update_from_output(scheduler_output, model_runner_output)
        for batch in outputs.values():
            for output in batch.outputs:
                request = self.requests.get(output.request_id) if output.finish_reason is not None else None
                if request is not None and request.resumable:
                    blocks = sum(map(len, self.kv_cache_manager.get_block_ids(request.request_id)))
                    output.kv_transfer_params = {REPORT: {"blocks": blocks, "refused": self._refused}}
        return outputs


class SessionScheduler(_Cutting):
    """For builds that schedule one step at a time, as the CPU build does."""


class AsyncSessionScheduler(_Cutting, AsyncScheduler):
    """For builds that schedule a step ahead, as CUDA builds do. Not run yet: there was no such device."""
