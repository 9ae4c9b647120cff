"""What happens before anything is asked: the data is read, the guards look, the header is written.

Everything that can be refused is refused here: a plan that cannot be, data that cannot be read, a store that must not be
read, a log that belongs to other data. Source: evaluation sheet §2, §3.8, §3.9.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import anyio.to_thread
from pydantic import BaseModel, JsonValue, ValidationError

from agents import registry as agents
from agents.base import AgentSpec
from agents.service import Service
from agents.tasks import parse_input
from evals import log as logs
from evals import registry, vaults
from evals.base import DataSet, Sample, Suite, digest
from evals.continual import builder_of
from evals.guards import Asked, asked_of, refuse_leaks
from evals.lift import Control
from evals.loading import Loader, samples_of
from evals.log import Log
from evals.overlap import overlaps, text_of
from evals.plan import Plan, Stream, chosen, streams
from evals.records import Header
from evals.versions import revision, versions
from memory.types import Actor
from runtime.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan with its data."""

    plan: Plan
    suite: Suite
    options: BaseModel
    sets: tuple[DataSet, ...]
    samples: tuple[Sample, ...]
    digests: dict[str, str]
    settings: dict[str, JsonValue]

    @property
    def streams(self) -> list[Stream]:
        """Every slot."""
        return streams(self.plan, self.samples)

    @property
    def asked(self) -> Asked:
        """Of what there must be no memory."""
        return asked_of(self.plan, self.suite.spec, self.samples)

    @property
    def expected(self) -> int:
        """How many slots there are."""
        return len(self.samples) * self.plan.seeds * self.plan.orders * self.plan.epochs


async def prepare(plan: Plan, loader: Loader) -> Prepared:
    """Read the data. Raises `InvalidInput` for a plan that cannot be, or data that cannot be read."""
    plan.check()
    suite = registry.get(plan.suite)
    options = registry.options_of(suite, plan.options)
    spec = agents.get(plan.agent).spec
    settings = _settings_of(spec, plan)
    sets = await loader.load(plan.data, suite.spec.sets)
    read = samples_of(suite, sets, options)
    used = [(data, samples) for data, samples in zip(sets, read, strict=True) if samples]
    samples = tuple(chosen(plan, [samples for _, samples in used]))
    for sample in samples:
        kind = parse_input(sample.task).kind
        if kind not in spec.kinds:
            raise InvalidInput(
                f"agent {plan.agent!r} does not take tasks of kind {kind!r}, which {sample.id!r} is; expected one of "
                f"{', '.join(sorted(spec.kinds))}",
                param="agent",
            )
    digests = {data.name: digest(samples) for data, samples in used}
    return Prepared(plan, suite, options, tuple(data for data, _ in used), samples, digests, settings)


@dataclass(frozen=True, slots=True)
class Origin:
    """Of which other evaluation this one is a control, and which; by default of none."""

    control_of: str | None = None
    control: Control | None = None


async def begin(prepared: Prepared, service: Service, owner: str, origin: Origin = Origin()) -> Path:
    """Write the header of a new evaluation and give its folder. Raises `LeakFound` when its vault must not be read, and
    `UnknownName` for a vault or a model that there is not."""
    plan, actor = prepared.plan, Actor(owner)
    if plan.model is not None:
        await service.check_offered(plan.model)
    flagged: list[dict[str, JsonValue]] = []
    built_by: str | None = None
    if plan.vault is not None:
        built_by = builder_of((await service.memory.vaults.get(actor, plan.vault)).vault.name)
        await refuse_leaks(service.memory, service.store, actor, [plan.vault], prepared.asked)
        held = {cube.id: text_of(cube) for cube in await vaults.live(service.memory, actor, plan.vault)}
        asked = {sample.id: prompt_of(sample) for sample in prepared.samples if sample.split == "test"}
        found = await anyio.to_thread.run_sync(overlaps, asked, held)
        flagged = [{"item_id": each.item_id, "memory_id": each.memory_id, "share": each.share} for each in found]
    header = Header(
        id=logs.new_eval_id(),
        owner=owner,
        created_at=logs.now_text(service.memory.core.clock.now()),
        plan=plan,
        sets=tuple(_set_of(data, prepared) for data in prepared.sets),
        data_sha256=digest(prepared.samples),
        samples=len(prepared.samples),
        expected=prepared.expected,
        versions=versions(),
        revision=await anyio.to_thread.run_sync(revision),
        prompts=prompts_of(prepared),
        agent_version=agents.get(plan.agent).spec.version,
        suite_version=prepared.suite.spec.version,
        built_by=built_by,
        control_of=origin.control_of,
        control=origin.control,
        overlaps=tuple(flagged),
        settings=prepared.settings,
    )
    return await anyio.to_thread.run_sync(logs.create, service.settings.home, header, prepared.samples)


async def again(log: Log, prepared: Prepared) -> None:
    """Look whether a log that is resumed asks the same data. Raises `InvalidInput` when that has changed since."""
    header = log.header()
    now = digest(prepared.samples)
    if header.data_sha256 != now:
        raise InvalidInput(
            f"evaluation {header.id!r} asked data of SHA-256 {header.data_sha256[:12]}…, which is {now[:12]}… now; begin a "
            "new one",
            param="resume",
        )


def prompt_of(sample: Sample) -> str:
    """What a plain model would be shown, without the words around it that every task of its kind has."""
    task = sample.task
    for name in ("problem", "question", "task"):
        if isinstance(task.get(name), str):
            return str(task[name])
    return "\n".join(message.text for message in parse_input(task).messages())


def prompts_of(prepared: Prepared) -> dict[str, str]:
    """The hashes of the prompt files of the tasks and of the agent."""
    agent = agents.get(prepared.plan.agent).spec
    tasks = {task.kind: task.prompt for task in (parse_input(sample.task) for sample in prepared.samples)}
    found = {f"task {kind}": prompt.sha256 for kind, prompt in sorted(tasks.items()) if prompt is not None}
    return found | {f"{agent.name} {name}": prompt.sha256 for name, prompt in sorted(agent.prompts.items())}


def _settings_of(spec: AgentSpec, plan: Plan) -> dict[str, JsonValue]:
    """Every option of the agent as it will be. Raises `InvalidInput` for one that it does not take: before a log is begun,
    and not at its first run."""
    try:
        return spec.config.model_validate(plan.config).model_dump(mode="json")
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(spec.config.model_fields) or "none"
        raise InvalidInput(
            f"config {key!r} of agent {spec.name!r}: {first['msg']}; known keys: {known}", param=f"config.{key}"
        ) from error


def _set_of(data: DataSet, prepared: Prepared) -> dict[str, JsonValue]:
    return {
        "name": data.name,
        "source": data.source,
        "licence": data.licence,
        "split": data.split,
        "records": len(data.records),
        "asked": sum(sample.set == data.name for sample in prepared.samples),
        "sha256": prepared.digests[data.name],
    }
