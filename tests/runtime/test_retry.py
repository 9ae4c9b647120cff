"""The one retry policy."""

from __future__ import annotations

import pytest
from tenacity import RetryCallState

from runtime.errors import MalformedReply, ModelError, ModelOverloaded, ModelRejected, ModelUnavailable
from runtime.retry import RetryPolicy
from runtime.settings import LLMSettings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def tries(error: ModelError, policy: RetryPolicy, *, may_repeat: bool = True) -> int:
    made = 0
    try:
        async for attempt in policy.attempts(lambda: may_repeat):
            with attempt:
                made += 1
                raise error
    except ModelError as raised:
        assert raised is error  # noqa: PT017 - pytest.raises would hide how many tries there were
        return made
    raise AssertionError("the error was swallowed")


@pytest.mark.parametrize(
    "error", [ModelUnavailable("gone"), ModelOverloaded("busy", status=503), MalformedReply("what")]
)
async def test_what_may_pass_is_tried_again(error: ModelError) -> None:
    assert await tries(error, RetryPolicy(3, 0.0)) == 4


async def test_a_4xx_is_never_tried_again() -> None:
    assert await tries(ModelRejected("no", status=404), RetryPolicy(3, 0.0)) == 1


async def test_nothing_is_tried_again_once_it_may_not_be() -> None:
    assert await tries(ModelUnavailable("gone"), RetryPolicy(3, 0.0), may_repeat=False) == 1


async def test_the_server_s_own_wish_is_the_pause_up_to_the_cap() -> None:
    def pauses(wish: float) -> float:
        retrying = RetryPolicy(2, 0.0).attempts()
        state = RetryCallState(retrying, None, (), {})
        error = ModelOverloaded("busy", status=429, retry_after_s=wish)
        state.set_exception((type(error), error, None))
        return float(retrying.wait(state))

    assert pauses(0.25) == 0.25
    assert pauses(900.0) == 30.0


def test_it_follows_the_settings() -> None:
    assert RetryPolicy.of(LLMSettings(retries=7, retry_base_s=0.125)) == RetryPolicy(7, 0.125)
