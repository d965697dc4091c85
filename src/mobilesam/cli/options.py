"""What several verbs share: options and the answer line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from mobilesam.predict.zoom import Zoom

Model = Annotated[str, typer.Option("--model", "-m", help="A name of `mobilesam models`, a checkpoint, or a folder.")]
BackendName = Annotated[str, typer.Option("--backend", help="auto, onnx, openvino or torch.")]
PrecisionName = Annotated[str, typer.Option("--precision", help="float32, or bfloat16: faster, for openvino.")]
ImageSize = Annotated[
    int | None,
    typer.Option("--image-size", help="Side in pixels of the square the network sees, 256-1024; default: the model's."),
]
ZoomName = Annotated[
    str,
    typer.Option("--zoom", help="A second look at what is asked about, by itself: auto (what is small), on or off."),
]
MaxPixels = Annotated[
    int | None, typer.Option("--max-pixels", min=1, help="Refuse larger photos; default 200000000, width times height.")
]
Range = Annotated[
    str | None,
    typer.Option("--range", help="LOW,HIGH: values shown black and white in photos of more than 8 bits."),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Search folders inside folders too.")]
Device = Annotated[str, typer.Option(help="cpu, or a GPU as the backend names it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")]
RunFolder = Annotated[Path | None, typer.Option("--output", "-o", help="The run's folder, in place of run.output.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of this run.")]


def with_output(key: str, output: Path | None, overrides: list[str] | None) -> list[str]:
    """`-o FOLDER` is short for `--set KEY=FOLDER`."""
    short = [] if output is None else [f"{key}={json.dumps(str(output))}"]
    return [*(overrides or []), *short]


def parse_zoom(text: str) -> Zoom:
    """What --zoom means in Python."""
    known: dict[str, Zoom] = {"auto": "auto", "on": True, "off": False}
    if text not in known:
        raise typer.BadParameter(f"--zoom takes {', '.join(known)}, found '{text}'")
    return known[text]


def say(record: dict[str, Any], text: str, as_json: bool) -> None:
    """Print what a verb did, for people or for programs."""
    typer.echo(json.dumps(record) if as_json else text)
