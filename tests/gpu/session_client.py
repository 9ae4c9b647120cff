"""What is asked of our client of sessions on the real engine: both ways, grammars, a stop string, no end-of-text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from agents.tim import grammar
from gpu.sessions import VLLM, from_settings
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.sessions import Bound, Session, SessionCounts, Span
from runtime.settings import load
from runtime.types import JsonObject, Message, Sampling

INFO = CallInfo("tim.open", "run_1")
BLOCK = 32
TASK = [
    Message("system", "You count things and say what you found."),
    Message("user", "Three apples lie in one basket and four in another. How many are there? Answer in one sentence."),
]


async def write(
    session: Session, max_tokens: int, bound: Bound | None = None, stop: str = ""
) -> tuple[list[Chunk], str]:
    sampling = Sampling(max_tokens=max_tokens, temperature=0.0, seed=1, stop=(stop,) if stop else ())
    chunks = [chunk async for chunk in session.stream(info=INFO, sampling=sampling, bound=bound)]
    return chunks, "".join(chunk.text for chunk in chunks)


async def subtasks(llm: VLLM, way: str) -> tuple[list[int], list[str], SessionCounts]:
    """A piece of thought is written, cut out, concluded, three times."""
    said: list[str] = []
    async with llm.session(TASK, info=INFO) as session:
        assert session.backend == way
        for _ in range(3):
            start = session.append(await session.encode('{"thought":"')).end
            _, thought = await write(session, 24, Bound(regex=grammar.text()))
            session.cut(Span(start, len(session.ids)))
            new = session.append(await session.encode('found it","conclusion":"'))
            before = session.counts.computed
            chunks, conclusion = await write(session, 12, Bound(regex=grammar.text()))
            computed = session.counts.computed - before
            assert computed <= new.end - new.start + (0 if way == "in_engine" else BLOCK - 1)
            assert len(await llm.encode(thought)) > 0
            usage = chunks[-1].usage
            assert usage is not None
            assert usage.prompt_tokens == len(session.ids) - sum(len(chunk.token_ids) for chunk in chunks)
            session.append(await session.encode("},"))
            said += [thought, conclusion]
        return list(session.ids), said, session.counts


async def check(root: str) -> None:
    """The engine at `root` serves the model `small` in blocks of `BLOCK` and holds sessions."""
    found = {}
    for way in ("resubmit", "in_engine"):
        settings = load({"llm.base_url": f"{root}/v1", "engine.sessions": way}, env={}).settings
        llm = from_settings("small", settings)
        found[way] = await subtasks(llm, way)
        if way == "resubmit":
            await pieces(llm)
        await llm.aclose()
    assert found["resubmit"][:2] == found["in_engine"][:2]
    counts = found["in_engine"][2]
    assert counts.fallbacks == 0
    assert counts.blocks is not None
    assert counts.blocks <= -(-counts.peak // BLOCK)


async def pieces(llm: VLLM) -> None:
    """Every kind of bound, a stop string, and the end of an answer."""
    async with llm.session(TASK, info=INFO) as session:
        start = len(session.ids)
        chunks, answer = await write(session, 60)
        assert chunks[-1].finish_reason == "stop"
        assert tuple(i for chunk in chunks for i in chunk.token_ids) == tuple(session.ids[start:])
        assert await said(llm, session.ids[start:]) == answer, "the end-of-text token does not stay"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == len(session.ids) - start + 1
        session.cut(Span(start, len(session.ids)))

        stop = answer[len(answer) // 2 :][:3]
        _, stopped = await write(session, 60, stop=stop)
        assert answer.startswith(stopped)
        assert stop not in stopped
        assert await said(llm, session.ids[start:]) == stopped, "ids and text end at the same place"

        schema: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        _, value = await write(session, 20, Bound(regex=grammar.value(schema)))
        assert set(json.loads(value)) == {"n"}
        options = [grammar.CONCLUSION, grammar.SUBTASKS, grammar.tool("look")]
        _, chosen = await write(session, 40, Bound(regex=grammar.one_of(options)))
        assert chosen in options
        _, bound = await write(session, 40, Bound(grammar='root ::= "yes" | "no"'))
        assert re.fullmatch("yes|no", bound)


async def said(llm: VLLM, ids: Sequence[int]) -> str:
    reply = await llm.exchange("POST", "/detokenize", {"model": "small", "tokens": list(ids)})
    return str(reply["prompt"])
