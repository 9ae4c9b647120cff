"""The public surface: what other people's programs rely on. A change here is a change of the contract."""

from __future__ import annotations

import json
import re
import tomllib
from importlib import import_module
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from langgraph.graph import StateGraph

from agents import registry
from agents.tasks import parse_input
from api.app import create_app
from api.cli.app import app as cli
from api.doctor import OURS, other_owners
from runtime.events import AnyPayload
from runtime.run_types import RunStatus
from runtime.settings import FOREIGN, Settings, known_keys

ROOT = Path(__file__).resolve().parent.parent

COMMANDS: dict[str, set[str]] = {
    "serve": {"--host", "--port", "--workers"},
    "worker": set(),
    "run": {
        *(
            "--budget-tokens",
            "--config",
            "--file",
            "--json",
            "--memory",
            "--model",
            "--seed",
            "--task",
            "--vault",
            "-C",
        ),
    },
    "agents list": {"--json"},
    "agents show": {"--json"},
    "models list": {"--json"},
    "models pull": {"--json"},
    "db upgrade": {"--json"},
    "db current": {"--json"},
    "keys create": {"--expires", "--json", "--scope", "--user"},
    "keys list": {"--json"},
    "keys revoke": {"--json"},
    "demo-data": {"--json", "--seed", "--small"},
    "doctor": {"--json"},
    "eval run": {
        "--agent",
        "--batch",
        "--budget-calls",
        "--budget-tokens",
        "--build",
        "--config",
        "--controls",
        "--data",
        "--epochs",
        "--jobs",
        "--json",
        "--limit",
        "--memory",
        "--model",
        "--option",
        "--orders",
        "--prices",
        "--resume",
        "--sampling",
        "--seed",
        "--seeds",
        "--vault",
        "-C",
        "-S",
    },
    "eval list": {"--json", "--suites"},
    "eval show": {"--item", "--json", "--prices"},
    "eval compare": {"--json", "--prices"},
    "eval export": {"--file", "--format", "-o"},
    "version": {"--json"},
    "mcp": {"--context"},
    "memory export": {"--json", "--vault", "--vectors"},
    "memory import": {"--dry-run", "--embed", "--format", "--json", "--mode", "--trust", "--vault"},
    "memory reindex": {"--json"},
    "memory verify": {"--json", "--repair"},
    "memory reembed": {"--abandon", "--back", "--codec", "--force", "--json", "--list", "--model", "--refit"},
    "memory learn": {"--json", "--vault"},
    "memory forget-problem": {"--json", "--vault"},
    "memory codecs": {"--corpus", "--json", "--limit-mb", "--min-quality", "--vault", "--vectors"},
    "memory add": {
        "--attribute",
        "--entity",
        "--expires",
        "--file",
        "--json",
        "--subject",
        "--tag",
        "--type",
        "--vault",
    },
    "memory search": {"--as-of", "--at", "--explain", "--json", "--mode", "--tag", "--type", "--vault", "-k"},
    "memory list": {"--cursor", "--json", "--limit", "--state", "--vault"},
    "memory show": {"--json"},
    "memory edit": {"--content", "--json", "--reason"},
    "memory history": {"--json"},
    "memory restore": {"--json"},
    "memory delete": {"--json", "--reason"},
    "memory purge": {"--json", "--yes"},
}
AGENTS = {"arcmemo", "direct", "best-of-n", "empirical-mcts", "self-consistency", "tim"}
ROUTES = {
    "GET /api/agents",
    "GET /api/agents/{name}",
    "GET /api/audit",
    "GET /api/evals",
    "GET /api/evals/compare",
    "GET /api/evals/{eval_id}",
    "GET /api/graph",
    "GET /api/jobs",
    "GET /api/jobs/{job_id}",
    "POST /api/jobs/{job_id}/replay",
    "GET /api/keys",
    "POST /api/keys",
    "DELETE /api/keys/{key_id}",
    "GET /api/memories",
    "POST /api/memories",
    "POST /api/memories/merge",
    "POST /api/memories/search",
    "DELETE /api/memories/{memory_id}",
    "GET /api/memories/{memory_id}",
    "PATCH /api/memories/{memory_id}",
    "GET /api/memories/{memory_id}/diff",
    "POST /api/memories/{memory_id}/feedback",
    "GET /api/memories/{memory_id}/history",
    "POST /api/memories/{memory_id}/link",
    "GET /api/memories/{memory_id}/provenance",
    "POST /api/memories/{memory_id}/restore",
    "POST /api/memories/{memory_id}/state",
    "POST /api/memories/{memory_id}/supersede",
    "POST /api/memories/{memory_id}/transform",
    "GET /api/memories/{memory_id}/uses",
    "GET /api/runs",
    "POST /api/runs",
    "GET /api/runs/{run_id}",
    "POST /api/runs/{run_id}/cancel",
    "GET /api/runs/{run_id}/events",
    "POST /api/runs/{run_id}/fork",
    "POST /api/runs/{run_id}/resume",
    "GET /api/runs/{run_id}/stream",
    "GET /api/runs/{run_id}/tree",
    "POST /api/runs/{run_id}/wait",
    "GET /api/timeline",
    "GET /api/vaults",
    "POST /api/vaults",
    "POST /api/vaults/compose",
    "DELETE /api/vaults/{vault}",
    "GET /api/vaults/{vault}",
    "PATCH /api/vaults/{vault}",
    "GET /api/vaults/{vault}/branch",
    "POST /api/vaults/{vault}/branch",
    "DELETE /api/vaults/{vault}/branch/{branch}",
    "GET /api/vaults/{vault}/branch/{branch}/memories",
    "POST /api/vaults/{vault}/branch/{branch}/memories",
    "DELETE /api/vaults/{vault}/branch/{branch}/memories/{memory_id}",
    "GET /api/vaults/{vault}/branch/{branch}/memories/{memory_id}",
    "PATCH /api/vaults/{vault}/branch/{branch}/memories/{memory_id}",
    "POST /api/vaults/{vault}/classify",
    "POST /api/vaults/{vault}/export",
    "POST /api/vaults/{vault}/extract",
    "POST /api/vaults/{vault}/fuse",
    "GET /api/vaults/{vault}/grants",
    "POST /api/vaults/{vault}/grants",
    "DELETE /api/vaults/{vault}/grants/{grant_id}",
    "POST /api/vaults/{vault}/import",
    "POST /api/vaults/{vault}/merge",
    "POST /api/vaults/{vault}/migrate",
    "DELETE /api/vaults/{vault}/ranking",
    "GET /api/vaults/{vault}/ranking",
    "PUT /api/vaults/{vault}/ranking",
    "GET /api/vaults/{vault}/reviews",
    "POST /api/vaults/{vault}/reviews/{review_id}",
    "POST /api/vaults/{vault}/rollback",
    "GET /api/vaults/{vault}/snapshots",
    "POST /api/vaults/{vault}/snapshots",
    "DELETE /api/vaults/{vault}/snapshots/{snapshot_id}",
    "GET /api/vaults/{vault}/snapshots/{snapshot_id}",
    "GET /api/vaults/{vault}/snapshots/{snapshot_id}/diff",
    "POST /api/vaults/{vault}/summarise",
    "GET /api/vaults/{vault}/usefulness",
    "GET /health",
    "GET /metrics",
    "GET /ready",
    "POST /v1/chat/completions",
    "GET /v1/models",
    "GET /v1/models/{name}",
    "POST /v1/responses",
}
EVENTS = {
    *("run.queued", "run.started", "run.finished", "run.failed", "run.cancelled", "run.resumed"),
    *("llm.call", "text.delta", "reasoning.delta", "memory.read", "memory.written"),
    *("node.created", "node.scored", "node.selected", "node.backed_up"),
    *("task.opened", "task.closed", "span.pruned", "span.recalled", "tool.call", "tool.result"),
    *("file.written", "check.failed", "step.completed", "budget.warning"),
}
STATUSES = {"queued", "running", "succeeded", "failed", "cancelled", "budget_exhausted", "interrupted"}
SETTINGS_OF_THE_CONTRACT = {"llm.base_url", "llm.model", "llm.api_key", "home", "auth.required", "embed.model"}


def commands(group: Any, prefix: str = "") -> dict[str, set[str]]:
    """Every command that is not hidden, with its options."""
    found: dict[str, set[str]] = {}
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            found |= commands(command, f"{prefix}{name} ")
        else:
            found[prefix + name] = {o for p in command.params for o in p.opts if o.startswith("-")} - {"--help"}
    return found


def test_the_commands_and_their_options() -> None:
    assert commands(typer.main.get_command(cli)) == COMMANDS


def test_every_command_explains_itself() -> None:
    def walk(group: Any) -> None:
        for name, command in group.commands.items():
            assert command.help, name
            if hasattr(command, "commands"):
                walk(command)

    walk(typer.main.get_command(cli))


def test_the_agents() -> None:
    assert set(registry.names()) == AGENTS


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_an_agent_s_options_are_closed_and_documented(name: str) -> None:
    spec = registry.get(name).spec
    assert spec.name == name
    assert spec.config.model_json_schema()["additionalProperties"] is False
    page = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
    section = page.partition(f"## `{name}`")[2].partition("\n## ")[0]
    assert section, f"docs/agents.md has no section for {name!r}"
    for option, field in spec.config.model_fields.items():
        assert f"| `{option}` | {field.default} |" in section, f"docs/agents.md does not say the default of {option!r}"
    for kind in spec.kinds:
        assert f"`{kind}`" in section or "every kind" in section


def test_the_public_routes(tmp_path: Path) -> None:
    schema = create_app(Settings(home=tmp_path)).openapi()
    routes = {f"{method.upper()} {path}" for path, methods in schema["paths"].items() for method in methods}
    public = {route for route in routes if not route.split()[1].startswith("/ui")}
    assert public == ROUTES


def test_the_event_vocabulary() -> None:
    union = get_args(AnyPayload)[0]
    types = {payload.model_fields["type"].default for payload in get_args(union)}
    assert types == EVENTS


def test_the_statuses_of_a_run() -> None:
    assert set(get_args(RunStatus)) == STATUSES


@pytest.mark.parametrize(
    "value",
    [
        "text",
        [{"role": "user", "content": "text"}],
        {"kind": "arc", "train": [{"input": [[0]], "output": [[1]]}], "test": [{"input": [[0]]}]},
        {"kind": "math", "problem": "1 + 1"},
        {"kind": "code", "task": "sort", "requirements": ["in place"]},
        {"kind": "qa", "question": "who?", "documents": ["a text"]},
    ],
)
def test_every_form_of_input_is_read(value: Any) -> None:
    assert parse_input(value).messages()


def test_the_settings_that_outsiders_use() -> None:
    assert set(known_keys()) >= SETTINGS_OF_THE_CONTRACT
    assert set(FOREIGN) == {"DATABASE_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "QDRANT_URL", "QDRANT_API_KEY"}


def test_the_seven_names_belong_to_this_distribution_alone() -> None:
    assert other_owners(packages_distributions()) == {}


def test_a_second_owner_of_a_name_is_found() -> None:
    installed = {"agents": ["openai-agents", "mneme"], "api": ["Mneme"], "yaml": ["PyYAML"]}
    assert other_owners(installed) == {"agents": ["openai-agents"]}


def test_the_packages_are_the_seven() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(OURS)
    folders = {p.name for p in ROOT.iterdir() if (p / "py.typed").exists()}
    assert folders == set(OURS)


def test_the_command_is_installed() -> None:
    (point,) = [p for p in distribution("mneme").entry_points if p.name == "mneme"]
    assert callable(point.load())


def test_the_graphs_for_langgraph_s_tools_are_there() -> None:
    graphs = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))["graphs"]
    assert set(graphs) == AGENTS
    for target in graphs.values():
        path, _, name = target.partition(":")
        module = import_module(re.sub(r"/", ".", path.removeprefix("./").removesuffix(".py")))
        built = getattr(module, name)()
        assert isinstance(built, StateGraph)
        built.compile()
