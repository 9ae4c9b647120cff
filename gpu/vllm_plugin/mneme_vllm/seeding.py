"""A seed counts for one chunk, as it does for one request.

The worker makes a request's random numbers when it first sees the request; those of a session would run on from chunk to
chunk and the seed of a later chunk would count for nothing. The method that renews a session in the worker is wrapped,
once per process. The newer model runner of CUDA builds reads the seed anew by itself [read only]. Source: ours.
"""

from __future__ import annotations

from typing import Any

from . import KEEP, signatures


def install() -> None:
    """Entry point of `vllm.general_plugins`: called in every process, maybe more than once."""
    if signatures.problem() is not None:
        return
    import torch
    from vllm.sampling_params import SamplingType
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    renew = GPUModelRunner._update_streaming_request
    if getattr(renew, "seeds_anew", False):
        return

    def renew_with_seed(self: Any, req_id: str, new_req_data: Any) -> Any:
        state = renew(self, req_id, new_req_data)
        params = new_req_data.sampling_params
        if params is not None and KEEP in (params.extra_args or {}):
            state.generator = None
            if params.sampling_type == SamplingType.RANDOM_SEED:
                state.generator = torch.Generator(device=self.device)
                state.generator.manual_seed(params.seed)
        return state

    renew_with_seed.seeds_anew = True  # type: ignore[attr-defined]
    GPUModelRunner._update_streaming_request = renew_with_seed
