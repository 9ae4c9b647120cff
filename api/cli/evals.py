"""`mneme eval`: agents measured on suites, two evaluations compared, a log exported. Source: contract §2."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import anyio
import typer

from api.cli.output import AsJson, in_colour, print_json, remark, table
from api.cli.run import parse_config
from runtime.errors import InvalidInput
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from evals.cost import Prices
    from evals.log import Log
    from evals.plan import Plan
    from runtime.types import JsonObject

INTERRUPTED = 130
Pairs = list[str] | None
Id = Annotated[str, typer.Argument(help="An evaluation, evl_….", metavar="ID")]
PriceTable = Annotated[Path | None, typer.Option(help="TOML table of prices; default: the setting `evals.prices`.")]

app = typer.Typer(help="Agents measured on suites of problems.", no_args_is_help=True)


@app.command()
def run(
    suite: Annotated[str | None, typer.Argument(help="A suite, see `mneme eval list --suites`.")] = None,
    agent: Annotated[str, typer.Option(help="An agent, see `mneme agents list`.")] = "direct",
    model: Annotated[str | None, typer.Option(help="A model of the model server.")] = None,
    data: Annotated[
        Pairs, typer.Option(help="A .jsonl file, a folder of data sets, a built-in name, or hf:ID[:config][:split].")
    ] = None,
    option: Annotated[
        Pairs, typer.Option("-S", "--option", metavar="KEY=VALUE", help="An option of the suite.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Of each data set the first so many.")] = None,
    config: Annotated[
        Pairs, typer.Option("-C", "--config", metavar="KEY=VALUE", help="An option of the agent.")
    ] = None,
    sampling: Annotated[
        Pairs, typer.Option(metavar="KEY=VALUE", help="temperature, top_p, max_tokens, …; repeatable.")
    ] = None,
    budget_tokens: Annotated[int | None, typer.Option(min=1, help="Of each attempt.")] = None,
    budget_calls: Annotated[int | None, typer.Option(min=1, help="Of each attempt.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, help="So many seeds.")] = 1,
    orders: Annotated[int, typer.Option(min=1, help="So many orders of the items; with --memory continual.")] = 1,
    epochs: Annotated[int, typer.Option(min=1, help="Attempts at each item, for each seed and order.")] = 1,
    memory: Annotated[
        Literal["off", "cold", "warm", "continual"],
        typer.Option(help="Nothing; an empty store each time; a prepared one, read-only; one that grows."),
    ] = "off",
    vault: Annotated[str | None, typer.Option(help="The prepared store, or where a growing one begins.")] = None,
    build: Annotated[Pairs, typer.Option(help="Prepare the store first, on this data; never test data.")] = None,
    batch: Annotated[int, typer.Option(min=1, help="So many items see the same store, where one grows.")] = 1,
    controls: Annotated[
        bool, typer.Option("--controls", help="Also without memory, with a placebo, and with as many calls.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 4,
    prices: PriceTable = None,
    resume: Annotated[str | None, typer.Option(help="Go on with this evaluation; nothing else is given then.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask every sample of a suite and print the report; exits 1 when attempts are missing."""
    from api.cli.evaluating import Wish, measure
    from evals.cost import read_prices
    from evals.plan import Plan
    from runtime import telemetry
    from runtime.budget import Budget

    if (suite is None) == (resume is None):
        raise InvalidInput("expected exactly one of SUITE and --resume", param="suite")
    settings = load().settings
    table_of_prices = read_prices(prices or settings.evals.prices)
    plan: Plan | None = None
    if suite is not None:
        plan = Plan(
            suite=suite,
            agent=agent,
            model=model,
            data=tuple(data or ()),
            options=parse_config(option or []),
            limit=limit,
            config=parse_config(config or []),
            sampling=parse_config(sampling or []),
            budget=Budget(tokens=budget_tokens, calls=budget_calls),
            seed=seed,
            seeds=seeds,
            orders=orders,
            epochs=epochs,
            memory=memory,
            vault=vault,
            batch=1 if build else batch,
        )
        _check(plan, build, controls=controls)
    telemetry.configure(settings)
    wish = Wish(plan, resume, tuple(build or ()), batch, controls, jobs)
    ended = anyio.run(measure, settings, wish, table_of_prices)
    if ended.told is not None:
        _print(ended.told, as_json)
    if ended.interrupted:
        raise typer.Exit(INTERRUPTED)
    if ended.error is not None:
        raise ended.error


@app.command("list")
def list_(
    suites: Annotated[bool, typer.Option("--suites", help="The suites and data sets that there are, instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the evaluations of this home, newest first."""
    if suites:
        _print_suites(as_json)
        return
    from evals import log as logs
    from evals.report import row_of

    rows = [row_of(log) for log in logs.every(load().settings.home)]
    if as_json:
        print_json({"items": rows, "next": None})
        return
    shown = [
        [
            row["id"],
            row["created_at"][:16].replace("T", " "),
            row["suite"],
            row["agent"],
            row["memory"] + (f" ({row['control']})" if row["control"] else ""),
            f"{row['done']}/{row['expected']}",
            "" if row["accuracy"] is None else f"{100 * row['accuracy']:.1f}",
        ]
        for row in rows
    ]
    print(table(["id", "begun", "suite", "agent", "memory", "attempts", "accuracy %"], shown))


@app.command()
def show(
    id_: Id,
    item: Annotated[
        str | None, typer.Option(help="Instead: the attempts at this item, where the suite draws them.")
    ] = None,
    prices: PriceTable = None,
    as_json: AsJson = False,
) -> None:
    """Show the report of an evaluation, with its controls."""
    from evals import report

    settings, log = _found(id_)
    if item is not None:
        print(report.picture(log, item, colour=in_colour(sys.stdout)))
        return
    _print(report.full(settings.home, log, _prices(prices, settings)), as_json)


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="An evaluation.", metavar="A")],
    b: Annotated[str, typer.Argument(help="The one it is compared with.", metavar="B")],
    prices: PriceTable = None,
    as_json: AsJson = False,
) -> None:
    """Compare two evaluations on the problems that both have asked: paired bootstrap and McNemar's test."""
    from evals import report

    settings = load().settings
    told = report.compared(settings.home, a, b).to_json(_prices(prices, settings))
    if as_json:
        print_json(told)
    else:
        print(report.comparison_text(told))


@app.command()
def export(
    id_: Id,
    format_: Annotated[
        Literal["inspect", "html"],
        typer.Option("--format", help="Inspect's eval log as JSON, or the report as one HTML file for sharing."),
    ] = "inspect",
    file: Annotated[
        Path | None, typer.Option("-o", "--file", help="Where to; default: ID.json or ID.html, `-` for stdout.")
    ] = None,
) -> None:
    """Write an evaluation in the format of another program, or as a page that needs nothing else."""
    settings, log = _found(id_)
    if format_ == "html":
        from api.web.evaluations import html

        text, ending = html(settings.home, log, _prices(None, settings)), "html"
    else:
        from evals.export_inspect import exported
        from runtime import textsafe

        text, ending = textsafe.dumps(exported(log)), "json"
    if file is not None and str(file) == "-":
        print(text)
        return
    path = file or Path(f"{log.id}.{ending}")
    try:
        # Half a surrogate pair, which a model may write, is no UTF-8; JSON escapes it.
        path.write_text(text, encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidInput(
            f"--file {str(path)!r}: {error}; expected a file that can be written", param="file"
        ) from error
    remark(f"written: {path}")


def _check(plan: Plan, build: list[str] | None, *, controls: bool) -> None:
    """Refuse what cannot be before anything is opened."""
    plan.check()
    if build and (plan.memory != "warm" or plan.vault is not None):
        raise InvalidInput("--build: prepares a store for --memory warm, in place of --vault", param="build")
    if controls and plan.memory == "off":
        raise InvalidInput("--controls: belong to an evaluation with memory; add --memory", param="controls")


def _found(id_: str) -> tuple[Settings, Log]:
    from evals import log as logs

    settings = load().settings
    return settings, logs.find(settings.home, id_)


def _prices(given: Path | None, settings: Settings) -> Prices:
    from evals.cost import read_prices

    return read_prices(given or settings.evals.prices)


def _print(told: JsonObject, as_json: bool) -> None:
    from evals.report import text

    if as_json:
        print_json(told)
    else:
        print(text(told))


def _print_suites(as_json: bool) -> None:
    from evals import registry
    from evals.sets import BUILT_IN

    specs = [registry.get(name).spec for name in registry.names()]
    if as_json:
        print_json(
            {
                "suites": [
                    {
                        "name": spec.name,
                        "version": spec.version,
                        "description": spec.description,
                        "sets": list(spec.sets),
                        "options_schema": spec.options.model_json_schema(),
                    }
                    for spec in specs
                ],
                "sets": [
                    {
                        "name": s.name,
                        "split": s.split,
                        "licence": s.licence,
                        "hub": s.hub and str(s.hub),
                        "file": s.file,
                    }
                    for s in BUILT_IN.values()
                ],
            }
        )
        return
    print(table(["suite", "data", "what it asks"], [[s.name, ", ".join(s.sets), s.description] for s in specs]))
    print()
    rows = [
        [s.name, s.split, s.file or "–", str(s.hub or (s.origin if s.made else "–")), s.licence]
        for s in BUILT_IN.values()
    ]
    print(table(["data", "split", "file", "published", "licence of the file, or what is known"], rows))
