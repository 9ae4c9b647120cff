"""The checker of mathematical answers and its worker process."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import psutil
import pytest

from agents.tasks import MathTask, QATask
from agents.verifiers import open_verifiers
from agents.verifiers.math import MathVerifier, MathWorker
from agents.verifiers.math_worker import equal, reply_to
from evals.scorers.final_answer import number
from runtime.errors import MnemeError

pytestmark = pytest.mark.anyio

TASK = MathTask.model_validate({"problem": "3x + 4 = 19?", "check": {"equations": ["3*x+4=19"]}})
ROOT = MathTask.model_validate({"problem": "Whose square is 2?", "check": {"equations": ["x^2=2"]}})


@pytest.fixture
async def worker() -> AsyncIterator[MathWorker]:
    worker = MathWorker(limit_s=20)
    yield worker
    await worker.aclose()


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if "math_worker" in " ".join(p.cmdline())]


async def test_an_answer_is_put_into_the_equations_without_a_process(worker: MathWorker) -> None:
    verifier = MathVerifier(worker)
    verdicts = [await verifier.verify(TASK, text) for text in (r"\boxed{5}", r"\boxed{x = 5}", "the answer is 5.0")]
    assert [(v.score, v.detail.split(":")[0]) for v in verdicts if v] == [
        (1.0, "boxed"),
        (1.0, "boxed"),
        (1.0, "stated"),
    ]
    wrong = await verifier.verify(TASK, r"\boxed{6}")
    assert wrong is not None
    assert wrong.score == 0.0
    assert "the sides are 22 and 19" in wrong.detail
    missing = await verifier.verify(TASK, "I do not know")
    assert missing is not None
    assert (missing.score, missing.detail) == (0.0, "no answer in the reply")
    assert not children()


@pytest.mark.parametrize("text", ["The sum is 5.", "2 + 3 = 5", "5", "**5**", "so 1 or 5"])
async def test_what_can_be_checked_is_read_as_leniently_as_the_suites_of_small_models_read_it(
    text: str, worker: MathWorker
) -> None:
    verifier = MathVerifier(worker)
    verdict = await verifier.verify(TASK, text)
    assert verdict is not None
    assert verdict.score == number(text, "5").value == 1.0
    assert await verifier.canonical(TASK, text) == number(text, "5").answer == "5"
    assert await verifier.canonical(MathTask(problem="1 + 1?"), text) is None


async def test_without_a_check_there_is_no_verdict(worker: MathWorker) -> None:
    verifier = MathVerifier(worker)
    assert await verifier.verify(MathTask(problem="1 + 1?"), r"\boxed{2}") is None
    assert await verifier.verify(QATask(question="Who?"), "Ada") is None


async def test_a_symbolic_answer_is_put_in_by_the_worker(worker: MathWorker) -> None:
    verifier = MathVerifier(worker)
    for text, score in ((r"\boxed{\sqrt{2}}", 1.0), (r"\boxed{-\sqrt{2}}", 1.0), (r"\boxed{\sqrt{3}}", 0.0)):
        verdict = await verifier.verify(ROOT, text)
        assert verdict is not None
        assert verdict.score == score, verdict.detail
    for text in (r"\boxed{red}", r"\boxed{\sqrt{}", r"\boxed{x}", r"\boxed{1,2}"):
        verdict = await verifier.verify(ROOT, text)
        assert verdict is None or verdict.score == 0.0
    assert len(children()) == 1


@pytest.mark.parametrize(
    ("gold", "answer", "same"),
    [
        ("70", "070", True),
        ("70", "70.0", True),
        ("1/2", r"\frac{1}{2}", True),
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}", True),
        ("(1,2)", "(1, 2)", True),
        ("(1,2)", "(12)", False),
        (r"\{1,2\}", r"\{2,1\}", True),
        ("(1,2)", "(2,1)", False),
        ("x+1", "1+x", True),
        ("70", "71", False),
        ("70", "", False),
    ],
)
async def test_equality_of_answers(gold: str, answer: str, same: bool) -> None:
    # In process here, so that one import serves every case; the worker runs the same function.
    verifier = MathVerifier(InProcess())
    assert await verifier.equal(gold, answer) is same


class InProcess(MathWorker):
    async def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return reply_to(dict(request))


async def test_model_text_is_never_run(tmp_path: Path) -> None:
    made = tmp_path / "made"
    for text in (f"__import__('pathlib').Path({str(made)!r}).touch()", f"(lambda: open({str(made)!r}, 'w'))()"):
        assert equal("1", text)["ok"] is False
        equal(text, "1")
    assert not made.exists()


async def test_a_hanging_comparison_is_killed_and_the_next_one_works() -> None:
    worker = MathWorker(limit_s=0.3)
    verifier = MathVerifier(worker)
    try:
        assert (await worker.ask({"op": "warm"}))["ok"]
        before = children()[0]
        begin = time.perf_counter()
        assert not await verifier.equal("1", r"99999999^{99999999}")
        assert time.perf_counter() - begin < 5
        worker._limit_s = 20
        assert await verifier.equal("1/2", "0.5")
        assert before.pid not in [child.pid for child in children()]
        assert not before.is_running()
    finally:
        await worker.aclose()
    assert not children()


async def test_a_worker_that_died_is_replaced(worker: MathWorker) -> None:
    assert (await worker.ask({"op": "warm"}))["ok"]
    process = children()[0]
    process.kill()
    assert await worker.ask({"op": "equal", "gold": "2", "answer": "2.0"}) == {"ok": True}
    assert len(children()) == 1


async def test_a_caller_that_goes_away_does_not_leave_its_reply_to_the_next(worker: MathWorker) -> None:
    assert (await worker.ask({"op": "warm"}))["ok"]
    with anyio.move_on_after(0.002):
        await worker.ask({"op": "equal", "gold": "(x+1)^{9}", "answer": "(1+x)^9"})
    assert await worker.ask({"op": "equal", "gold": "1", "answer": "2"}) == {"ok": False}
    assert await worker.ask({"op": "equal", "gold": "1", "answer": "1.0"}) == {"ok": True}


async def test_requests_at_the_same_time_each_get_their_own_reply(worker: MathWorker) -> None:
    pairs = [(n, n % 3) for n in range(12)]
    replies = await asyncio.gather(*(worker.ask({"op": "equal", "gold": str(a), "answer": f"{b}.0"}) for a, b in pairs))
    assert [reply["ok"] for reply in replies] == [a == b for a, b in pairs]
    assert len(children()) == 1


async def test_a_reply_is_short_whatever_was_asked(worker: MathWorker) -> None:
    reply = await worker.ask(
        {"op": "solves", "equations": ["x=1"], "variable": "x", "answer": "\\text{" + "y" * 3000 + "}"}
    )
    assert len(str(reply)) < 1000


async def test_closing_ends_the_process_and_leaves_no_zombie() -> None:
    others = set(psutil.Process().children())
    async with open_verifiers() as verifiers:
        verdict = await verifiers.verify(ROOT, r"\boxed{\sqrt{2}}")
        assert verdict is not None
        assert len(children()) == 1
    assert set(psutil.Process().children()) <= others


async def test_a_worker_that_cannot_start_is_said_and_not_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    worker = MathWorker()
    with pytest.raises(MnemeError, match="math worker"):
        await MathVerifier(worker).equal("1", "2")
    await worker.aclose()
