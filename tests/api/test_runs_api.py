"""Runs over HTTP: accept, follow, replay, cancel, resume, fork; problems that name field, expectation and fix."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import httpx
import pytest

from tests.api.conftest import Serve, Served


def frames(response: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, with the id of each frame."""
    found: list[dict[str, Any]] = []
    frame: dict[str, str] = {}
    for line in response.iter_lines():
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(": ")
            frame[name] = value
        elif frame:
            found.append({"id": int(frame["id"]), "event": frame["event"], **json.loads(frame["data"])})
            frame = {}
    return found


def submit(served: Served, **body: Any) -> str:
    response = served.http.post("/api/runs", json={"agent": "direct", "input": "hi", **body})
    assert response.status_code == 202, response.text
    assert response.headers["location"] == f"/api/runs/{response.json()['id']}"
    return str(response.json()["id"])


def test_a_run_is_accepted_executed_and_explained_by_its_log(served: Served) -> None:
    run_id = submit(served, agent="best-of-n", input={"kind": "math", "problem": "1+1?"}, config={"n": 2}, seed=3)
    run = served.ended(run_id)
    assert run["status"] == "succeeded"
    assert run["seed"] == 3
    assert set(run["usage"]["by_purpose"]) == {"best_of_n.answer", "eval.judge"}
    events = served.events(run_id)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "run.queued"
    assert events[-1]["type"] == "run.finished"
    assert set(events[0]) == {"seq", "run_id", "at", "type", "data"}
    assert events[1]["data"]["prompts"], "the log says which prompts were used"


def test_the_stream_replays_then_goes_on_live_and_ends_with_the_run(served: Served) -> None:
    run_id = submit(served, input="slowly")
    with served.http.stream("GET", f"/api/runs/{run_id}/stream") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        seen = frames(response)
    assert [event["id"] for event in seen] == [event["seq"] for event in seen]
    assert seen[-1]["type"] == "run.finished"
    stored = served.events(run_id)
    assert [(event["seq"], event["type"]) for event in seen] == [(event["seq"], event["type"]) for event in stored]
    text = "".join(event["data"]["text"] for event in seen if event["type"] == "text.delta")
    assert text == "one two three four five six seven eight nine ten eleven twelve"
    for headers, params in (({"Last-Event-ID": "3"}, {}), ({}, {"after": 3})):
        with served.http.stream("GET", f"/api/runs/{run_id}/stream", headers=headers, params=params) as response:
            assert [event["id"] for event in frames(response)] == [event["seq"] for event in stored[3:]]
    with served.http.stream("GET", f"/api/runs/{run_id}/stream", headers={"Last-Event-ID": "999"}) as response:
        assert frames(response) == []


def test_events_come_in_pages(served: Served) -> None:
    run_id = submit(served)
    served.ended(run_id)
    first = served.http.get(f"/api/runs/{run_id}/events", params={"limit": 2}).json()
    rest = served.http.get(f"/api/runs/{run_id}/events", params={"after": first["next"]}).json()
    assert first["items"] + rest["items"] == served.events(run_id)
    assert rest["next"] is None


def test_a_listener_that_goes_away_does_not_stop_a_background_run(served: Served) -> None:
    run_id = submit(served, input="slowly")
    with served.http.stream("GET", f"/api/runs/{run_id}/stream") as response:
        next(response.iter_lines())
    assert served.ended(run_id)["status"] == "succeeded"


def test_cancel_then_resume_goes_on_behind_the_finished_steps(serve: Serve) -> None:
    script = """
[[rule]]
purpose = "self_consistency.answer"
reply = "The answer is 4"
delay_ms = 60
"""
    with serve(script) as served:
        run_id = submit(served, agent="self-consistency", config={"n": 6, "at_once": 1})
        for _ in range(200):
            done = [e for e in served.events(run_id) if e["type"] == "step.completed"]
            if len(done) >= 2:
                break
            time.sleep(0.05)
        cancelled = served.http.post(f"/api/runs/{run_id}/cancel")
        assert cancelled.status_code == 202
        assert served.ended(run_id)["status"] == "cancelled"
        steps = [e["data"]["name"] for e in served.events(run_id) if e["type"] == "step.completed"]

        assert served.http.post(f"/api/runs/{run_id}/resume").status_code == 202
        run = served.ended(run_id)
        assert run["status"] == "succeeded"
        events = served.events(run_id)
        names = [event["data"]["name"] for event in events if event["type"] == "step.completed"]
        assert names[: len(steps)] == steps
        assert sorted(names) == sorted([*(f"answer.{n}" for n in range(6)), "choose"])
        assert served.model is not None
        finished = [request for request in served.model.requests() if request["finished"]]
        assert len(finished) == 6, "no finished step asks the model again"
        conflict = served.http.post(f"/api/runs/{run_id}/resume")
        assert conflict.status_code == 409
        assert "succeeded" in conflict.json()["detail"]


def test_a_fork_shares_the_beginning(served: Served) -> None:
    run_id = submit(served, agent="self-consistency", config={"n": 3, "at_once": 1})
    served.ended(run_id)
    events = served.events(run_id)
    cut = next(e["seq"] for e in events if e["type"] == "step.completed")
    fork = served.http.post(f"/api/runs/{run_id}/fork", json={"from_event": cut})
    assert fork.status_code == 202
    run = served.ended(fork.json()["id"])
    assert run["status"] == "succeeded"
    assert run["parent"] == {"run": run_id, "event": cut}
    names = [e["data"]["name"] for e in served.events(run["id"]) if e["type"] == "step.completed"]
    assert sorted(names) == ["answer.0", "answer.1", "answer.2", "choose"]
    assert served.http.post(f"/api/runs/{run_id}/fork", json={"from_event": 9999}).status_code == 400


def test_wait_gives_the_run_as_it_is_when_the_time_is_up(served: Served) -> None:
    run_id = submit(served, input="slowly")
    begin = time.monotonic()
    run = served.http.post(f"/api/runs/{run_id}/wait", json={"timeout_s": 0.3}).json()
    assert time.monotonic() - begin < 1.0
    assert run["status"] in ("queued", "running")
    served.ended(run_id)


def test_the_same_idempotency_key_makes_one_run(served: Served) -> None:
    headers = {"Idempotency-Key": "once-1"}
    body = {"agent": "direct", "input": "only once"}
    first = served.http.post("/api/runs", json=body, headers=headers)
    again = served.http.post("/api/runs", json=body, headers=headers)
    assert first.json() == again.json()
    assert again.headers["idempotency-replayed"] == "true"
    other = served.http.post("/api/runs", json={**body, "input": "else"}, headers=headers)
    assert other.status_code == 422
    assert other.json()["code"] == "idempotency_mismatch"
    refused = {"Idempotency-Key": "once-2"}
    for _ in range(2):
        assert served.http.post("/api/runs", json={"agent": "nope", "input": "x"}, headers=refused).status_code == 404


def test_many_at_once_with_one_key_make_one_run(served: Served) -> None:
    answers: list[httpx.Response] = []

    def post() -> None:
        with httpx.Client(base_url=served.url, timeout=30, trust_env=False) as client:
            body = {"agent": "direct", "input": "together"}
            answers.append(client.post("/api/runs", json=body, headers={"Idempotency-Key": "many"}))

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1


BAD: list[tuple[dict[str, Any], int, str]] = [
    ({"agent": "nope"}, 404, "agent"),
    ({"agent": "direct", "input": {"kind": "poem"}}, 400, "input.kind"),
    ({"agent": "direct", "input": ""}, 400, "input"),
    ({"agent": "direct", "input": []}, 400, "input"),
    ({"agent": "direct", "input": [{"role": "king", "content": "x"}]}, 400, "input.0.role"),
    ({"agent": "direct", "input": {"kind": "math"}}, 400, "input.problem"),
    ({"agent": "self-consistency", "input": {"kind": "arc", "train": [], "test": []}}, 400, "input"),
    ({"agent": "self-consistency", "config": {"n": 0}}, 422, "config.n"),
    ({"agent": "self-consistency", "config": {"m": 1}}, 422, "config.m"),
    ({"agent": "direct", "budget": {"tokens": -1}}, 422, "budget.tokens"),
    ({"agent": "direct", "budget": {"tokens": 1, "calls": 2}}, 400, "budget"),
    ({"agent": "direct", "memory": "maybe"}, 422, "memory"),
    ({"agent": "direct", "model": "no-such-model"}, 404, "model"),
    ({"agent": "direct", "surprise": 1}, 422, "surprise"),
]


@pytest.mark.parametrize(("body", "status", "param"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_bad_input_is_a_problem_that_names_the_field(
    served: Served, body: dict[str, Any], status: int, param: str
) -> None:
    response = served.http.post("/api/runs", json={"input": "hi", **body})
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert {"type", "title", "status", "detail", "instance", "code"} <= set(problem)
    assert any(error["param"].startswith(param) for error in problem["errors"]), problem
    assert len(problem["detail"]) > 20


@pytest.mark.parametrize("path", ["/api/runs", "/v1/chat/completions"])
@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 400),
        (b'{"agent": "\xff\xfe"}', 400),
        (b"[" * 100_000, 400),
        (b'"text"', (400, 422)),
        (b"", (400, 422)),
        (b" " * 20_000_000, 413),
    ],
    ids=["half", "utf8", "deep", "text", "empty", "20MB"],
)
def test_bodies_that_cannot_be_read_are_refused_in_the_shape_of_the_surface(
    served: Served, path: str, content: bytes, status: int | tuple[int, ...]
) -> None:
    response = served.http.post(path, content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (status if isinstance(status, tuple) else (status,)), response.text
    body = response.json()
    message = body["error"]["message"] if path.startswith("/v1") else body["detail"]
    assert len(message) > 10


def test_a_body_without_a_length_is_counted_too(served: Served) -> None:
    def parts() -> Any:
        for _ in range(400):
            yield b" " * 50_000

    response = served.http.post("/api/runs", content=parts(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_strings_with_nul_and_half_a_surrogate_are_kept(served: Served) -> None:
    raw = b'{"agent": "direct", "input": "a\\u0000b \\ud800 c"}'
    response = served.http.post("/api/runs", content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code == 202
    run = served.ended(response.json()["id"])
    assert run["input"] == "a\0b \ud800 c"
    # The client library of the model server or the server itself may refuse such text; the run says so and ends.
    assert run["status"] in ("succeeded", "failed")
    assert served.http.get(f"/ui/runs/{run['id']}").status_code == 200


@pytest.mark.parametrize("path", ["/v1/nothing", "/api/nothing", "/nothing"])
def test_unknown_routes_answer_in_the_shape_of_the_surface(served: Served, path: str) -> None:
    response = served.http.get(path)
    assert response.status_code == 404
    assert ("error" in response.json()) == path.startswith("/v1")
    assert served.http.delete("/api/runs").status_code == 405


def test_agents_say_what_they_take(served: Served) -> None:
    agents = {agent["name"]: agent for agent in served.http.get("/api/agents").json()["items"]}
    assert set(agents) == {"arcmemo", "direct", "best-of-n", "self-consistency", "empirical-mcts", "tim"}
    assert agents["best-of-n"]["config"]["properties"]["n"]["default"] == 4
    assert served.http.get("/api/agents/nope").status_code == 404
    assert served.http.get(f"/api/runs/{submit(served)}/tree").status_code == 404


def test_health_ready_and_metrics(served: Served) -> None:
    served.ended(submit(served))
    assert served.http.get("/health").json() == {"status": "ok"}
    ready = served.http.get("/ready")
    assert ready.status_code == 200
    assert {check["name"] for check in ready.json()["checks"]} == {"database", "model"}
    text = served.http.get("/metrics").text
    assert 'mneme_runs_total{agent="direct",status="succeeded"}' in text
    assert "mneme_llm_tokens_total" in text
    assert "mneme_event_append_seconds_count" in text


def test_the_default_engine_is_not_asked_when_the_scripted_model_is_set(serve: Serve) -> None:
    with serve(None) as served:
        assert served.ended(submit(served))["output"]["text"] == "You said: hi"
