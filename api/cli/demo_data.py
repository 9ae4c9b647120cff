"""`mneme demo-data`: fills the configured home with things to look at, and says what it made."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from api.cli.output import AsJson, print_json, table
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from api.demo_data import Filled


def demo_data(
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other figures.")] = 7,
    small: Annotated[bool, typer.Option("--small", help="Less of everything, in a fraction of the time.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fill this home with vaults, memories, runs and evaluations to look at; a script speaks for the model."""
    from api.cli.progress import bar
    from api.demo_data import fill
    from runtime import telemetry

    settings = load().settings
    # Some of the runs are meant to fail, and their log stands in their own events.
    telemetry.configure(
        settings.model_copy(update={"telemetry": settings.telemetry.model_copy(update={"log_level": "ERROR"})})
    )

    async def work() -> Filled:
        with bar("demo data") as progress:
            return await fill(settings, seed=seed, small=small, progress=progress)

    filled = anyio.run(work)
    if as_json:
        print_json(asdict(filled))
    else:
        print(told(filled, settings))


def told(filled: Filled, settings: Settings) -> str:
    """What there is as a short table, and where to look at it."""
    head = "This home is filled:" if filled.made else "This home has the demo data already; nothing was changed:"
    agents = Counter("measured" if key.startswith("measured-") else "others" for key in filled.runs)
    rows = [
        ["vaults", str(len(filled.vaults)), ", ".join(filled.vaults)],
        [
            "memories",
            str(len(filled.memories)),
            "written one by one; more were imported, drawn from a text, or learned by runs",
        ],
        ["refused", str(len(filled.refused)), ", ".join(f"{why}: {what}" for why, what in filled.refused.items())],
        [
            "runs",
            str(len(filled.runs)),
            f"{agents['measured']} of them measure what a lesson is worth; evaluations made more",
        ],
        ["evaluations", str(len(filled.evals)), ", ".join(filled.evals)],
    ]
    lines = [head, "", table(["what", "count", "which"], rows), *(f"left out: {note}" for note in filled.notes), ""]
    host = "127.0.0.1" if settings.loopback else settings.server.host
    lines.append(f"Start `mneme serve` on the home {settings.home} and open http://{host}:{settings.server.port}/ui")
    return "\n".join(lines)
