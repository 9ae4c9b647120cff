"""`mneme doctor`: settings and dependencies."""

from __future__ import annotations

import anyio
import typer

from api.cli.output import AsJson, print_json, table
from runtime.settings import load


def doctor(as_json: AsJson = False) -> None:
    """Show every setting with its origin and check every dependency; exits 1 when one is not well."""
    from api.doctor import examine

    found = anyio.run(examine, load())
    if as_json:
        print_json(found.to_json())
    else:
        rows = [[row.key, str(row.value), row.origin] for row in found.settings]
        print(table(["setting", "value", "origin"], rows))
        print()
        for check in found.checks:
            print(f"{'ok ' if check.ok else 'BAD'}  {check.name}: {check.detail}")
            if not check.ok:
                print(f"     fix: {check.fix}")
    raise typer.Exit(0 if found.ok else 1)
