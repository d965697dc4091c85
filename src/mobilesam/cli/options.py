"""Options that several subcommands share, and the printing of results as text or JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import click
import typer

from mobilesam import choices

if TYPE_CHECKING:
    from mobilesam.settings import Settings

T = TypeVar("T", bound="Settings")

Model = Annotated[str, typer.Option("--model", "-m", help="A name of `mobilesam models`, a checkpoint, or a folder.")]
BackendName = Annotated[choices.BackendName, typer.Option("--backend", help="What runs the model.")]
PrecisionName = Annotated[
    choices.Precision,
    typer.Option("--precision", help="bfloat16 is faster but less exact; openvino and torch have it."),
]
ImageSize = Annotated[
    int | None,
    typer.Option("--image-size", help="Side in pixels of the square the network sees, 256-1024; default: the model's."),
]
ZoomName = Annotated[
    choices.ZoomWord,
    typer.Option("--zoom", help="Encode the region around the prompt again, enlarged; auto: for small objects."),
]
MaxPixels = Annotated[
    int | None, typer.Option("--max-pixels", min=1, help="Refuse larger photos; default 200000000, width times height.")
]
Range = Annotated[
    str | None,
    typer.Option("--range", help="LOW,HIGH: values that become black and white in photos of more than 8 bits."),
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Search subfolders too.")]
UnclearFrame = Annotated[
    choices.Frame,
    typer.Option(
        "--unclear-frame",
        help="Orientation of annotations that do not state it, for photos with an EXIF orientation.",
    ),
]
Device = Annotated[str, typer.Option(help="cpu, or a GPU as the backend names it.")]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=choices.MOST_WORKERS,
        help="Processes or actors; default: one for each core, as far as memory goes.",
    ),
]
WorkerThreads = Annotated[
    int | None,
    typer.Option("--threads", min=1, max=choices.MOST_WORKERS, help="Of each worker; default: the cores, divided."),
]
RayAddress = Annotated[str | None, typer.Option("--address", help="Of a running Ray cluster: auto, or HOST:PORT.")]
Results = Annotated[
    str, typer.Option("--results", help="Where the shards go, such as s3://BUCKET/PREFIX; default: OUTPUT/shards.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that mobilesam did not write too, but never an input.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="section.key=value; repeatable.")]
Search = Annotated[
    list[str] | None,
    typer.Option("--set", help="Any setting of docs/everything.md, such as small_share=0.02; repeatable."),
]
RunFolder = Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the run; replaces run.output.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue from the last checkpoint of this run.")]


def moved(option: str, now: str) -> Any:
    """A hidden option of earlier versions, whose error names its replacement."""

    def refuse(value: list[str] | str | bool | None) -> None:
        if value:
            raise typer.BadParameter(f"{option} is now {now}")

    return typer.Option(option, hidden=True, callback=refuse)


def with_output(key: str, output: Path | None, overrides: list[str] | None) -> list[str]:
    """Overrides of a recipe, with `-o FOLDER` added as `--set KEY=FOLDER`."""
    # Quoted as JSON, because an override is parsed as TOML: a path with spaces or backslashes must be a string there.
    short = [] if output is None else [f"{key}={json.dumps(str(output))}"]
    return [*(overrides or []), *short]


def make_folder_of(output: Path) -> None:
    """Make the folder of an output file, before the work that the file will hold."""
    from mobilesam.files import make_folder

    make_folder(output.parent)


def read_settings(cls: type[T], given: dict[str, Any], overrides: list[str] | None, option: str = "--set") -> T:
    """Settings from dedicated options and from `name=value` texts.

    Args:
        cls: the class of settings.
        given: name of a setting → value of its own option; None where the option was not used.
        overrides: the `name=value` texts.
        option: name of the option that took the texts, for error messages.

    Raises:
        SettingsError: a name or a value is wrong, or a setting is set both ways, or does nothing beside the others.
    """
    from mobilesam.errors import SettingsError
    from mobilesam.recipe import apply_overrides, check_effects, from_dict

    used = {name: value for name, value in given.items() if value is not None}
    texts = apply_overrides({}, overrides or [], option)
    # Neither of the two may win silently: whichever lost would be an option that is ignored.
    for name in used.keys() & texts.keys():
        raise SettingsError(f"'{name}' is set twice: by its own option, and by {option} {name}=...; leave one out")
    settings = from_dict(cls, {**used, **texts})
    check_effects(settings, {**used, **texts})
    return settings


def is_given(name: str) -> bool:
    """Whether the option of a parameter of the running command was used, rather than left at its default."""
    from click.core import ParameterSource

    return click.get_current_context().get_parameter_source(name) is not ParameterSource.DEFAULT


def say(record: dict[str, Any], text: str, as_json: bool) -> None:
    """Print the result of a subcommand: text for people, or JSON for programs."""
    typer.echo(json.dumps(record) if as_json else text)
