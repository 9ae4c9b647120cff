"""No prompt of a search that learns while it is evaluated holds a gold answer, and the judge sees no hidden thinking."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from evals.plan import Plan
from runtime.llm.base import CallInfo, Chunk
from runtime.llm.scripted import Scripted
from runtime.settings import Settings
from runtime.types import JsonObject, Message
from tests.conftest import make_settings
from tests.evals.conftest import MakeLab, Problems

pytestmark = pytest.mark.anyio
GOLD = (314, 159, 271)
THOUGHT = "nobody may read this thought"
SCRIPT = rf"""
[[rule]]
purpose = "empirical_mcts.judge"
[rule.json]
specific_criteria = ""
critique = ""
weight_allocation = ""
scoring_process = ""
final_score = [6, 7]
new_experiences = ["Check the units of a question before you answer it"]
new_system_prompt = "Mind the units."
[[rule]]
purpose = "empirical_mcts.memory"
json = {{ think = "", plan = [{{ option = "add", experience = "Check the units of a question before you answer it" }}] }}
[[rule]]
purpose = "empirical_mcts.role"
reply = "You mind the units."
[[rule]]
purpose = "empirical_mcts.generate"
replies = ["\\boxed{{9}}", "\\boxed{{8}}", "\\boxed{{7}}"]
reasoning = "{THOUGHT}"
"""


@pytest.fixture(scope="module")
def lab_settings(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Settings:
    home = tmp_path_factory.mktemp("leaks")
    (home / "script.toml").write_text(SCRIPT, encoding="utf-8")
    shutil.copy(migrated_file, home)
    return make_settings(home, llm__model=f"scripted/{home / 'script.toml'}", llm__retries=0, runs__flush_ms=5)


@pytest.mark.parametrize("profile", ["published", "robust", "evidence"])
async def test_a_search_that_learns_is_never_told_a_gold_answer(
    profile: str, lab: MakeLab, problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    stream = Scripted.stream

    async def noted(
        self: Scripted, messages: Sequence[Message], *, info: CallInfo, **more: Any
    ) -> AsyncIterator[Chunk]:
        asked.append((info.purpose, "\n".join(message.text for message in messages)))
        async for chunk in stream(self, messages, info=info, **more):
            yield chunk

    monkeypatch.setattr(Scripted, "stream", noted)
    config: JsonObject = {"profile": profile, "rollouts": 3}
    plan = Plan(
        "aime", "empirical-mcts", data=(problems(GOLD, name=profile),), config=config, memory="continual", batch=1
    )
    log = await lab().run(plan)
    assert len(log.records()) == len(GOLD)
    assert not any(record.failed for record in log.records())
    purposes = {purpose for purpose, _ in asked}
    assert {f"empirical_mcts.{name}" for name in ("role", "generate", "judge", "memory")} <= purposes
    assert any("Check the units" in text for purpose, text in asked if purpose == "empirical_mcts.generate")
    for purpose, text in asked:
        assert not [gold for gold in GOLD if str(gold) in text], purpose
        assert THOUGHT not in text, purpose
