"""Replies as objects, on servers that bind schemas and on those that do not."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict

from runtime.budget import Budget, Spent
from runtime.errors import MalformedReply
from runtime.events import AnyPayload
from runtime.llm.metering import Caller, Meter
from runtime.llm.scripted import Rule, Script, Scripted
from runtime.llm.structured import ask_structured, first_object, schema_of
from runtime.retry import RetryPolicy
from runtime.types import Message, Sampling

pytestmark = pytest.mark.anyio


class Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    score: int


class Loose(Scripted):
    """A server that ignores schemas."""

    async def binds_schema(self) -> bool:
        return False


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def judge(llm: Scripted) -> tuple[Verdict, int]:
    events: list[AnyPayload] = []

    async def emit(payload: AnyPayload) -> None:
        events.append(payload)

    caller = Caller(llm, Meter(Budget(), Spent()), RetryPolicy(0, 0.0), emit)
    verdict = await ask_structured(
        caller,
        llm,
        purpose="eval.judge",
        run_id="r",
        messages=[Message("user", "Judge.")],
        model=Verdict,
        sampling=Sampling(),
    )
    return verdict, len(events)


def rules(*found: dict[str, object]) -> Script:
    return Script(tuple(Rule.model_validate(rule) for rule in found))


async def test_a_binding_server_answers_at_once() -> None:
    assert await judge(Scripted("s")) == (Verdict(score=0), 1)


async def test_a_loose_server_s_fenced_object_is_taken() -> None:
    script = rules({"contains": "JSON schema", "reply": 'Well:\n```json\n{"score": 3}\n```'})
    assert await judge(Loose("s", script)) == (Verdict(score=3), 1)


async def test_a_bad_reply_is_repaired_with_the_reason() -> None:
    script = rules({"contains": "score: Input should be", "json": {"score": 4}}, {"reply": '{"score": "high"}'})
    assert await judge(Scripted("s", script)) == (Verdict(score=4), 2)


async def test_after_two_repair_turns_it_is_malformed() -> None:
    with pytest.raises(MalformedReply, match=r"eval\.judge.*2 repair turns"):
        await judge(Scripted("s", rules({"reply": "no"})))


def test_the_schema_is_named_after_the_purpose() -> None:
    assert schema_of("eval.judge", Verdict).name == "eval_judge"


@pytest.mark.parametrize(
    ("text", "found"),
    [('{"a": 1}', '{"a": 1}'), ('if {x} then {"a": {"b": "}"}} so', '{"a": {"b": "}"}}'), ("```\n{}\n```", "{}")],
)
def test_the_first_object_is_found(text: str, found: str) -> None:
    assert first_object(text) == found
