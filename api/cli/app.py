"""Puts the commands together and turns errors into exit codes: 0 ok, 1 failed, 2 usage, 130 interrupted.

Commands import what they need when they run, so that `mneme version` stays instant and telemetry is configured before
any library is loaded that would set up its own. Source: contract §2.
"""

from __future__ import annotations

import sys
from importlib.metadata import version as distribution_version
from typing import Final

import typer

from api.cli import agents, db, demo_data, doctor, evals, keys, mcp, memory, models, run, serve
from api.cli.output import AsJson, print_json, remark
from runtime.errors import InvalidInput, MnemeError, SettingsError

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

app = typer.Typer(
    name="mneme",
    help="A reasoning server that remembers: agents behind the OpenAI API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("worker")(serve.worker)
app.command("mcp")(mcp.mcp)
app.command("run")(run.run)
app.command("demo", hidden=True)(run.demo)
app.command("demo-data")(demo_data.demo_data)
app.add_typer(agents.app, name="agents")
app.add_typer(models.app, name="models")
app.add_typer(memory.app, name="memory")
app.add_typer(evals.app, name="eval")
app.add_typer(db.app, name="db")
app.add_typer(keys.app, name="keys")
app.command("doctor")(doctor.doctor)


@app.command()
def version(as_json: AsJson = False) -> None:
    """Print the version."""
    number = distribution_version("mneme")
    if as_json:
        print_json({"version": number, "python": sys.version.split()[0]})
    else:
        print(f"mneme {number}")


def main() -> None:
    """The entry point of the package; ends the process."""
    try:
        app()
    except MnemeError as error:
        if "--json" in sys.argv[1:]:
            print_json({"error": {"code": error.code, "message": error.message}})
        remark(f"mneme: {error.message}")
        sys.exit(USAGE if isinstance(error, InvalidInput | SettingsError) else FAILED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
