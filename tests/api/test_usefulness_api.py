"""What memories are worth, over HTTP: measured by runs, shown beside them, corrected by people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.conftest import Served, serving

SCRIPT = """
[[rule]]
purpose = "*.answer"
replies = ['\\boxed{5}', '\\boxed{4}']
"""
MATH: dict[str, Any] = {"kind": "math", "problem": "Solve 3x + 4 = 19", "check": {"equations": ["3*x+4=19"]}}
HINTS = ("To solve 3x + 4 = 19, subtract 4", "To solve 3x = 15, divide by 3")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("usefulness"), SCRIPT) as running:
        yield running


@pytest.fixture
def vault(served: Served, request: pytest.FixtureRequest) -> str:
    """A vault with two hints."""
    made = served.http.post("/api/vaults", json={"name": request.node.name[:150]})
    assert made.status_code == 201, made.text
    for hint in HINTS:
        assert served.http.post("/api/memories", json={"content": hint, "vault": made.json()["id"]}).status_code == 201
    return str(made.json()["id"])


def hints(served: Served, vault: str) -> list[str]:
    return [item["id"] for item in served.http.get("/api/memories", params={"vault": vault}).json()["items"]]


def run(served: Served, vault: str, agent: str = "best-of-n", **more: Any) -> dict[str, Any]:
    """A run of this vault, once it has ended."""
    body = {"agent": agent, "input": MATH, "vaults": [vault], "seed": 7, **more}
    accepted = served.http.post("/api/runs", json=body)
    assert accepted.status_code == 202, accepted.text
    ended = served.ended(accepted.json()["id"])
    assert ended["status"] == "succeeded", ended["error"]
    return ended


def test_a_run_lists_the_memories_that_it_read(served: Served, vault: str) -> None:
    read = run(served, vault, config={"n": 4})["memories"]["read"]
    assert {item["id"] for item in read} == set(hints(served, vault))
    assert {item["unit"] for item in read} == {f"answer.{number}" for number in range(4)}
    assert all({"version", "score", "why", "shown", "p"} <= item.keys() for item in read)


def test_what_runs_measured_is_shown_with_the_memory_and_over_the_vault(served: Served, vault: str) -> None:
    runs = [run(served, vault, config={"n": 4}, seed=seed)["id"] for seed in range(3)]
    first, second = hints(served, vault)
    uses = served.http.get(f"/api/memories/{first}/uses")
    assert uses.status_code == 200, uses.text
    (estimate,) = uses.json()["estimates"]
    assert (estimate["kind"], estimate["n"], estimate["ranks"], estimate["life"]) == ("verifier", 3, True, 1)
    assert estimate["low"] <= estimate["effect"] <= estimate["high"]
    assert [agent["agent"] for agent in estimate["agents"]] == ["best-of-n"]
    sides = uses.json()["shown"] + uses.json()["held_out"]
    assert {side["run"] for side in sides} == set(runs)
    uplift = served.http.get(f"/api/memories/{first}").json()["uplift"]
    assert uplift == {name: estimate[name] for name in ("n", "effect", "low", "high")}
    seen = served.http.get(f"/api/vaults/{vault}/usefulness").json()
    judged = {item["memory"]["id"] for side in ("helped", "hurt") for item in seen[side]}
    assert judged <= {first, second}
    assert seen["never_measured"] == []
    assert (seen["vault"], seen["explore"], seen["prior"]["sd"]) == (vault, None, 0.1)


def test_a_memory_that_no_run_has_read_is_never_measured(served: Served, vault: str) -> None:
    first, second = hints(served, vault)
    seen = served.http.get(f"/api/vaults/{vault}/usefulness").json()
    assert [item["id"] for item in seen["never_measured"]] == [first, second]
    assert seen["helped"] == seen["hurt"] == seen["lift"] == []
    uses = served.http.get(f"/api/memories/{first}/uses").json()
    assert uses["estimates"] == uses["shown"] == uses["held_out"] == []
    assert served.http.get(f"/api/memories/{first}").json()["uplift"] is None


def test_a_persons_word_is_an_outcome_of_its_own_kind_and_can_be_taken_back(served: Served, vault: str) -> None:
    first, second = hints(served, vault)
    done = run(served, vault, agent="direct", input="How do I solve 3x + 4 = 19?")
    said = {"helpful": True, "run_id": done["id"]}
    for helpful in (True, False):
        answer = served.http.post(f"/api/memories/{first}/feedback", json={**said, "helpful": helpful})
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"id": first, "run": done["id"], "memories": 2, "job": None}
    estimates = [served.http.get(f"/api/memories/{id_}/uses").json()["estimates"] for id_ in (first, second)]
    assert [[(item["kind"], item["n"]) for item in items] for items in estimates] == [[("feedback", 1)]] * 2


def test_words_become_a_correction(served: Served, vault: str) -> None:
    first, _ = hints(served, vault)
    answer = served.http.post(f"/api/memories/{first}/feedback", json={"text": 'Replace "divide" with "multiply"'})
    assert answer.status_code == 202, answer.text
    assert answer.json()["job"].startswith("job_")
    assert answer.json()["memories"] is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"helpful": True}, 400),
        ({"run_id": "run_" + "0" * 32}, 400),
        ({"helpful": "yes", "run_id": "run_" + "0" * 32}, 422),
        ({"helpful": True, "run_id": "run_" + "0" * 32}, 404),
        ({"helpful": True, "run_id": "nonsense"}, 404),
    ],
)
def test_feedback_that_says_nothing_or_about_no_run_is_refused(
    served: Served, vault: str, body: dict[str, Any], status: int
) -> None:
    first, _ = hints(served, vault)
    answer = served.http.post(f"/api/memories/{first}/feedback", json=body)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_vault_that_may_not_be_read_is_refused_before_there_is_a_run(served: Served) -> None:
    answer = served.http.post("/api/runs", json={"agent": "direct", "input": "Hi", "vaults": ["vlt_nowhere"]})
    assert answer.status_code == 404
    assert [error["param"] for error in answer.json()["errors"]] == ["vaults"]
    chat = {"model": "direct", "messages": [{"role": "user", "content": "Hi"}], "mneme": {"vaults": ["vlt_nowhere"]}}
    answer = served.http.post("/v1/chat/completions", json=chat)
    assert answer.status_code == 404
    assert answer.json()["error"]["param"] == "mneme.vaults"
    assert served.http.get("/api/vaults/vlt_nowhere/usefulness").status_code == 404


def test_a_chat_that_names_a_vault_is_answered_with_its_memories(served: Served, vault: str) -> None:
    chat = {
        "model": "direct",
        "messages": [{"role": "user", "content": "How do I solve 3x + 4 = 19?"}],
        "mneme": {"vaults": [vault]},
    }
    answer = served.http.post("/v1/chat/completions", json=chat)
    assert answer.status_code == 200, answer.text
    record = served.ended(answer.headers["x-run-id"])
    assert {item["id"] for item in record["memories"]["read"]} == set(hints(served, vault))
