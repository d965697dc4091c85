"""`mobilesam`: the verbs are the stages, one file each.

Thin: a verb checks its arguments, calls the library, and says what it wrote. Everything heavy is imported inside the
verbs, so that `--help` loads neither torch nor onnxruntime.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from mobilesam import __version__
from mobilesam.cli.distill import distill_app
from mobilesam.cli.evaluate import evaluate_app
from mobilesam.cli.everything import everything
from mobilesam.cli.export import export
from mobilesam.cli.messages import listen
from mobilesam.cli.models import models_app
from mobilesam.cli.segment import segment
from mobilesam.cli.train import train
from mobilesam.errors import MobileSamError, PromptError, SettingsError

app = typer.Typer(
    name="mobilesam",
    help="Cut any object out of any photo; measure, train and export small Segment Anything models.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(segment)
app.command()(everything)
app.add_typer(models_app, name="models")
app.add_typer(evaluate_app, name="evaluate")
app.command()(train)
app.add_typer(distill_app, name="distill")
app.command()(export)


def main() -> None:
    """Run the command line; the exit code is 0, 1 (failed) or 2 (bad usage)."""
    # No verb of the inference side multiplies matrices in numpy; its thread pool only slows a cold start.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    listen()
    try:
        app()
    except (PromptError, SettingsError) as error:
        _fail(error, 2)
    except (MobileSamError, OSError) as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        _fail("interrupted", 1)


def _fail(error: object, code: int) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(code)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
