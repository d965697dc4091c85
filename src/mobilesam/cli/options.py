"""What several verbs share: options and the answer line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mobilesam import choices

if TYPE_CHECKING:
    from mobilesam.predict.zoom import Zoom
    from mobilesam.recipe import Settings

T = TypeVar("T", bound="Settings")

Model = Annotated[str, typer.Option("--model", "-m", help="A name of `mobilesam models`, a checkpoint, or a folder.")]
BackendName = Annotated[choices.BackendName, typer.Option("--backend", help="What runs the model.")]
PrecisionName = Annotated[
    choices.Precision, typer.Option("--precision", help="bfloat16 is faster, and a little off; openvino alone has it.")
]
ImageSize = Annotated[
    int | None,
    typer.Option("--image-size", help="Side in pixels of the square the network sees, 256-1024; default: the model's."),
]
ZoomName = Annotated[
    choices.ZoomWord,
    typer.Option("--zoom", help="A second look at what is asked about, by itself; auto: at what is small."),
]
MaxPixels = Annotated[
    int | None, typer.Option("--max-pixels", min=1, help="Refuse larger photos; default 200000000, width times height.")
]
Range = Annotated[
    str | None,
    typer.Option("--range", help="LOW,HIGH: values shown black and white in photos of more than 8 bits."),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Search folders inside folders too.")]
UnclearFrame = Annotated[
    choices.Frame,
    typer.Option(
        "--unclear-frame",
        help="Pixels that annotations are of which do not tell, where EXIF says how to turn the photo.",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, or a GPU as the backend names it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")]
Search = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting of docs/everything.md, as small_share=0.02; repeatable."),
]
RunFolder = Annotated[Path | None, typer.Option("--output", "-o", help="The run's folder, in place of run.output.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint of this run.")]


def with_output(key: str, output: Path | None, overrides: list[str] | None) -> list[str]:
    """`-o FOLDER` is short for `--set KEY=FOLDER`."""
    short = [] if output is None else [f"{key}={json.dumps(str(output))}"]
    return [*(overrides or []), *short]


def parse_zoom(word: choices.ZoomWord) -> Zoom:
    """What --zoom means in Python."""
    return "auto" if word == "auto" else word == "on"


def read_settings(cls: type[T], given: dict[str, Any], overrides: list[str] | None, option: str = "--set") -> T:
    """Settings from options of their own and `name=value` texts.

    Args:
        cls: the kind of settings.
        given: name of a setting → what its own option said; None where it was not used.
        overrides: the texts.
        option: that took them.

    Raises:
        SettingsError: a name or a value is wrong, or both ways set the same setting.
    """
    from mobilesam.errors import SettingsError
    from mobilesam.recipe import apply_overrides, from_dict

    used = {name: value for name, value in given.items() if value is not None}
    texts = apply_overrides({}, overrides or [], option)
    for name in used.keys() & texts.keys():
        raise SettingsError(f"'{name}' is set twice: by its own option, and by {option} {name}=...; leave one out")
    return from_dict(cls, {**used, **texts})


def say(record: dict[str, Any], text: str, as_json: bool) -> None:
    """Print what a verb did, for people or for programs."""
    typer.echo(json.dumps(record) if as_json else text)
