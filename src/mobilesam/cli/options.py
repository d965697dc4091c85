"""What several verbs share: options and the answer line."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

Model = Annotated[str, typer.Option("--model", "-m", help="A name of `mobilesam models`, a checkpoint, or a folder.")]
BackendName = Annotated[str, typer.Option("--backend", help="auto, onnx or torch.")]
Device = Annotated[str, typer.Option(help="cpu, or a GPU as the backend names it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


def say(record: dict[str, Any], text: str, as_json: bool) -> None:
    """Print what a verb did, for people or for programs."""
    typer.echo(json.dumps(record) if as_json else text)
