"""`mneme db`: the schema of the database."""

from __future__ import annotations

import typer

from api.cli.output import AsJson, print_json
from runtime.settings import load

app = typer.Typer(help="The schema of the database.", no_args_is_help=True)


@app.command()
def upgrade(as_json: AsJson = False) -> None:
    """Bring the database to this release; safe to call twice and from two machines."""
    from runtime.migrate import current
    from runtime.migrate import upgrade as migrate

    settings = load().settings
    before = current(settings)
    after = migrate(settings)
    if as_json:
        print_json({"before": before, "now": after})
    else:
        print(f"database: {after}" if before == after else f"database: {before or 'empty'} → {after}")


@app.command()
def current(as_json: AsJson = False) -> None:
    """Say which revision the database has; exits 1 when it is not the one of this release."""
    from runtime.migrate import current as revision
    from runtime.migrate import head

    found, wanted = revision(load().settings), head()
    if as_json:
        print_json({"current": found, "head": wanted})
    elif found == wanted:
        print(f"database: {found}")
    else:
        print(f"database: {found or 'empty'}; this release needs {wanted}: mneme db upgrade")
    raise typer.Exit(0 if found == wanted else 1)
