"""One suite over every registered agent: what an agent owes to whoever runs it."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from agents import registry
from runtime.budget import Budget
from runtime.events import LlmCall
from runtime.llm.scripted import Rule
from runtime.runs import RunSpec
from tests.trial import Call, open_trial, story, text_of

pytestmark = pytest.mark.anyio

# Ten words of answer, the boxed part depends on the seed; programs of which one in three is right.
RULES = (
    Rule(purpose="*.answer", replies=tuple(f"we count and count again so it is \\boxed{{{n}}}" for n in (4, 7, 7))),
    Rule(
        purpose="arcmemo.*",
        replies=tuple(f"so it is\n```python\ndef transform(g):\n    return [[{n}]]\n```" for n in (4, 2, 7)),
    ),
)
INPUT = "How many apples are there?"
ARC = {"kind": "arc", "train": [{"input": [[1]], "output": [[2]]}], "test": [{"input": [[1]]}]}


@pytest.fixture(params=registry.names())
def agent(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def spec(agent: str, **rest: object) -> RunSpec:
    return RunSpec(agent=agent, input=_input(agent), seed=11, **rest)  # type: ignore[arg-type]


def _input(agent: str, otherwise: object = INPUT) -> object:
    """What an agent is asked: a puzzle if it takes nothing else."""
    return ARC if registry.get(agent).spec.kinds == {"arc"} else otherwise


async def test_the_log_is_whole_and_in_order(agent: str, tmp_path: Path) -> None:
    async with open_trial(tmp_path, *RULES) as trial:
        record = await trial.run(spec(agent))
        events = await trial.events(record.id)
    types = [event.type for event in events]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert types[:2] == ["run.queued", "run.started"]
    assert types[-1] == "run.finished"
    assert sum(kind.startswith("run.") for kind in types) == 3
    assert types.count("llm.call") == len(trial.llm.calls) == sum(part.calls for part in record.usage.values())


async def test_it_answers_and_the_text_is_in_the_log(agent: str, tmp_path: Path) -> None:
    async with open_trial(tmp_path, *RULES) as trial:
        record = await trial.run(spec(agent))
        events = await trial.events(record.id)
    assert record.status == "succeeded"
    assert isinstance(record.output, dict)
    assert record.output["text"]
    assert text_of(events) == record.output["text"]


async def test_the_same_seed_and_replies_give_the_same_events(agent: str, tmp_path: Path) -> None:
    async with open_trial(tmp_path, *RULES) as trial:
        first, second = [await trial.events((await trial.run(spec(agent))).id) for _ in range(2)]
    assert story(first) == story(second)


async def test_purposes_are_the_agents_own_and_calls_name_them(agent: str, tmp_path: Path) -> None:
    async with open_trial(tmp_path, *RULES) as trial:
        await trial.run(spec(agent))
    own = agent.replace("-", "_") + "."
    assert all(call.purpose.startswith((own, "eval.judge")) for call in trial.llm.calls)
    for call in trial.llm.calls:
        assert call.schema is None or call.schema.name == call.purpose.replace(".", "_")


@pytest.mark.parametrize("calls", [1, 2, 3])
async def test_a_budget_of_calls_is_never_exceeded(agent: str, calls: int, tmp_path: Path) -> None:
    async with open_trial(tmp_path, *RULES) as trial:
        record = await trial.run(spec(agent, budget=Budget(calls=calls)))
    assert len(trial.llm.calls) <= calls
    assert record.status in ("succeeded", "budget_exhausted")
    if record.status == "budget_exhausted":
        # Something was drawn, so there is something to show for it.
        assert isinstance(record.output, dict)
        assert record.output["text"]


@pytest.mark.parametrize("tokens", [1, 30, 60])
async def test_a_budget_of_tokens_is_kept_to_within_one_call(agent: str, tokens: int, tmp_path: Path) -> None:
    async with open_trial(tmp_path, *RULES) as trial:
        record = await trial.run(spec(agent, budget=Budget(tokens=tokens)))
        events = await trial.events(record.id)
    used = [e.payload.usage for e in events if isinstance(e.payload, LlmCall)]
    totals = [usage.prompt_tokens + usage.completion_tokens for usage in used]
    assert sum(totals[:-1]) < tokens


async def test_a_budget_of_seconds_stops_the_call_that_is_under_way(agent: str, tmp_path: Path) -> None:
    async with open_trial(tmp_path, Rule(purpose="*", fault="hang")) as trial:
        with anyio.fail_after(10):
            record = await trial.run(spec(agent, budget=Budget(seconds=0.2)))
    assert record.status == "budget_exhausted"
    assert trial.llm.under_way == 0


async def test_cancelling_stops_the_model_call(agent: str, tmp_path: Path) -> None:
    async with open_trial(tmp_path, Rule(purpose="*", fault="hang")) as trial, anyio.create_task_group() as group:
        asked = anyio.Event()

        async def before(call: Call) -> None:
            asked.set()

        trial.llm.before = before
        record = await trial.accept(spec(agent))
        group.start_soon(trial.runner.execute, record.id)
        with anyio.fail_after(10):
            await asked.wait()
        trial.runner.stop(record.id, "enough")
        with anyio.fail_after(10):
            await trial.runner.drain(10)
        assert trial.llm.under_way == 0
        record = await trial.store.get(record.id, owner=None)
        events = await trial.events(record.id)
    assert record.status == "cancelled"
    assert events[-1].type == "run.cancelled"


@pytest.mark.parametrize("at", [1, 2, 3, 4, 5, 6])
async def test_finished_steps_are_not_done_again(agent: str, at: int, tmp_path: Path) -> None:
    async with open_trial(tmp_path / "a", *RULES) as trial:
        undisturbed = await trial.run(spec(agent))
        plain = story(await trial.events(undisturbed.id))
        needed = len(trial.llm.calls)
    async with open_trial(tmp_path / "b", *RULES) as trial:
        trial.breaking_off_at(at)
        record = await trial.run(spec(agent))
        if at > needed:
            assert record.status == "succeeded"
            return
        assert record.status == "interrupted"
        in_log = {e.step for e in await trial.events(record.id) if e.type == "step.completed"}
        trial.llm.before, before = None, len(trial.llm.calls)
        record = await trial.go_on(record.id)
        events = await trial.events(record.id)
    assert record.status == "succeeded"
    assert record.output == undisturbed.output
    again = [call for call in trial.llm.calls[before:] if call.purpose.endswith(".answer")]
    assert not {f"answer.{(call.sampling.seed or 0) - 11}" for call in again} & in_log
    steps = {step: lines for step, lines in story(events).items() if step}
    assert steps == {step: lines for step, lines in plain.items() if step}
    assert [event.type for event in events].count("run.resumed") == 1


async def test_a_lost_checkpoint_does_no_harm(agent: str, tmp_path: Path) -> None:
    async with open_trial(tmp_path, *RULES) as trial:
        trial.breaking_off_at(2 if agent != "direct" else 1)
        record = await trial.run(spec(agent))
        assert record.status == "interrupted"
        await trial.parts.saver.adelete_thread(record.id)
        trial.llm.before = None
        record = await trial.go_on(record.id)
        events = await trial.events(record.id)
    assert record.status == "succeeded"
    assert isinstance(record.output, dict)
    assert text_of(events) == record.output["text"]


async def test_a_larger_budget_lets_it_go_on_where_it_stopped(agent: str, tmp_path: Path) -> None:
    async with open_trial(tmp_path / "a", *RULES) as trial:
        undisturbed = await trial.run(spec(agent))
        needed = len(trial.llm.calls)
    async with open_trial(tmp_path / "b", *RULES) as trial:
        record = await trial.run(spec(agent, budget=Budget(calls=2)))
        if needed <= 2:
            assert record.status == "succeeded"
            return
        assert record.status == "budget_exhausted"
        shown = text_of(await trial.events(record.id))
        assert isinstance(record.output, dict)
        assert shown in ("", record.output["text"])
        await trial.store.requeue(record.id, budget=Budget(calls=needed + 2))
        record = await trial.go_on(record.id)
        events = await trial.events(record.id)
    assert record.status == "succeeded"
    assert record.output == undisturbed.output
    assert text_of(events) == undisturbed.output["text"]  # type: ignore[index,call-overload]
    assert len(trial.llm.calls) == needed


async def test_a_model_that_refuses_fails_the_run_and_names_why(agent: str, tmp_path: Path) -> None:
    async with open_trial(tmp_path, Rule(purpose="*", fault="400")) as trial:
        record = await trial.run(spec(agent))
    assert record.status == "failed"
    assert record.error is not None
    assert record.error["code"] == "model_rejected"


async def test_every_prompt_it_used_is_named_in_the_log(agent: str, tmp_path: Path) -> None:
    async with open_trial(tmp_path, *RULES) as trial:
        asked = _input(agent, {"kind": "math", "problem": "1 + 1?"})
        record = await trial.run(RunSpec(agent=agent, input=asked, seed=1))  # type: ignore[arg-type]
        events = await trial.events(record.id)
    assert all(event.payload.prompt_hash for event in events if isinstance(event.payload, LlmCall))


async def test_it_runs_a_task_of_every_kind_it_names(agent: str, tmp_path: Path) -> None:
    inputs: dict[str, object] = {
        "chat": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "math": {"kind": "math", "problem": "1 + 1?", "check": {"equations": ["x = 1 + 1"]}},
        "qa": {"kind": "qa", "question": "Who?", "documents": ["Ada wrote it.", {"title": "B", "text": "Ada did."}]},
        "arc": ARC,
        "code": {"kind": "code", "task": "A clock", "requirements": ["shows the time"]},
    }
    seen: list[Call] = []
    async with open_trial(tmp_path, *RULES) as trial:
        for kind in sorted(registry.get(agent).spec.kinds):
            record = await trial.run(RunSpec(agent=agent, input=inputs[kind], seed=1))  # type: ignore[arg-type]
            assert record.status == "succeeded", (kind, record.error)
            seen += trial.llm.calls
    assert seen
