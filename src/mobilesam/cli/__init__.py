"""The command line `mobilesam`: one module per subcommand.

Each subcommand checks its arguments, calls the library and prints what it wrote. Heavy modules are imported inside the
subcommands, so that `--help` loads neither torch nor onnxruntime.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import import_module
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

from mobilesam import __version__
from mobilesam.cli.messages import listen
from mobilesam.errors import MobileSamError, PromptError, SettingsError


class Commands(TyperGroup):
    """The group of all subcommands, which refuses empty arguments."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an empty argument: as a path it would mean the current folder."""
        for i, argument in enumerate(args):
            if not argument.strip() or re.fullmatch(r"--[\w-]+=\s*", argument):
                after = f" after '{args[i - 1]}'" if i and not argument.strip() else f" '{argument}'"
                raise click.UsageError(f"empty argument{after}; is a variable not set? Leave it out, or give a value")
        return super().parse_args(ctx, args)


COMMANDS = (
    "segment",
    "everything",
    "track",
    "annotate",
    "models",
    "evaluate",
    "train",
    "distill",
    "export",
    "bench",
    "page",
    "serve",
    "mcp",
)
"""The subcommands in the order of --help: each is in the module of its name, as NAME or as a group NAME_app."""


def make_app(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with these subcommands."""
    app = typer.Typer(
        name="mobilesam",
        cls=Commands,
        help="Cut any object out of any photo; measure, train and export small Segment Anything models.",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain text: square brackets in help texts are not markup
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in names:
        module = import_module(f"mobilesam.cli.{name}")
        group: typer.Typer | None = getattr(module, f"{name}_app", None)
        if group is None:
            app.command()(getattr(module, name))
        else:
            app.add_typer(group, name=name)
    return app


def main() -> None:
    """Run the command line; the exit code is 0, 1 (failed) or 2 (bad usage)."""
    # Inference multiplies no matrices in numpy, so a pool of OpenBLAS threads would only slow down a cold start.
    # It must be set before numpy is first imported, which happens inside the subcommands.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    listen()
    _survive_foreign_names()
    asked = sys.argv[1:2]
    try:
        # All of them would be built, from their signatures, which takes a tenth of a cold start.
        make_app(asked if asked and asked[0] in COMMANDS else COMMANDS)()
    except BrokenPipeError:
        _end_quietly()
    # Errors that the user can mend on the command line give the code that shells and typer use for bad usage.
    except (PromptError, SettingsError) as error:
        _fail(error, 2)
    except MobileSamError as error:
        _fail(error, 1)
    except (FileExistsError, NotADirectoryError) as error:
        is_named = error.filename is not None
        reason = f"'{error.filename}' is no folder, so nothing can be written into it; give another --output"
        _fail(reason if is_named else error, 1)
    except OSError as error:
        _fail(_reason(error), 1)
    except KeyboardInterrupt:
        _fail("interrupted", 1)  # no traceback: Ctrl-C is an expected way to stop a long run


def _survive_foreign_names() -> None:
    """Make the consoles of old Windows code pages print `\\u7167` in place of characters that they lack."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _end_quietly() -> None:
    """Exit with code 1 when the reader of the output, such as `head`, has gone."""
    # Python would fail once more when it flushes standard output at its end.
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


def _reason(error: OSError) -> str:
    """What the system says. Files that this package writes are named; what is full without a name is none of them."""
    from mobilesam.files import FULL

    is_unnamed = error.errno in FULL and error.filename is None
    return f"{error.strerror}, where standard output or temporary files go" if is_unnamed else str(error)


def _fail(error: object, code: int) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(code)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(__version__)
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
