"""A scripted model that reads what it is asked: replies by function, one for each purpose, the same for equal requests.

`Model` is put into a trial in the place of the rules; every call is noted by the trial as usual.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Connection, delete, insert, text

from agents import registry
from agents.base import Context, GrowsTree
from agents.runner import Runner
from agents.tasks import parse_input
from agents.verifiers.base import Verifiers
from agents.verifiers.text import TextVerifier
from memory.indices import lexical
from memory.listing import Where
from memory.types import Actor, Draft, MemCube
from runtime.budget import Spent
from runtime.events import AnyPayload, Event, NodeScored
from runtime.llm.metering import Meter
from runtime.llm.pool import LLMs
from runtime.llm.scripted import Planned, Rule, Script, Scripted
from runtime.retry import RetryPolicy
from runtime.runs import RunRecord, RunSpec
from runtime.tables import Base, User
from runtime.types import JsonObject, JsonSchema, Message, Sampling
from tests.trial import Call, OneModel, Trial, Watched

OWNER = Actor("usr_test")
KEPT_TABLES = {"executors", "embedding_profiles"}
# The trial of the module whose tests run; see conftest.py.
shared: list[Trial] = []
METHOD = "empirical-mcts"
Judge = Callable[[str, str], tuple[float, float]]


@dataclass
class Asked:
    """A request, as a reply may depend on it."""

    purpose: str
    text: str
    seed: int
    number: int

    @property
    def answers(self) -> tuple[str, str]:
        """The two answers that a judge is shown."""
        one, two = re.findall(r'<answer number="\d">\n(.*?)\n</answer>', self.text, re.DOTALL)
        return one, two

    @property
    def instructions(self) -> tuple[str, str]:
        """The two prompts that a judge is shown."""
        one, two = re.findall(r'<instructions number="\d">\n(.*?)\n</instructions>', self.text, re.DOTALL)
        return one, two

    @property
    def experiences(self) -> list[str]:
        """The lines between the marks of the experiences; none for the word that there are none."""
        inside = self.text.split("<experiences>\n")[1].split("\n</experiences>")[0]
        return [] if inside == "none" else [line.split(". ", 1)[1] for line in inside.splitlines()]

    @property
    def existing(self) -> dict[int, str]:
        """The experiences that the memory agent is shown, by number."""
        part = self.text.split("may be related:\n")[1].split("\n\nNew lessons")[0]
        return {} if part == "none" else {each["number"]: each["text"] for each in map(json.loads, part.splitlines())}


Reply = Callable[[Asked], str | Rule]


def judgement(one: float, two: float, lessons: Sequence[str] = (), prompt: str = "", **more: object) -> str:
    """A reply of the judge, all seven fields."""
    return json.dumps(
        {
            "specific_criteria": "It counts right.",
            "critique": "One is better.",
            "weight_allocation": "all 100 %",
            "scoring_process": f"{one} and {two}",
            "final_score": [one, two],
            "new_experiences": [*lessons],
            "new_system_prompt": prompt,
            **more,
        }
    )


def judging_each(worth: Callable[[str], float]) -> Reply:
    """A judge that knows what every answer is worth."""

    def reply(asked: Asked) -> str:
        one, two = asked.answers
        return judgement(worth(one), worth(two))

    return reply


def judging(scores: Mapping[tuple[str, str], tuple[float, float]], **more: Any) -> Reply:
    """A judge that scores by content: `scores` of (child, opponent), whichever stands first."""

    def reply(asked: Asked) -> str:
        one, two = asked.answers
        if (one, two) in scores:
            return judgement(*scores[one, two], **more)
        second, first = scores[two, one]
        return judgement(first, second, **more)

    return reply


def plan(*ops: JsonObject) -> str:
    """A reply of the memory agent."""
    return json.dumps({"think": "So be it.", "plan": [*ops]})


def add_all(asked: Asked) -> str:
    """A memory agent that takes every lesson in."""
    lessons = asked.text.split("New lessons:\n")[1].split("\n\nRules:")[0]
    return plan(*({"option": "add", "experience": json.loads(line)["text"]} for line in lessons.splitlines()))


@dataclass
class Model(Script):
    """A script whose replies are functions. Answers count up unless `generate` says otherwise."""

    role: Reply = lambda asked: "You are the one who knows."
    generate: Reply = lambda asked: f"answer {asked.number}"
    judge: Reply = lambda asked: judgement(6, 6)
    memory: Reply = add_all
    seen: list[Asked] = field(default_factory=list)
    _counts: Counter[str] = field(default_factory=Counter)

    def plan(self, purpose: str, messages: Sequence[Message], sampling: Sampling, schema: JsonSchema | None) -> Planned:
        """See `Script`."""
        name = purpose.removeprefix("empirical_mcts.")
        text = "\n".join(message.text for message in messages)
        asked = Asked(name, text, sampling.seed or 0, self._counts[name])
        self._counts[name] += 1
        self.seen.append(asked)
        said = getattr(self, name)(asked)
        return Script((said if isinstance(said, Rule) else Rule(reply=said),)).plan(purpose, messages, sampling, schema)

    def of(self, purpose: str) -> list[Asked]:
        """What was asked for that purpose, in order."""
        return [asked for asked in self.seen if asked.purpose == purpose]


def spec(**more: Any) -> RunSpec:
    """A run of the agent; options of the agent come in `config`."""
    defaults: dict[str, Any] = {"agent": "empirical-mcts", "input": "How many apples are there?", "seed": 5}
    return RunSpec(**{**defaults, **more})


def learning(**more: Any) -> RunSpec:
    """A run that reads and writes the vault `default`, where nothing is held out."""
    return spec(**{"vaults": ("default",), "explore": 0.0, **more})


@asynccontextmanager
async def search(model: Model | None = None) -> AsyncIterator[tuple[Trial, Model]]:
    """A trial with an empty store, an owner, and a model of one's own."""
    made = model or Model()
    (trial,) = shared
    await _emptied(trial)
    trial.llm = Watched(Scripted("watched", made))
    trial.parts = replace(trial.parts, llms=cast(LLMs, OneModel(trial.llm)))
    trial.runner = Runner(trial.parts)
    yield trial, made


async def _emptied(trial: Trial) -> None:
    """As if nothing had ever been asked or learned; the process and its encoder stay known."""
    tables = [table for name, table in Base.metadata.tables.items() if name not in KEPT_TABLES]
    row = {"id": OWNER.user_id, "name": "test", "role": "member", "created_at": datetime.now(UTC)}

    def work(connection: Connection) -> None:
        for table in reversed(tables):
            connection.execute(delete(table))
        for name in lexical.TABLES[trial.parts.db.dialect]:
            connection.execute(text(f"DELETE FROM {name}"))
        connection.execute(insert(User), [row])

    memory = trial.parts.memory
    index = memory.spaces.active.index
    await index.remove([point.memory_id async for point in index.versions()])
    memory.uses._noted.clear()
    memory.core._has_default.clear()
    await trial.parts.db.write(work)


class Unwritten:
    """Stands where the recorder stands, and writes nothing."""

    def __init__(self) -> None:
        self.payloads: list[AnyPayload] = []

    async def emit(self, payload: AnyPayload, step: str | None = None) -> None:
        self.payloads.append(payload)

    async def finish_step(self, key: str, output: object) -> None:
        pass

    def tell(self, chunk: object, step: str) -> None:
        pass


async def alone(model: Model, asked: RunSpec) -> list[AnyPayload]:
    """What the agent tells when it runs without database and store: many runs in little time."""
    agent, recorder = registry.get(asked.agent), Unwritten()
    ctx = Context(
        run_id="run_alone",
        spec=asked,
        config=agent.spec.config.model_validate(asked.config),
        llm=Scripted("alone", model),
        meter=Meter(asked.budget, Spent()),
        retry=RetryPolicy(0, 0.0),
        recorder=recorder,  # type: ignore[arg-type]
        saver=None,  # type: ignore[arg-type]
        verifiers=Verifiers({}, TextVerifier()),
        done={},
    )
    await agent.run(parse_input(asked.input), ctx)
    return recorder.payloads


async def start_with(trial: Trial, *texts: str, question: str, method: str = METHOD, **more: Any) -> list[MemCube]:
    """Put experiences into the vault that came from `question`."""
    data: JsonObject = {"method": method, "keys": [{"text": question, "problem_id": "run_0"}], "lineage": []}
    drafts = [Draft(text, semantic_type="experience", data=data, tags=(f"method:{method}",), **more) for text in texts]
    added = await trial.parts.memory.add(OWNER, drafts, wait="indexed")
    return [each.memory for each in added if each.memory is not None]


async def stored(trial: Trial, **where: Any) -> list[MemCube]:
    """The experiences of the vault that are in use, the oldest first."""
    found = await trial.parts.memory.list(OWNER, Where(**where), limit=200)
    return [cube for cube in found.items if cube.semantic_type == "experience" and cube.state == "activated"][::-1]


def detail(record: RunRecord) -> dict[str, Any]:
    """The agent's own account of the run."""
    assert isinstance(record.output, dict)
    found: Any = record.output["detail"]
    return dict(found)


def answered(record: RunRecord) -> str:
    """The text of the answer."""
    assert isinstance(record.output, dict)
    return str(record.output["text"])


def purposes(calls: Sequence[Call]) -> list[str]:
    """The purposes of calls without the name of the agent."""
    return [call.purpose.removeprefix("empirical_mcts.") for call in calls]


def tree(profile: str, events: Sequence[Event]) -> dict[str, Any]:
    """The tree that the log tells under the rules of a profile."""
    agent = registry.get("empirical-mcts")
    assert isinstance(agent, GrowsTree)
    return agent.tree(spec(config={"profile": profile}), events)


def scored(events: Sequence[Event]) -> list[dict[str, Any]]:
    """The judgements in the log, each as the tree keeps it."""
    found = [event.payload for event in events if isinstance(event.payload, NodeScored)]
    return [{"id": each.id, "q_local": each.q_local, **each.detail} for each in found]
