"""A search over HTTP: its reasoning as it happens through the unmodified client, and its tree."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from api.routes.tree_documented import SearchTree
from tests.api.conftest import Served, serving

SCRIPT = """
[[rule]]
purpose = "empirical_mcts.role"
reply = "You are the one who knows."
[[rule]]
purpose = "empirical_mcts.generate"
replies = ["It is \\\\boxed{4}.", "It is \\\\boxed{6}.", "It is \\\\boxed{7}."]
reasoning = "hidden"
[[rule]]
purpose = "empirical_mcts.judge"
[rule.json]
specific_criteria = "c"
critique = "Well."
weight_allocation = "w"
scoring_process = "s"
final_score = [6, 6]
new_experiences = ["Write the unit of each number beside it"]
new_system_prompt = "Be exact."
[[rule]]
purpose = "empirical_mcts.memory"
[rule.json]
think = "New."
plan = [{ option = "add", experience = "Write the unit of each number beside it" }]
"""
BODY = {
    "agent": "empirical-mcts",
    "input": {"kind": "math", "problem": "2 + 3?"},
    "seed": 0,
    "vaults": ["default"],
    "explore": 0,
    "config": {"rollouts": 2},
}


@pytest.fixture(scope="module")
def searching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("searching"), SCRIPT) as running:
        yield running


def test_the_tree_of_a_run(searching: Served) -> None:
    run_id = searching.http.post("/api/runs", json=BODY).json()["id"]
    run = searching.ended(run_id)
    assert run["status"] == "succeeded", run["error"]
    answer = searching.http.get(f"/api/runs/{run_id}/tree")
    assert answer.status_code == 200
    told = SearchTree.model_validate(answer.json())
    assert [(node.id, node.parent, node.depth, node.final) for node in told.nodes] == [
        (0, None, 0, "4"),
        (1, 0, 1, "6"),
        (2, 1, 2, "7") if told.nodes[2].parent == 1 else (2, 0, 1, "7"),
    ]
    assert told.best == run["output"]["detail"]["best"]
    (written,) = run["memories"]["written"]
    assert told.nodes[2].memories == [written["id"]]
    memory = searching.http.get(f"/api/memories/{written['id']}").json()
    assert memory["semantic_type"] == "experience"
    assert memory["data"]["keys"] == [{"text": "2 + 3?", "problem_id": run_id}]
    sources = searching.http.get(f"/api/memories/{written['id']}/provenance").json()["sources"]
    assert [(each["kind"], each["uri"], each["message_id"]) for each in sources] == [("run", run_id, "node.1")]
    schema = searching.http.get("/openapi.json").json()
    documented = schema["paths"]["/api/runs/{run_id}/tree"]["get"]["responses"]["200"]["content"]
    (kind,) = [part["$ref"] for part in documented["application/json"]["schema"]["anyOf"] if "Search" in part["$ref"]]
    assert kind.endswith("/SearchTree")


def test_a_run_of_another_agent_has_none(searching: Served) -> None:
    run_id = searching.http.post("/api/runs", json={"agent": "direct", "input": "hi"}).json()["id"]
    answer = searching.http.get(f"/api/runs/{run_id}/tree")
    assert answer.status_code == 404
    assert "builds none" in answer.json()["detail"]


def test_the_client_hears_the_search_as_reasoning_and_the_answer_as_text(searching: Served) -> None:
    reasoning, text = "", ""
    stream = searching.openai().chat.completions.create(
        model="empirical-mcts",
        messages=[{"role": "user", "content": "2 + 3?"}],
        stream=True,
        extra_body={"mneme": {"config": {"rollouts": 2}, "seed": 0}},
    )
    for chunk in stream:
        delta = chunk.choices[0].delta if chunk.choices else None
        if delta is not None:
            reasoning += getattr(delta, "reasoning", None) or ""
            text += delta.content or ""
    at = 0
    for words in (
        "It is \\boxed{4}.",
        "[node 0 is created: 4]",
        "[rollout 1: node 0 is chosen]",
        "It is \\boxed{6}.",
        "[node 1 is created: 6]",
        "[node 1 scores 6, node 0 6]",
        "[rollout 2 is complete]",
        "is chosen as the answer]",
    ):
        assert words in reasoning[at:], (words, reasoning)
        at = reasoning.index(words, at) + len(words)
    assert text in {"It is \\boxed{4}.", "It is \\boxed{6}.", "It is \\boxed{7}."}
