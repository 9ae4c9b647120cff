"""A person's journeys on real vLLM with the packaged model. It is weak: what counts is that every run ends, is graded,
and is explained by its log."""

from __future__ import annotations

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest
from pydantic import BaseModel, Field

from agents.tasks import parse_input
from agents.verifiers.math import MathVerifier, MathWorker
from tests.journeys.conftest import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.engine]
MODEL = "smollm2-135m-instruct"
FRANCE = "What is the capital of France? Answer in one sentence."


class City(BaseModel):
    city: str = Field(max_length=20)
    inhabitants: int = Field(ge=0, le=10**8)


def test_a_real_model_answers_through_an_agent(installation: Installation, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="direct", messages=[{"role": "user", "content": FRANCE}], temperature=0, max_tokens=24
    )
    answer = raw.parse()
    assert "Paris" in str(answer.choices[0].message.content)
    run = installation.http.get(f"/api/runs/{raw.headers['x-run-id']}").json()
    assert run["model"].endswith(MODEL)
    assert run["usage"]["total"]["completion_tokens"] == answer.usage.completion_tokens  # type: ignore[union-attr]
    kinds = [event["type"] for event in installation.events(run["id"])]
    assert kinds[0] == "run.queued"
    assert kinds[-1] == "run.finished"
    assert kinds.count("llm.call") == 1


def test_streamed_tokens_and_cached_ones_are_counted(client: openai.OpenAI) -> None:
    text, last = "", None
    for _ in range(2):
        text = ""
        for chunk in client.chat.completions.create(
            model=f"direct@{MODEL}",
            messages=[{"role": "user", "content": FRANCE}],
            temperature=0,
            max_tokens=24,
            stream=True,
            stream_options={"include_usage": True},
        ):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            last = chunk.usage or last
    assert "Paris" in text
    assert last is not None
    assert last.prompt_tokens_details is not None
    assert (last.prompt_tokens_details.cached_tokens or 0) >= 32


def test_a_schema_is_bound_by_the_real_server(client: openai.OpenAI) -> None:
    answer = client.chat.completions.parse(
        model="direct",
        messages=[{"role": "user", "content": "Name a city and how many people live there."}],
        response_format=City,
        temperature=0,
        max_tokens=80,
    )
    assert isinstance(answer.choices[0].message.parsed, City)


def test_long_prompts_with_a_seed_at_the_same_time_leave_the_server_alive(
    installation: Installation, client: openai.OpenAI
) -> None:
    """Together they are more than the server computes at a time."""
    words = "The lighthouse keeper counted the ships that passed in the night. " * 85

    def ask(number: int) -> int:
        text = f"{number}. {words}"
        answer = client.chat.completions.create(
            model="direct", messages=[{"role": "user", "content": text}], seed=number, max_tokens=8
        )
        return answer.usage.prompt_tokens if answer.usage else 0

    with ThreadPoolExecutor(3) as pool:
        tokens = list(pool.map(ask, range(3)))
    assert sum(tokens) > 3000
    assert "(restarts: 0," in installation.http.get("/ready").text


def test_responses_stream_from_the_real_server(client: openai.OpenAI) -> None:
    with client.responses.stream(model="direct", input=FRANCE, temperature=0, max_output_tokens=24) as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert deltas == final.output_text
    assert "Paris" in deltas


def test_twenty_of_gsm8k_and_three_of_aime_end_graded_and_explained(
    installation: Installation, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    problems = [
        *(("gsm8k", p["question"], p["answer"]) for p in _lines(shared_data / "gsm8k/gsm8k_test_400.jsonl")[:20]),
        *(("aime", p["problem"], str(p["answer"])) for p in _lines(shared_data / "aime/aime2024.jsonl")[:3]),
    ]
    agents = ("direct", "self-consistency", "best-of-n")
    runs = []
    for number, (suite, problem, gold) in enumerate(problems):
        agent = agents[number % len(agents)]
        config = {} if agent == "direct" else {"n": 2}
        budget = {"tokens": 360}
        body = {"agent": agent, "input": {"kind": "math", "problem": problem}, "config": config, "budget": budget}
        runs.append((suite, agent, gold, installation.run(**body, seed=number)))
    right: dict[str, list[bool]] = {"gsm8k": [], "aime": []}
    begin = time.monotonic()
    ended = [(suite, gold, installation.ended(run_id)) for suite, _, gold, run_id in runs]
    for (suite, gold, run), ok in zip(ended, anyio.run(_graded, ended), strict=True):
        assert run["status"] in ("succeeded", "budget_exhausted"), (run["id"], run["error"])
        right[suite].append(ok)
        events = installation.events(run["id"])
        calls = [event for event in events if event["type"] == "llm.call"]
        assert calls, f"the log of {run['id']} ({gold}) does not say what the model was asked"
        assert sum(call["data"]["usage"]["completion_tokens"] for call in calls) > 0
        assert run["usage"]["total"]["total_tokens"] < 360 + 2200, "the budget is kept to within one call"
    with capsys.disabled():
        took = time.monotonic() - begin
        scores = ", ".join(f"{suite} {sum(marks)}/{len(marks)}" for suite, marks in right.items())
        tokens = sum(run["usage"]["total"]["total_tokens"] for _, _, run in ended)
        print(f"\n{MODEL}: {scores}; {tokens:,} tokens, {took:.0f} s")


def test_the_demo_tells_its_story_and_ends_well(installation: Installation) -> None:
    done = installation.mneme("demo", timeout_s=900)
    assert done.returncode == 0, done.stdout + done.stderr
    maths, _, rest = done.stdout.partition("── 2. ")
    real, _, replayed = rest.partition("── 3. ")
    assert "135 million parameters" in maths
    assert maths.count("empirical_mcts.generate: ") >= 3
    # The packaged model: a selection and a program are asked for, and the end is told as it is.
    for word in ("is not expected to solve it", "arcmemo.select_concepts: ", "arcmemo.solve: ", "test 1"):
        assert word in real, word
    assert "Not solved" in real or "   Solved." in real
    # The script: wrong, right, learned, shown, right.
    assert "2 of 3 examples right" in replayed
    assert replayed.count("   Solved.") == 2
    for word in ("a new concept, as it is stored", "provenance: ", "│ - concept: ", "Memories that the runs wrote"):
        assert word in replayed, word
    for word in ("tokens", "curl", "OpenAI("):
        assert word in done.stdout, word


def test_doctor_finds_everything_in_order(installation: Installation) -> None:
    done = installation.mneme("doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)


def test_killed_in_the_middle_of_a_real_answer_the_run_goes_on_after_the_restart(installation: Installation) -> None:
    run_id = installation.run(agent="direct", input="Write a long story about a lighthouse.", budget={"tokens": 300})
    for _ in range(600):
        if any(event["type"] == "text.delta" for event in installation.events(run_id)):
            break
        time.sleep(0.05)
    assert installation.http.get(f"/api/runs/{run_id}").json()["status"] == "running"
    installation.stop(signal.SIGKILL)
    took = installation.start()
    print(f"\nready again after {took:.1f} s")
    run = installation.ended(run_id)
    assert (run["status"], run["attempt"]) == ("succeeded", 2)
    events = installation.events(run_id)
    kinds = [event["type"] for event in events]
    assert kinds.count("run.resumed") == kinds.count("llm.call") == kinds.count("run.finished") == 1
    said = "".join(event["data"]["text"] for event in events if event["type"] == "text.delta")
    assert said == run["output"]["text"]


async def _graded(ended: list[tuple[str, str, dict[str, Any]]]) -> list[bool]:
    worker = MathWorker()
    verifier = MathVerifier(worker)
    try:
        marks = []
        for _, gold, run in ended:
            text = str((run["output"] or {}).get("text", ""))
            answer = await verifier.canonical(parse_input(run["input"]), text)
            marks.append(answer is not None and await verifier.equal(gold, answer))
        return marks
    finally:
        await worker.aclose()


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
