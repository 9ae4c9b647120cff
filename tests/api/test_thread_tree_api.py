"""A thread tree over HTTP: thoughts as reasoning through the unmodified client, the whole document in the run, its tree."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.routes.tree_documented import ThreadTree
from tests.api.conftest import Serve, Served, serving

SCRIPT = """
[[rule]]
purpose = "tim.open"
contains = "Next: task 1,"
json = { title = "plan", thought = "First the parts.", action = { kind = "descend" } }
[[rule]]
purpose = "tim.open"
contains = "Next: task 1.1,"
[rule.json]
thought = "Compute it."
action = { kind = "tool", tool_name = "python", parameters = { code = "6 * 7" } }
[[rule]]
purpose = "tim.after_tool"
json = { action = { kind = "conclude", conclusion = "The product is 42.", more = false } }
[[rule]]
purpose = "tim.after_list"
json = { conclusion = "Found: 42.", more = false }
[[rule]]
purpose = "tim.answer"
json = { answer = "It is 42." }
"""
BODY = {"agent": "tim", "input": "6 times 7?", "seed": 0, "config": {"k": 0, "tools": ["python"]}}


@pytest.fixture(scope="module")
def thinking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("thinking"), SCRIPT) as running:
        yield running


def test_the_run_holds_the_whole_document_and_the_tree_says_what_was_pruned(thinking: Served) -> None:
    run_id = thinking.http.post("/api/runs", json=BODY).json()["id"]
    run = thinking.ended(run_id)
    assert run["status"] == "succeeded", run["error"]
    assert run["output"]["text"] == "It is 42."
    answer = thinking.http.get(f"/api/runs/{run_id}/tree")
    told = ThreadTree.model_validate(answer.json())
    assert told.document == run["output"]["detail"]["document"]
    assert [(node.path, node.tool, node.live) for node in told.nodes] == [("1", None, True), ("1.1", "python", False)]
    (used,) = [task["tooluse"] for task in run["output"]["detail"]["document"]["reasoning"][0]["subtasks"]]
    assert "42" in str(used["tool_result"])
    end = told.series[-1].model_dump(exclude={"step", "seq", "at"})
    assert run["usage"]["working_memory"] == end
    assert end["pruned"] > 0
    exposed = thinking.http.get("/metrics").text
    assert f'mneme_working_memory_tokens_total{{kind="pruned"}} {float(end["pruned"])}' in exposed


def test_an_unknown_option_is_refused(thinking: Served) -> None:
    assert thinking.http.post("/api/runs", json={**BODY, "config": {"kk": 1}}).status_code == 422
    bad = {"tree": {"root": {"list": "a"}, "kinds": {}}}
    assert thinking.http.post("/api/runs", json={**BODY, "config": bad}).status_code == 422


def test_the_client_hears_thoughts_as_reasoning_and_the_answer_as_text(thinking: Served) -> None:
    reasoning, text = "", ""
    stream = thinking.openai().chat.completions.create(
        model="tim",
        messages=[{"role": "user", "content": "6 times 7?"}],
        stream=True,
        extra_body={"mneme": {"seed": 0, "config": {"tools": ["python"]}}},
    )
    for chunk in stream:
        delta = chunk.choices[0].delta if chunk.choices else None
        if delta is not None:
            reasoning += getattr(delta, "reasoning", None) or ""
            text += delta.content or ""
    at = 0
    for words in ("[1 plan] First the parts.", "[1.1] Compute it.", "[1.1] → The product is 42.", "[1] → Found: 42."):
        assert words in reasoning[at:], reasoning
        at = reasoning.index(words, at)
    assert text == "It is 42."


RECALLING = """
[[rule]]
purpose = "tim.open"
contains = "Next: task 1,"
json = { title = "plan", thought = "First the parts.", action = { kind = "descend" } }
[[rule]]
purpose = "tim.open"
contains = "Next: task 1.1,"
json = { thought = "Say it.", action = { kind = "conclude", conclusion = "It is 42.", more = false } }
[[rule]]
purpose = "tim.after_list"
json = { conclusion = "Found.", more = true }
[[rule]]
purpose = "tim.open"
contains = "Next: task 2,"
json = { thought = "What was it?", action = { kind = "tool", tool_name = "recall", parameters = { path = "1" } } }
[[rule]]
purpose = "tim.after_tool"
json = { action = { kind = "conclude", conclusion = "42, as task 1.1 says.", more = false } }
[[rule]]
purpose = "tim.answer"
json = { answer = "42." }
"""


def test_the_tree_says_what_was_recalled_and_the_run_has_it_in_its_place(serve: Serve) -> None:
    with serve(RECALLING) as recalling:
        done = recalling.openai().chat.completions.with_raw_response.create(
            model="tim",
            messages=[{"role": "user", "content": "What is it?"}],
            extra_body={"mneme": {"seed": 0, "config": {"k": 0, "tools": []}}},
        )
        run_id = done.headers["x-run-id"]
        told = ThreadTree.model_validate(recalling.http.get(f"/api/runs/{run_id}/tree").json())
        run = recalling.http.get(f"/api/runs/{run_id}").json()
    assert done.parse().choices[0].message.content == "42."
    seen = {node.path: (node.live, node.recalled, node.pruned_at is not None) for node in told.nodes}
    assert seen == {"1": (True, 0, False), "1.1": (False, 1, True), "2": (True, 0, False)}
    assert 0 < told.series[-1].recalled <= told.series[-1].pruned
    first, second = run["output"]["detail"]["document"]["reasoning"]
    assert second["tooluse"]["tool_result"] == first["subtasks"]
