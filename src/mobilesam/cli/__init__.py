"""The command line `mobilesam`: one module per subcommand.

Each subcommand checks its arguments, calls the library and prints what it wrote. Heavy modules are imported inside the
subcommands, so that `--help` loads neither torch nor onnxruntime.
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
from mobilesam.cli.page import page
from mobilesam.cli.segment import segment
from mobilesam.cli.train import train
from mobilesam.errors import MobileSamError, PromptError, SettingsError

app = typer.Typer(
    name="mobilesam",
    help="Cut any object out of any photo; measure, train and export small Segment Anything models.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain text: square brackets in help texts are not markup
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
app.command()(page)


def main() -> None:
    """Run the command line; the exit code is 0, 1 (failed) or 2 (bad usage)."""
    # Inference multiplies no matrices in numpy, so a pool of OpenBLAS threads would only slow down a cold start.
    # It must be set before numpy is first imported, which happens inside the subcommands.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    listen()
    try:
        app()
    # Errors that the user can mend on the command line give the code that shells and typer use for bad usage.
    except (PromptError, SettingsError) as error:
        _fail(error, 2)
    except (MobileSamError, OSError) as error:
        _fail(error, 1)
    except KeyboardInterrupt:
        _fail("interrupted", 1)  # no traceback: Ctrl-C is an expected way to stop a long run


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
