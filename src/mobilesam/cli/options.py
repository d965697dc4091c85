"""What several verbs share: options, the answer line, the check for an extra."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import Annotated, Any

import typer

from mobilesam.errors import MissingExtraError

Model = Annotated[str, typer.Option("--model", "-m", help="A name of `mobilesam models`, a checkpoint, or a folder.")]
BackendName = Annotated[str, typer.Option("--backend", help="auto, onnx or torch.")]
Device = Annotated[str, typer.Option(help="cpu, or a GPU as the backend names it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def say(record: dict[str, Any], text: str, as_json: bool) -> None:
    """Print what a verb did, for people or for programs."""
    typer.echo(json.dumps(record) if as_json else text)


def require(module: str, extra: str, purpose: str) -> None:
    """Refuse a verb whose extra is not installed.

    Raises:
        MissingExtraError: names what to install.
    """
    if find_spec(module) is None:
        raise MissingExtraError(extra, purpose)
