"""`mneme agents`: what can be asked, and with which options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from api.cli.output import AsJson, print_json, table

if TYPE_CHECKING:
    from agents.base import AgentSpec

app = typer.Typer(help="The agents and their options.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List every agent."""
    from agents import registry

    specs = [registry.get(name).spec for name in registry.names()]
    if as_json:
        print_json({"items": [_wire(spec) for spec in specs], "next": None})
    else:
        print(table(["agent", "tasks", "what it does"], [_row(spec) for spec in specs]))


@app.command()
def show(name: str, as_json: AsJson = False) -> None:
    """Show one agent with the schema of its options (`-C key=value`)."""
    from agents import registry

    spec = registry.get(name).spec
    if as_json:
        print_json(_wire(spec))
        return
    print(f"{spec.name} (version {spec.version})\n{spec.description}\ntasks: {', '.join(sorted(spec.kinds))}")
    rows = [
        [key, str(part.get("type", "any")), str(part.get("default", "")), str(part.get("description", ""))]
        for key, part in spec.config.model_json_schema().get("properties", {}).items()
    ]
    print(table(["option", "type", "default", "meaning"], rows) if rows else "no options")


def _row(spec: AgentSpec) -> list[str]:
    return [spec.name, ", ".join(sorted(spec.kinds)), spec.description]


def _wire(spec: AgentSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "version": spec.version,
        "description": spec.description,
        "kinds": sorted(spec.kinds),
        "config_schema": spec.config.model_json_schema(),
    }
