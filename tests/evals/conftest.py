"""A service over the scripted model, one for each module of tests, and evaluations run on it.

Opening and closing a service takes a second, so tests share it; the words of a question decide what the model answers.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from agents import registry
from agents.build import open_service
from agents.service import Service
from evals.hub import Hub
from evals.loading import Loader
from evals.log import Log
from evals.plan import Plan
from evals.runner import Bench
from evals.vaults import live
from memory.types import Actor, Draft, MemCube
from runtime.settings import Settings
from tests.conftest import make_settings

SCRIPT = r"""
[[rule]]
purpose = "eval.judge"
json = { reason = "the first", best = 1 }
[[rule]]
contains = "problems question number 0?"
reply = "\\boxed{5}"
[[rule]]
contains = "problems question number 1?"
replies = ["\\boxed{6}", "\\boxed{7}"]
[[rule]]
contains = "problems question number 2?"
reply = "The answer is 7."
[[rule]]
contains = "problems question number 3?"
reply = "I do not know."
[[rule]]
contains = "slow question"
reply = "\\boxed{1}"
first_delay_ms = 40
[[rule]]
contains = "flaky question number 1?"
fault = "500"
times = 1
[[rule]]
contains = "flaky question"
reply = "\\boxed{5}"
[[rule]]
contains = "gone question"
fault = "500"
# Whoever is shown the fact knows it.
[[rule]]
contains = "'s locker code is 2275."
reply = "2275"
[[rule]]
contains = "Jupiter was learned"
reply = "\\boxed{5}"
"""


class Lab:
    """A bench, with what tests look at."""

    def __init__(self, service: Service, owner: str, jobs: int) -> None:
        self.said: list[str] = []
        self.seen: list[tuple[int, int]] = []
        self.service = service
        self.bench = Bench(service, owner, jobs, self.said.append, lambda *each: self.seen.append(each))
        self.actor = Actor(owner)

    @property
    def home(self) -> Path:
        return self.service.settings.home

    def loader(self, folder: Path | None = None) -> Loader:
        hub = Hub(self.home / "hub", hub="http://127.0.0.1:9", viewer="http://127.0.0.1:9")
        return Loader(hub, self.said.append, folder)

    async def run(self, plan: Plan, folder: Path | None = None) -> Log:
        return await self.bench.run(plan, self.loader(folder))

    async def resume(self, log: Log) -> Log:
        return await self.bench.resume(log, self.loader())

    async def vault(self, name: str, *drafts: Draft | str) -> str:
        made = await self.service.memory.vaults.create(self.actor, name)
        if drafts:
            ready = [draft if isinstance(draft, Draft) else Draft(draft, "experience") for draft in drafts]
            await self.service.memory.add(self.actor, ready, vault=name, force=True, wait="indexed")
        return made.vault.id

    async def vault_names(self, prefix: str = "") -> list[str]:
        shown = await self.service.memory.vaults.list(self.actor, limit=500)
        return [each.vault.name for each in shown if each.vault.name.startswith(prefix)]

    async def cubes(self, vault: str) -> list[MemCube]:
        return await live(self.service.memory, self.actor, vault)

    async def texts(self, vault: str) -> list[str]:
        return [cube.content for cube in await self.cubes(vault)]


MakeLab = Callable[..., Lab]
Problems = Callable[..., str]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def lab_settings(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Settings:
    home = tmp_path_factory.mktemp("lab")
    script = home / "script.toml"
    script.write_text(SCRIPT, encoding="utf-8")
    shutil.copy(migrated_file, home)
    return make_settings(home, llm__model=f"scripted/{script}", llm__retries=0, runs__flush_ms=5)


@pytest.fixture(scope="module")
async def service(anyio_backend: str, lab_settings: Settings) -> AsyncIterator[Service]:
    async with open_service(lab_settings, take_queued=False) as opened:
        yield opened


@pytest.fixture
async def lab(service: Service) -> MakeLab:
    """`lab(jobs)` gives a bench of its own on the service of the module."""
    owner = (await service.keys.local()).user_id

    def make(jobs: int = 4) -> Lab:
        return Lab(service, owner, jobs)

    return make


@pytest.fixture
def scribes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The agent `scribe`, which writes down what it is told to."""
    monkeypatch.setitem(registry.AGENTS, "scribe", "tests.evals.scribe:Scribe")
    registry.names.cache_clear()
    yield
    registry.names.cache_clear()
    registry.get.cache_clear()


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """A local data set for the suite `aime`: `<name> question number <n>?`, or the given questions, and their answers."""

    def write(
        answers: Sequence[int], name: str = "problems", split: str = "test", questions: Sequence[str] = ()
    ) -> str:
        asked = questions or [f"{name} question number {n}?" for n in range(len(answers))]
        lines = [
            f'{{"id": "{name}-{n}", "problem": "{question}", "answer": {answer}, "split": "{split}"}}'
            for n, (question, answer) in enumerate(zip(asked, answers, strict=True))
        ]
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(lines), encoding="utf-8")
        return str(path)

    return write
