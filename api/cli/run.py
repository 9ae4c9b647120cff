"""`mneme run`: one run in this process, printed as it happens; `mneme demo`: agents that learn, shown step by step."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import typer

from api.cli.output import AsJson, in_colour, print_json, remark
from runtime.errors import InvalidInput
from runtime.settings import load

if TYPE_CHECKING:
    from pydantic import JsonValue

    from api.cli.arc_task import ArcRun
    from runtime.types import JsonObject


def run(
    agent: Annotated[str, typer.Argument(help="An agent, see `mneme agents list`.")],
    prompt: Annotated[str | None, typer.Argument(help="What to ask; `-` reads it from stdin.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Read the input from a file; .json may hold messages or a typed task.")
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="An ARC task instead: arc:ID, arc1:ID, arc2:ID or arc:v1-eval/ID.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="A model of the model server.")] = None,
    vault: Annotated[list[str] | None, typer.Option(help="A vault to read; repeatable.")] = None,
    memory: Annotated[Literal["on", "read", "off"], typer.Option(help="on, read or off.")] = "on",
    budget_tokens: Annotated[int | None, typer.Option(help="Stop when so many tokens are used.")] = None,
    seed: Annotated[int | None, typer.Option(help="Repeatable sampling; default: chosen.", min=0)] = None,
    config: Annotated[
        list[str] | None, typer.Option("-C", "--config", metavar="KEY=VALUE", help="An option of the agent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask an agent and print the answer as it comes; exits 1 when the run does not succeed."""
    from api.cli.running import Printer, ask
    from runtime import telemetry
    from runtime.budget import Budget
    from runtime.run_types import RunSpec

    settings = load().settings
    known = _known(task, prompt, file)
    spec = RunSpec(
        agent=agent,
        input=known.sample.task if known else _input(prompt, file),
        model=model,
        vaults=tuple(vault or ()),
        memory=memory,
        budget=Budget(tokens=budget_tokens),
        config=parse_config(config or []),
        seed=-1 if seed is None else seed,
        # What is learned on an evaluation task is known as that (evals/guards.py).
        suite=known.suite if known else None,
    )
    telemetry.configure(settings)
    record = anyio.run(ask, settings, spec, None if as_json else Printer())
    if known:
        record = known.graded(record, colour=in_colour(sys.stderr), say=None if as_json else remark)
    if as_json:
        print_json(record)
    if record["status"] == "cancelled":
        raise typer.Exit(130)
    raise typer.Exit(0 if record["status"] == "succeeded" else 1)


def demo(port: Annotated[int | None, typer.Option(help="Default: the configured one, or a free one.")] = None) -> None:
    """Start the service, show agents that learn on mathematics and ARC, print the memories, and stop."""
    from api.demo import main

    raise typer.Exit(anyio.run(main, load({"server.port": port}).settings))


def parse_config(pairs: list[str]) -> JsonObject:
    """`["n=4", "mode=fast"]` → `{"n": 4, "mode": "fast"}`: a value that is JSON is taken as such, else as text."""
    config: JsonObject = {}
    for pair in pairs:
        key, sign, text = pair.partition("=")
        if not sign or not key:
            raise InvalidInput(f"-C {pair!r}: expected KEY=VALUE, e.g. -C n=4", param="config")
        try:
            config[key] = json.loads(text)
        except ValueError:
            config[key] = text
    return config


def _known(task: str | None, prompt: str | None, file: Path | None) -> ArcRun | None:
    if task is None:
        return None
    if prompt is not None or file is not None:
        raise InvalidInput("expected exactly one of PROMPT, --file and --task", param="task")
    from api.cli.arc_task import ArcRun

    return ArcRun.of(task)


def _input(prompt: str | None, file: Path | None) -> JsonValue:
    if (prompt is None) == (file is None):
        raise InvalidInput("expected exactly one of PROMPT, --file and --task", param="prompt")
    if file is None:
        return sys.stdin.read() if prompt == "-" else prompt
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"--file {str(file)!r}: {error}; expected a readable UTF-8 file", param="file") from error
    if file.suffix != ".json":
        return text
    try:
        return json.loads(text)  # type: ignore[no-any-return]
    except ValueError as error:
        raise InvalidInput(f"--file {str(file)!r}: not valid JSON: {error}", param="file") from error
