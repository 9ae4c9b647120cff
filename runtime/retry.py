"""The one retry policy: what may pass is tried again with back-off and jitter, everything else is not.

A server's own wish (`Retry-After`) is honoured up to the cap. A 4xx other than 429 is never retried. Source: contract
§5; ours, over tenacity.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from runtime.errors import ModelError, ModelOverloaded
from runtime.settings import LLMSettings

CAP_S = 30.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`retries` tries after the first; the back-off starts at `base_s` seconds and doubles up to 30."""

    retries: int
    base_s: float

    @classmethod
    def of(cls, settings: LLMSettings) -> RetryPolicy:
        """The policy of the settings."""
        return cls(settings.retries, settings.retry_base_s)

    def attempts(self, may_repeat: Callable[[], bool] = lambda: True) -> AsyncRetrying:
        """`async for attempt in policy.attempts(): with attempt: …`; the last error passes through.

        `may_repeat` is asked after a failure: False when half of an answer has already been shown.
        """
        backoff = wait_random_exponential(multiplier=self.base_s, max=CAP_S)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, ModelOverloaded) and error.retry_after_s is not None:
                return min(error.retry_after_s, CAP_S)
            return float(backoff(state))

        return AsyncRetrying(
            stop=stop_after_attempt(self.retries + 1),
            wait=wait,
            retry=retry_if_exception(lambda e: isinstance(e, ModelError) and e.retryable and may_repeat()),
            reraise=True,
        )
