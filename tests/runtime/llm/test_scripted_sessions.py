"""The scripted engine: tokens that can be undone, a prefix cache of whole blocks, and scripts that speak in sessions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import ModelOverloaded, ModelRejected
from runtime.llm.base import CallInfo
from runtime.llm.scripted import Rule, Script, Scripted
from runtime.llm.scripted_sessions import Asked, ScriptedEngine, decode, encode, stopped
from runtime.llm.sessions import Bound, Session, Span, SupportsSessions
from runtime.llm.shortest import shortest
from runtime.types import Message, Sampling

pytestmark = pytest.mark.anyio
INFO = CallInfo("tim.open", "run_1")


@given(st.text())
def test_ids_are_undone_to_the_text(text: str) -> None:
    assert decode(encode(text)) == text
    assert all(0 < token < 2**63 for token in encode(text))


@given(st.text(), st.text())
def test_texts_that_are_encoded_apart_read_as_one(left: str, right: str) -> None:
    assert decode(encode(left) + encode(right)) == left + right


def test_a_word_of_up_to_five_bytes_is_one_token() -> None:
    assert len(encode("three short words")) == 3
    assert len(encode('a b c"}')) == 3


@given(st.text(alphabet='ab "\n', max_size=30), st.sampled_from(["ab", '"', "b\n"]))
def test_what_stands_before_a_stop_string_stays(text: str, stop: str) -> None:
    ids, finish = stopped(encode(text), "length", [stop])
    assert decode(ids) == text.partition(stop)[0]
    assert finish == ("stop" if stop in text else "length")


def test_what_fills_the_window_is_refused_as_a_real_server_refuses_it() -> None:
    engine = ScriptedEngine(lambda asked: " x" * 5, window=4)
    ids = encode(" p" * 4)
    assert len(engine.complete(Asked(INFO, ids[:3], decode(ids[:3]), Sampling(), None)).ids) == 1
    with pytest.raises(ModelRejected, match="4 live tokens fill the scripted window of 4; cut something"):
        engine.complete(Asked(INFO, ids, decode(ids), Sampling(), None))


def test_whole_blocks_are_found_again_and_never_the_last_token() -> None:
    engine = ScriptedEngine(lambda asked: " x" * 5, block_size=4)

    def ask(ids: tuple[int, ...]) -> tuple[int, int]:
        made = engine.complete(Asked(INFO, ids, decode(ids), Sampling(max_tokens=5), None))
        return made.computed, made.cached

    prompt = encode(" p" * 8)
    assert ask(prompt) == (8, 0)
    assert ask(prompt) == (4, 4), "the last token is never found, and so its block is not"
    # 8 + 5 tokens: three blocks are full, and the last token written has no keys and values.
    assert ask(encode(" p" * 8 + " x" * 5 + " n" * 2)) == (3, 12)
    assert ask(encode(" p" * 4 + " q" * 4)) == (4, 4)


async def spoken(session: Session, bound: Bound | None = None, *, purpose: str = "tim.open", limit: int = 99) -> str:
    info, sampling = CallInfo(purpose, "run_1"), Sampling(max_tokens=limit)
    return "".join([chunk.text async for chunk in session.stream(info=info, sampling=sampling, bound=bound)])


async def test_rules_speak_in_sessions_and_see_what_is_live() -> None:
    rules = (
        Rule(contains='"thought":"', purpose="tim.open", reply='seven apples"'),
        Rule(purpose="bad", reply="does not fit"),
        Rule(purpose="down", reply="x", fault="500"),
    )
    llm = Scripted("test", Script(rules))
    assert isinstance(llm, SupportsSessions)
    async with llm.session([Message("user", "Count.")], info=INFO) as session:
        assert await spoken(session, Bound(regex="[a-z]+")) == "a", "no rule: the least that fits"
        span = session.append(await session.encode('{"thought":"'))
        assert await spoken(session, Bound(regex='[^"]+"')) == 'seven apples"'
        assert decode(session.ids).endswith('{"thought":"seven apples"')
        assert await spoken(session, Bound(json={"type": "object"}), purpose="other") == "{}"
        before = tuple(session.ids)
        with pytest.raises(ModelRejected, match="does not fit the pattern"):
            await spoken(session, Bound(regex="[0-9]"), purpose="bad")
        with pytest.raises(ModelOverloaded):
            await spoken(session, purpose="down")
        assert tuple(session.ids) == before
        session.cut(Span(span.start, len(before)))
        assert session.counts.reencoded == 0
        assert session.counts.live == span.start


@pytest.mark.parametrize(
    "pattern",
    [
        "abc",
        r"a\{b\}",
        "x|y",
        "(?:ab|c)+d?",
        '[^"\\\\\\x00-\\x1f]+"',
        "[0-9]{3,}",
        "-?(?:0|[1-9][0-9]*)",
        "[^x0]",
        "a{0,2}b",
        "",
    ],
)
def test_the_shortest_text_matches(pattern: str) -> None:
    assert re.fullmatch(pattern, shortest(pattern))


@pytest.mark.parametrize("pattern", ["^a", "(?=a)", "(a", "[a", r"\b", "a)", r"(a)\1"])
def test_patterns_with_more_in_them_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        shortest(pattern)
