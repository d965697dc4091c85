"""`mobilesam models`: list, download and verify the published models."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from mobilesam.cli import options
from mobilesam.extras import install_command, is_installed

models_app = typer.Typer(help="List, download and verify models.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="A name that `mobilesam models` lists.")]


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the known models."""
    if context.invoked_subcommand is None:
        list_models(as_json)
    elif as_json:  # `models --json list` is `models list --json`
        context.default_map = {context.invoked_subcommand: {"as_json": True}}


@models_app.command("list")
def list_models(as_json: options.AsJson = False) -> None:
    """List the known models, and which of them are on this machine."""
    from mobilesam.weights import EMBEDDED, MODELS, checkpoint_path, has_pair, pair_folder

    rows = []
    for spec in MODELS.values():
        # A model can be run from its ONNX pair alone, or converted from its checkpoint; either counts.
        is_here = has_pair(pair_folder(spec)) or (spec.name != EMBEDDED and checkpoint_path(spec).is_file())
        rows.append((spec, is_here))
    if as_json:
        typer.echo(json.dumps([{**vars(spec), "on_this_machine": is_here} for spec, is_here in rows], indent=2))
        return
    for spec, is_here in rows:
        size = f"{spec.num_bytes / 1e6:,.0f} MB" if spec.num_bytes else "built in"
        mark = "here" if is_here else "not here"
        typer.echo(f"{spec.name:<12} {size:>9}  {mark:<9} {spec.description}; {spec.licence}")


@models_app.command("download")
def download_model(name: Name, as_json: options.AsJson = False) -> None:
    """Download a model, verify it, and convert it to ONNX where torch is installed."""
    from mobilesam.predict.load import convert
    from mobilesam.weights import EMBEDDED, download, get_spec, has_pair, pair_folder

    spec = get_spec(name)
    folder = pair_folder(spec)
    if spec.name == EMBEDDED:
        options.say({"model": name, "path": str(folder)}, f"'{name}' is inside the package", as_json)
        return
    path = download(spec)
    # Converting now spares the first use that wait; without torch the checkpoint alone is downloaded.
    if not has_pair(folder) and is_installed("torch"):
        convert(spec, folder)
    pair = str(folder) if has_pair(folder) else None
    advice = pair or f"to convert it to ONNX: {install_command('torch')}"
    options.say({"model": name, "checkpoint": str(path), "onnx": pair}, f"{path}\n{advice}", as_json)


@models_app.command("verify")
def verify_model(
    name: Annotated[
        str, typer.Argument(help="A name that `mobilesam models` lists, or an exported folder of any format.")
    ],
    as_json: options.AsJson = False,
) -> None:
    """Check that a model's files are those that were published or exported; exit code 1 if not."""
    from mobilesam.errors import ModelError
    from mobilesam.predict.load import verify

    # Caught here, not in `main`: with --json, a failed check is an answer on standard output, not an error.
    try:
        claims = verify(name)
    except ModelError as error:
        options.say({"model": name, "verified": False, "reason": str(error)}, f"{name}: NO: {error}", as_json)
        raise typer.Exit(1) from None
    options.say({"model": name, "verified": True, "files": claims}, f"{name}: yes: {'; '.join(claims)}", as_json)
