"""Sessions over a vLLM server: both ways give the same tokens, cost what they should, and one follows the other."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from gpu.session_wire import bound_body
from gpu.sessions import VLLM, from_settings, own_engine
from runtime.errors import ModelRejected, ModelUnavailable
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.registry import resolve
from runtime.llm.scripted_sessions import Asked, ScriptedEngine, decode
from runtime.llm.sessions import Bound, Session, Span, SupportsSessions
from runtime.settings import Settings, load
from runtime.types import Message, Sampling
from tests.gpu.fake_vllm import FakeVLLM, serve

pytestmark = pytest.mark.anyio
INFO = CallInfo("tim.open", "run_1")
TASK = [Message("system", "Rules."), Message("user", "Count the apples in every basket of the hall.")]


def dreams(asked: Asked) -> str:
    """Words that depend on every live token."""
    rng = random.Random(repr(asked.ids))
    return "".join(f" {rng.choice('abcdefgh')}{rng.randrange(99)}" for _ in range(40))


def says(*texts: str) -> Callable[[Asked], str]:
    left = list(texts)
    return lambda asked: left.pop(0)


@asynccontextmanager
async def model(fake: FakeVLLM, way: str = "resubmit") -> AsyncIterator[VLLM]:
    async with serve(fake.app()) as root:
        settings = load({"llm.base_url": f"{root}/v1", "engine.sessions": way}, env={}).settings
        client = from_settings("m", settings)
        try:
            yield client
        finally:
            await client.aclose()


async def write(
    session: Session, max_tokens: int, *, bound: Bound | None = None, stop: Sequence[str] = ()
) -> list[Chunk]:
    sampling = Sampling(max_tokens=max_tokens, seed=3, stop=tuple(stop))
    return [chunk async for chunk in session.stream(info=INFO, sampling=sampling, bound=bound)]


async def subtasks(session: Session, block: int) -> list[tuple[int, ...]]:
    """Three subtasks: work is written, cut out, a conclusion stays. Checks what each generation had to compute."""
    wrote: list[tuple[int, ...]] = []
    for n in range(3):
        session.append(await session.encode(f'{{"thought":"{n}'))
        start = len(session.ids)
        wrote.append(tuple(i for chunk in await write(session, 24) for i in chunk.token_ids))
        session.cut(Span(start, start + 24))
        new = session.append(await session.encode(" done, so it is time to conclude:"))
        before = session.counts.computed
        wrote.append(tuple(i for chunk in await write(session, 12) for i in chunk.token_ids))
        fresh = new.end - new.start
        at_most = fresh if session.backend == "in_engine" else fresh + block - 1
        assert fresh <= session.counts.computed - before <= at_most
    return wrote


@pytest.mark.parametrize("block", [16, 32, 128])
async def test_both_ways_write_the_same_tokens_and_compute_what_is_new_and_at_most_a_block_less_one(block: int) -> None:
    ways = {}
    for way in ("resubmit", "in_engine"):
        fake = FakeVLLM(ScriptedEngine(dreams, block_size=block))
        async with model(fake, way) as llm, llm.session(TASK, info=INFO) as session:
            assert session.backend == way
            ways[way] = (await subtasks(session, block), tuple(session.ids), session.counts)
            sent = fake.bodies("/v1/completions"), fake.bodies("generate")
            assert [bool(bodies) for bodies in sent] == [way == "resubmit", way == "in_engine"]
        assert not fake.engine.sessions, "a session that is over is not held"
    resubmit, in_engine = ways["resubmit"], ways["in_engine"]
    assert resubmit[:2] == in_engine[:2]
    assert all(len(ids) in (24, 12) for ids in resubmit[0])
    assert resubmit[2].generated == in_engine[2].generated == 3 * 36
    assert resubmit[2].peak == in_engine[2].peak > resubmit[2].live
    assert in_engine[2].computed <= resubmit[2].computed
    assert in_engine[2].fallbacks == 0


async def test_the_ids_that_were_written_are_sent_again_as_they_are_and_text_is_encoded_once() -> None:
    fake = FakeVLLM(ScriptedEngine(says(' so "it" is', " again")))
    async with model(fake) as llm, llm.session(TASK, info=INFO) as session:
        prompt = tuple(session.ids)
        first = await write(session, 50)
        text = "".join(chunk.text for chunk in first)
        assert text == ' so "it" is'
        assert decode([i for chunk in first for i in chunk.token_ids]) == text
        assert first[-1].finish_reason == "stop"
        assert first[-1].usage is not None
        assert decode(session.ids[len(prompt) :]) == text, "the end-of-text token is not among the ids"
        for _ in range(2):
            session.append(await session.encode('","x":"'))
        live = list(session.ids)
        await write(session, 50, bound=Bound(regex="[a-z ]+"))
        asked = fake.bodies("/v1/completions")
        assert asked[0]["prompt"] == list(prompt)
        assert asked[1]["prompt"] == live
        assert asked[1]["structured_outputs"] == {"regex": "[a-z ]+"}
        assert asked[1]["max_tokens"] == 50
        assert asked[1]["seed"] == 3
    assert len(fake.bodies("/tokenize")) == 2, "the prompt, and the piece of structure once"


async def test_a_limit_ends_an_answer_and_nothing_else_does_when_none_is_given() -> None:
    fake = FakeVLLM(ScriptedEngine(dreams, window=200))
    async with model(fake) as llm, llm.session(TASK, info=INFO) as session:
        prompt = len(session.ids)
        wrote = await write(session, 7)
        assert wrote[-1].finish_reason == "length"
        assert len(session.ids) == prompt + 7
        async for _ in session.stream(info=INFO, sampling=Sampling()):
            pass
        assert fake.bodies("/v1/completions")[-1]["max_tokens"] == 200 - prompt - 7
        session.append([300] * (200 - len(session.ids)))
        with pytest.raises(ModelRejected, match="fill the model's window of 200"):
            await write(session, 5)


@pytest.mark.parametrize("way", ["resubmit", "in_engine"])
async def test_a_stop_string_ends_text_and_ids_at_the_same_place(way: str) -> None:
    fake = FakeVLLM(ScriptedEngine(says(" one two.END three", " more")))
    async with model(fake, way) as llm, llm.session(TASK, info=INFO) as session:
        start = len(session.ids)
        wrote = await write(session, 50, stop=["END"])
        assert "".join(chunk.text for chunk in wrote) == " one two."
        assert decode(session.ids[start:]) == " one two."
        assert tuple(i for chunk in wrote for i in chunk.token_ids) == tuple(session.ids[start:])
        assert session.backend == "resubmit"
        assert session.counts.fallbacks == (way == "in_engine")


async def test_a_session_that_the_server_has_dropped_goes_on_over_the_public_api() -> None:
    expected: list[tuple[int, ...]] = []
    for dropped in (False, True):
        fake = FakeVLLM(ScriptedEngine(dreams))
        async with model(fake, "in_engine") as llm, llm.session(TASK, info=INFO) as session:
            await write(session, 20)
            session.append(await session.encode(" and then"))
            if dropped:
                fake.drop()
            await write(session, 20)
            expected.append(tuple(session.ids))
            assert session.backend == ("resubmit" if dropped else "in_engine")
            assert session.counts.fallbacks == int(dropped)
            assert len(fake.bodies("/v1/completions")) == int(dropped)
    assert expected[0] == expected[1]


async def test_a_plug_in_that_refuses_or_is_not_there_leaves_the_public_api() -> None:
    fake = FakeVLLM(ScriptedEngine(dreams))
    async with model(fake, "in_engine") as llm:
        async with llm.session(TASK, info=INFO) as session:
            fake.disabled = True
            await write(session, 5)
            assert (session.backend, session.counts.fallbacks) == ("resubmit", 1)
        async with llm.session(TASK, info=INFO) as session:
            await write(session, 5)
            assert (session.backend, session.counts.fallbacks) == ("resubmit", 0)
    bare = FakeVLLM(ScriptedEngine(dreams), holds=False)
    async with model(bare, "in_engine") as llm, llm.session(TASK, info=INFO) as session:
        await write(session, 5)
        assert (session.backend, session.counts.fallbacks) == ("resubmit", 0)


async def test_an_answer_that_breaks_off_leaves_the_sequence_as_it_was() -> None:
    fake = FakeVLLM(ScriptedEngine(dreams))
    async with model(fake) as llm, llm.session(TASK, info=INFO) as session:
        before, counts = tuple(session.ids), session.counts
        fake.breaks_after = 4
        with pytest.raises(ModelUnavailable, match="broke off"):
            await write(session, 20)
        assert (tuple(session.ids), session.counts) == (before, counts)
        assert len(await write(session, 20)) > 1


async def test_a_server_without_tokenize_says_that_sessions_need_vllm() -> None:
    fake = FakeVLLM(ScriptedEngine(dreams), tokenizes=False)
    async with model(fake) as llm:
        with pytest.raises(ModelRejected, match="sessions need vLLM"):
            async with llm.session(TASK, info=INFO):
                pass


async def test_a_cut_must_lie_within_the_live_tokens_and_counts_what_stood_behind_it() -> None:
    fake = FakeVLLM(ScriptedEngine(dreams))
    async with model(fake) as llm, llm.session(TASK, info=INFO) as session:
        with pytest.raises(ValueError, match="expected one within"):
            session.cut(Span(0, len(session.ids) + 1))
        behind = len(session.ids) - 6
        session.cut(Span(2, 6))
        assert session.counts.reencoded == behind
        assert session.counts.live == len(session.ids)


def test_sessions_belong_to_our_own_engine_and_to_servers_that_are_named_vllm() -> None:
    own, named = resolve(None, Settings()), resolve("vllm/Qwen/Qwen3-8B", Settings())
    assert isinstance(own, SupportsSessions)
    assert isinstance(named, SupportsSessions)
    assert (own.ref, named.ref) == ("openai/default", "vllm/Qwen/Qwen3-8B")
    assert own_engine("x", Settings()).ref == "openai/x"
    other = load({"llm.base_url": "http://127.0.0.1:1/v1"}, env={}).settings
    assert not isinstance(resolve("x", other), SupportsSessions)
    assert not isinstance(resolve("openai/x", other), SupportsSessions)


def test_a_generation_is_bound_to_one_thing() -> None:
    assert bound_body(None) == {}
    assert bound_body(Bound(json={})) == {"structured_outputs": {"json": {}}}
    with pytest.raises(ValueError, match="exactly one"):
        bound_body(Bound(regex="a", grammar="b"))
