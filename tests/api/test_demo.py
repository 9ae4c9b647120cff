"""The demo as a person starts it, with a script in the place of the model server: one start, one story."""

from __future__ import annotations

import re
import socket

import httpx
import pytest

from api.demo import main
from api.demo.maths import PROBLEMS
from api.demo.puzzles import TASK, real_task, sandbox_is_there
from api.demo.replay import CONCEPT, FIRST, SCRIPT, SECOND
from api.demo.service import port_to_use
from api.demo.telling import Told
from evals.suites import arc_data
from memory.builtin.arc_concepts import loader
from runtime.errors import SandboxUnavailable
from runtime.llm.scripted import Script
from runtime.llm.scripted_process import scripted_process
from runtime.settings import Settings, load

pytestmark = pytest.mark.anyio

# A model that learns one thing from mathematics, and writes a program that runs and is wrong, then none.
MODEL = r"""
[[rule]]
purpose = "empirical_mcts.judge"
[rule.json]
final_score = [4, 6]
new_experiences = ["Write down what is asked before calculating."]
new_system_prompt = "Be careful."
specific_criteria = ""
critique = ""
weight_allocation = ""
scoring_process = ""
[[rule]]
purpose = "empirical_mcts.*"
replies = ["It is \\boxed{8}.", "It is \\boxed{6}."]
[[rule]]
purpose = "arcmemo.select_concepts"
json = { names = ["rotate grid", "no such concept"] }
[[rule]]
purpose = "arcmemo.solve"
reply = "```python\ndef transform(grid):\n    return grid[::-1]\n```"
[[rule]]
purpose = "arcmemo.retry"
contains = "is wrong. The program gave"
reply = "I do not know."
[[rule]]
reply = "Nothing was asked for by that name."
fault = "400"
"""


async def test_the_demo_learns_stores_selects_and_says_what_is_real(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with scripted_process(MODEL) as model, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        variables = {
            "HOME": str(settings.home),
            "EMBED__MODEL": "hashing-384",
            "LLM__BASE_URL": model.url,
            "LLM__MODEL": "scripted",
            "SERVER__PORT": str(port),
        }
        for name, value in variables.items():
            monkeypatch.setenv(f"MNEME_{name}", value)
        assert await main(load().settings) == 0
        said = capfd.readouterr().out

        # The port that the settings name was taken, so another one was chosen.
        (started,) = re.findall(r"starting the service on http://127\.0\.0\.1:(\d+)", said)
        assert int(started) != port
        assert f"watch it on http://127.0.0.1:{started}/ui" in said
        # Mathematics: asked of the model server by the service, judged, and something was learned.
        assert all(problem.text in said for problem in PROBLEMS)
        assert "1 of 3 answers passed" in said
        assert re.search(r"mem_\w+  experience, version \d+: ", said)
        # The task of the model of the service: selection, program, sandbox, what came of it, retry, and an honest end.
        assert re.search(r"step\.completed +select: 'rotate grid' \(mem_\w+\)\n", said)
        assert re.search(r"memory\.read +'rotate grid' \(mem_\w+\), version 1, shown to sample\.0", said)
        assert "│     return grid[::-1]" in said
        assert "2 of 2 calls returned" in said
        assert "sample.0, score 0: nothing to run, there is no fenced Python block in the reply" in said
        assert "Not solved, and nothing is learned" in said
        asked = [each["purpose"] for each in model.requests() if each["purpose"].startswith("arcmemo.")]
        assert asked == ["arcmemo.select_concepts", "arcmemo.solve", "arcmemo.retry"]

    # The replay: wrong, told so, right, learned, stored, selected, shown, used.
    part = said[said.index("3. Two more training tasks") :]
    assert "The words of the model come from api/demo/replay.toml" in part
    assert "2 of 3 examples right" in part
    assert "Example 3 is wrong. The program gave (6 x 6)" in part
    assert part.count("3 of 3 examples right") == 2
    assert part.count("   Solved.") == 2
    (id_,) = re.findall(r"a new concept, as it is stored: (mem_\w+), version 1\n", part)
    assert re.search(r"provenance: inference_extraction, run run_\w+, step run\.0\.1, program of \d+ lines", part)
    assert re.search(rf"memory\.read +'{CONCEPT}' \({id_}\), version 1, shown to sample\.0", part)
    prompt = part[part.index("what the model was told of it") :]
    assert prompt.index(f"│ - concept: {CONCEPT}") < prompt.index("│     - plan: plan := list[list[turn]]")
    assert f"{id_} is at version 2 now: {FIRST[-8:]}, {SECOND[-8:]} used it." in part
    # What was written, by name, and where it is.
    assert re.search(rf"{id_}  concept, version 2: {CONCEPT} \(routine: grid manipulation\) -> grid", part)
    assert re.search(r"mneme memory list --vault demo-\d{8}-\d{6}", part)
    assert "curl " in part


async def test_without_a_sandbox_the_demo_says_so_asks_for_nothing_and_goes_on(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise SandboxUnavailable("sandbox: expected level 'standard' or better, this machine has none")

    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError(f"{request.url} was asked for")

    assert await sandbox_is_there(settings, serving=True)
    monkeypatch.setattr("api.demo.puzzles.accepted", refuse)
    async with httpx.AsyncClient(transport=httpx.MockTransport(never), base_url="http://demo") as client:
        await real_task(client, settings, Told(), "demo", packaged=True)
    said = capsys.readouterr().out
    assert "is not expected to solve it" in said
    assert "NO SANDBOX: sandbox: expected level 'standard'" in said
    assert "this part is left out; `mneme doctor` says more" in said


def test_the_tasks_are_training_tasks_that_no_built_in_concept_was_found_in() -> None:
    known = {solution.task_id for solution in loader.solutions()}
    for reference in (TASK, FIRST, SECOND):
        named = arc_data.find(reference)
        assert (named.version, named.part) == ("arc1", "train")
        assert named.id not in known
    assert CONCEPT not in {concept.concept for concept in loader.concepts()}


def test_the_script_of_the_replay_holds_no_grid_and_no_answer() -> None:
    assert Script.load(SCRIPT).rules
    assert not re.search(r"\d[, ]+\d[, ]+\d[, ]+\d", re.sub(r"0, 90, 270 and 180", "", SCRIPT.read_text()))


def test_a_port_that_is_free_is_kept_and_one_that_is_taken_is_not() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port_to_use(port) not in (0, port)
    assert port_to_use(port) == port
    assert port_to_use(0) != 0
