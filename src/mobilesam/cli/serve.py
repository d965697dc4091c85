"""`mobilesam serve`: the page and the REST service from one command."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from mobilesam.cli import options
from mobilesam.cli.photos import parse_range
from mobilesam.extras import require


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="0 chooses a free one.")] = 8000,
    token: Annotated[
        str, typer.Option(envvar="MOBILESAM_TOKEN", help="Secret that each request must carry; better in the variable.")
    ] = "",
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let anybody who reaches another --host use the service.")
    ] = False,
    open_page: Annotated[bool, typer.Option("--open", help="Show the page in the default browser.")] = False,
    workers: Annotated[int, typer.Option(help="Number of processes.")] = 1,
    cors: Annotated[
        list[str] | None, typer.Option(help="Origin of another page that may use the service; repeatable.")
    ] = None,
    allow_url: Annotated[
        list[str] | None, typer.Option(help="Host from which photos may be fetched by address; repeatable.")
    ] = None,
    label_studio: Annotated[str, typer.Option(help="Address of the Label Studio whose photos may be fetched.")] = "",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any limit of docs/service.md, such as max_prompts=64; repeatable."),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option("--max-pixels", min=1, help="Refuse larger photos; default 50000000, width times height."),
    ] = None,
    value_range: options.Range = None,
    model: options.Model = "embedded",
    backend: options.BackendName = "auto",
    image_size: options.ImageSize = None,
) -> None:
    """Serve the page and the REST API; prints the address. Stop it with Ctrl-C."""
    require("uvicorn", "serve", "the service")
    require("fastapi", "serve", "the service")
    from mobilesam.serve.settings import ServeSettings

    # A default is no choice of the user's: it must not stand in the way of --set.
    values = {
        "host": host,
        "port": port,
        "token": token,
        "no_auth": no_auth,
        "workers": workers,
        "cors": tuple(cors or ()),
        "allow_url": tuple(allow_url or ()),
        "label_studio": label_studio,
        "max_pixels": max_pixels,
        "value_range": None if value_range is None else parse_range(value_range),
        "model": model,
        "backend": backend,
        "image_size": image_size,
    }
    given: dict[str, Any] = {name: value for name, value in values.items() if options.is_given(name)}
    given["label_studio_key"] = os.environ.get("LABEL_STUDIO_API_KEY")
    settings = options.read_settings(ServeSettings, given, overrides)
    from mobilesam.serve.run import serve as run

    run(settings, opens_browser=open_page)
