"""`mobilesam models`: list, download and verify."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from mobilesam.cli import options
from mobilesam.extras import install_command, is_installed

models_app = typer.Typer(help="List, download and verify models.", rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="A name of `mobilesam models`.")]


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: options.AsJson = False) -> None:
    """List the models this package knows."""
    if context.invoked_subcommand is None:
        list_models(as_json)


@models_app.command("list")
def list_models(as_json: options.AsJson = False) -> None:
    """List the models this package knows, and which are on this machine."""
    from mobilesam.weights import EMBEDDED, MODELS, checkpoint_path, has_pair, pair_folder

    rows = []
    for spec in MODELS.values():
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
    if not has_pair(folder) and is_installed("torch"):
        convert(spec, folder)
    pair = str(folder) if has_pair(folder) else None
    advice = pair or f"to convert it to ONNX: {install_command('torch')}"
    options.say({"model": name, "checkpoint": str(path), "onnx": pair}, f"{path}\n{advice}", as_json)


@models_app.command("verify")
def verify_model(name: Name, as_json: options.AsJson = False) -> None:
    """Check that a model's files are whole; exit code 1 when not."""
    from mobilesam.predict.load import load
    from mobilesam.weights import EMBEDDED, checkpoint_path, get_spec, is_verified

    spec = get_spec(name)
    if spec.name == EMBEDDED:
        is_good, claim = bool(load().info), "the pair inside the package loads"
    else:
        is_good, claim = is_verified(spec), f"{checkpoint_path(spec)} has sha256 {spec.sha256}"
    options.say({"model": name, "verified": is_good}, f"{name}: {claim}: {'yes' if is_good else 'NO'}", as_json)
    if not is_good:
        raise typer.Exit(1)
